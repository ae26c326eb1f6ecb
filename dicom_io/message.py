"""From P-DATA-TF to DIMSE messages (PS3.8 annex E): a C-STORE's fragments go on as they come, other messages are gathered whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from dicom_io.acceptance import Acceptance, AcceptedContext
from dicom_io.admission import Request, Right
from dicom_io.command_set import (
    MAXIMUM_COMMAND_BYTES,
    RESPONSE,
    Command,
    CommandField,
    CommandStatus,
    parse_command,
    response,
    uid_text,
)
from dicom_io.connection import Connection
from dicom_io.negotiation import right_to
from dicom_io.other_services import MAXIMUM_DATA_SET_BYTES, Commitment, Message, answer, refusal
from dicom_io.pdu import COMMAND_FRAGMENT, LAST_FRAGMENT, PDV_HEADER, AbortReason, MalformedPdu, command_pdus
from dicom_io.received import Deposit, Intake, StoreCommand, StoreOutcome

Count = Callable[[StoreOutcome], None]
"""Hears how each C-STORE is answered, before the answer is sent."""


@dataclasses.dataclass(kw_only=True)
class _Pending:
    """A message whose command set is complete and whose data set is not."""

    context: AcceptedContext
    command: Command
    encoded_command: bytes
    deposit: Deposit | None
    """Where a C-STORE's data set goes."""
    is_gathered: bool
    """Whether the data set is kept for another service; else it is let go."""
    data_set: bytearray = dataclasses.field(default_factory=bytearray)


class MessageReader:
    """Reads the messages of one association, one after the other, and answers each in one write."""

    def __init__(
        self, connection: Connection, acceptance: Acceptance, request: Request, intake: Intake, count: Count, commitment: Commitment | None
    ) -> None:
        self._connection = connection
        self._contexts = acceptance.contexts
        self._maximum_length = acceptance.maximum_length
        self._request = request
        self._intake = intake
        self._count = count
        self._commitment = commitment
        self._command = bytearray()
        self._pending: _Pending | None = None

    @property
    def is_within_command(self) -> bool:
        """Whether a command set has begun and is not complete."""
        return bool(self._command)

    def read(self, length: int) -> None:
        """Read one P-DATA-TF PDU, `length` bytes behind its header; raises MalformedPdu, ConnectionEnded or PeerSilent."""
        while length:
            if length < PDV_HEADER.size:
                raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"P-DATA-TF: expected a PDV, got {length} bytes")
            item_length, context_id, control = PDV_HEADER.unpack(self._connection.exactly(PDV_HEADER.size))
            length -= 4 + item_length
            if item_length < 2 or length < 0:
                raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"P-DATA-TF: expected a PDV within the PDU, got {item_length} bytes")
            context = self._contexts.get(context_id)
            if context is None:
                raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"P-DATA-TF: presentation context {context_id} was not accepted")
            if control & COMMAND_FRAGMENT:
                self._read_command(context, item_length - 2, is_last=bool(control & LAST_FRAGMENT))
            else:
                self._read_data_set(context, item_length - 2, is_last=bool(control & LAST_FRAGMENT))

    def drop(self) -> None:
        """The association ends: leave nothing of a message that is not complete."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.deposit is not None:
            pending.deposit.drop()

    def _read_command(self, context: AcceptedContext, size: int, *, is_last: bool) -> None:
        if self._pending is not None:
            raise MalformedPdu(AbortReason.UNEXPECTED_PDU, "DIMSE: expected the data set of a message, got a command")
        if len(self._command) + size > MAXIMUM_COMMAND_BYTES:
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"DIMSE: expected a command set of at most {MAXIMUM_COMMAND_BYTES} bytes")
        while size:
            piece = self._connection.some(size)
            self._command += piece
            size -= len(piece)
        if is_last:
            encoded = bytes(self._command)
            self._command.clear()
            self._begin(context, encoded)

    def _begin(self, context: AcceptedContext, encoded: bytes) -> None:
        command = parse_command(encoded)
        is_storage = command.field == CommandField.C_STORE_RQ and right_to(context.abstract_syntax) is Right.STORE
        self._pending = _Pending(
            context=context,
            command=command,
            encoded_command=encoded,
            deposit=self._intake.begin(self._store_command(context, command)) if is_storage else None,
            is_gathered=command.field not in (CommandField.C_STORE_RQ, CommandField.C_CANCEL_RQ) and not command.field & RESPONSE,
        )
        if not command.has_data_set:
            self._end(self._pending)

    def _read_data_set(self, context: AcceptedContext, size: int, *, is_last: bool) -> None:
        pending = self._pending
        if pending is None or pending.context.context_id != context.context_id:
            raise MalformedPdu(AbortReason.UNEXPECTED_PDU, "DIMSE: expected a command, got a data set, or that of another context")
        some = self._connection.some
        if pending.deposit is not None:
            write = pending.deposit.write
            while size:
                piece = some(size)
                write(piece)
                size -= len(piece)
        while size:
            piece = some(size)
            size -= len(piece)
            if pending.is_gathered:
                pending.data_set += piece
        if len(pending.data_set) > MAXIMUM_DATA_SET_BYTES:
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"DIMSE: expected a data set of at most {MAXIMUM_DATA_SET_BYTES} bytes")
        if is_last:
            self._end(pending)

    def _end(self, pending: _Pending) -> None:
        """The message is complete: answer it."""
        self._pending = None
        if pending.deposit is not None:
            outcome = pending.deposit.keep()
            self._count(outcome)
            self._connection.send(command_pdus(pending.context.context_id, response(pending.command, outcome), self._maximum_length))
            return
        message = Message(
            context=pending.context,
            command=pending.command,
            encoded_command=pending.encoded_command,
            encoded_data_set=bytes(pending.data_set),
        )
        if pending.command.field == CommandField.C_STORE_RQ:
            self._connection.send(refusal(message, CommandStatus.SOP_CLASS_NOT_SUPPORTED, self._maximum_length))
        elif pending.is_gathered:
            self._connection.send(answer(message, self._request, self._commitment, self._maximum_length))

    def _store_command(self, context: AcceptedContext, command: Command) -> StoreCommand:
        return StoreCommand(
            sop_class_uid=uid_text(command.sop_class_uid),
            sop_instance_uid=uid_text(command.sop_instance_uid),
            transfer_syntax_uid=context.transfer_syntax,
            **vars(self._request),
        )
