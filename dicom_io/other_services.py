"""Every DIMSE message but C-STORE: pynetdicom decodes it and encodes the answer; what we do not serve is refused with a status."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_ECHO_RSP, N_ACTION_RSP, N_EVENT_REPORT_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from dicom_io.acceptance import AcceptedContext
from dicom_io.admission import Request
from dicom_io.command_set import Command, CommandField, CommandStatus, response
from dicom_io.pdu import AbortReason, MalformedPdu, command_pdus

MAXIMUM_DATA_SET_BYTES = 16 << 20
"""Of a message that is not a C-STORE; a commitment of 10,000 instances takes some 2 MiB."""

_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    EOFError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
    InvalidDicomError,
    BytesLengthException,
)
"""What pydicom and pynetdicom raise on bytes that are no message."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitmentMessage:
    """An N-ACTION that asks for storage commitment, or an N-EVENT-REPORT that answers ours (PS3.4 annex J)."""

    is_report: bool
    """True: N-EVENT-REPORT."""
    type_id: int
    """Action Type ID (1: request), or Event Type ID (1: all committed, 2: failures exist)."""
    data_set: Dataset
    request: Request
    """Who sent it."""


Commitment = Callable[[CommitmentMessage], int]
"""Handles a storage commitment message, and returns the DIMSE status; called in the thread of the association."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """One DIMSE message, complete, as it was sent."""

    context: AcceptedContext
    command: Command
    encoded_command: bytes
    encoded_data_set: bytes
    """Empty where the message has none."""


def answer(message: Message, request: Request, commitment: Commitment | None, maximum_length: int) -> bytes:
    """Return the PDUs that answer a message; raises MalformedPdu where it cannot be read."""
    service = SERVICES.get((message.context.abstract_syntax, message.command.field))
    if service is None or (service is not _echo and commitment is None):
        return refusal(message, CommandStatus.UNRECOGNIZED_OPERATION, maximum_length)
    try:
        replied = service(_primitive(message), message.context, request, commitment or _never)
        return _encoded(replied, message.context.context_id, maximum_length)
    except _UNREADABLE as error:
        raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"DIMSE message: cannot be read ({type(error).__name__})") from error


def refusal(message: Message, status: CommandStatus, maximum_length: int) -> bytes:
    """Return the PDUs that refuse a message whatever its service."""
    return command_pdus(message.context.context_id, response(message.command, status), maximum_length)


def _echo(asked: Any, _context: AcceptedContext, _request: Request, _commitment: Commitment) -> DIMSEMessage:
    reply = C_ECHO()
    reply.MessageIDBeingRespondedTo = asked.MessageID
    reply.AffectedSOPClassUID = asked.AffectedSOPClassUID
    reply.Status = 0x0000
    return _message(C_ECHO_RSP(), reply)


def _action(asked: Any, context: AcceptedContext, request: Request, commitment: Commitment) -> DIMSEMessage:
    reply = N_ACTION()
    reply.MessageIDBeingRespondedTo = asked.MessageID
    reply.AffectedSOPClassUID, reply.AffectedSOPInstanceUID = asked.RequestedSOPClassUID, asked.RequestedSOPInstanceUID
    reply.ActionTypeID = asked.ActionTypeID
    data_set = read_data_set(asked.ActionInformation, context)
    reply.Status = commitment(CommitmentMessage(is_report=False, type_id=int(asked.ActionTypeID), data_set=data_set, request=request))
    return _message(N_ACTION_RSP(), reply)


def _event_report(asked: Any, context: AcceptedContext, request: Request, commitment: Commitment) -> DIMSEMessage:
    reply = N_EVENT_REPORT()
    reply.MessageIDBeingRespondedTo = asked.MessageID
    reply.AffectedSOPClassUID, reply.AffectedSOPInstanceUID = asked.AffectedSOPClassUID, asked.AffectedSOPInstanceUID
    reply.EventTypeID = asked.EventTypeID
    data_set = read_data_set(asked.EventInformation, context)
    reply.Status = commitment(CommitmentMessage(is_report=True, type_id=int(asked.EventTypeID), data_set=data_set, request=request))
    return _message(N_EVENT_REPORT_RSP(), reply)


def _never(_message: CommitmentMessage) -> int:
    return int(CommandStatus.UNRECOGNIZED_OPERATION)


SERVICES: Mapping[tuple[str, int], Callable[[Any, AcceptedContext, Request, Commitment], DIMSEMessage]] = {
    (str(Verification), CommandField.C_ECHO_RQ): _echo,
    (str(StorageCommitmentPushModel), CommandField.N_ACTION_RQ): _action,
    (str(StorageCommitmentPushModel), CommandField.N_EVENT_REPORT_RQ): _event_report,
}
"""(SOP class of the context, command) -> what answers it."""


def read_data_set(encoded: BytesIO | None, context: AcceptedContext) -> Dataset:
    """Return the data set of a message, every element of it read, so that what is malformed fails here."""
    syntax = UID(context.transfer_syntax)
    data_set = decode(encoded or BytesIO(), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    for _element in data_set.iterall():
        pass
    return data_set


def _primitive(message: Message) -> Any:
    """The message as pynetdicom's primitive: a C_ECHO, N_ACTION ... ."""
    context_id = message.context.context_id
    received = P_DATA()
    received.presentation_data_value_list.append((context_id, b"\3" + message.encoded_command))
    if message.command.has_data_set:
        received.presentation_data_value_list.append((context_id, b"\2" + message.encoded_data_set))
    whole = DIMSEMessage()
    whole.decode_msg(received)
    primitive: Any = whole.message_to_primitive()
    if not primitive.is_valid_request:
        raise ValueError("a request lacks what its service needs")
    return primitive


def _message(kind: DIMSEMessage, reply: C_ECHO | N_ACTION | N_EVENT_REPORT) -> DIMSEMessage:
    kind.primitive_to_message(reply)
    return kind


def _encoded(reply: DIMSEMessage, context_id: int, maximum_length: int) -> bytes:
    # pynetdicom divides by the room that a PDU leaves; a smaller maximum is answered as if it left a little.
    limit = maximum_length and max(maximum_length, 16)
    return b"".join(P_DATA_TF(fragment).encode() for fragment in reply.encode_msg(context_id, limit))
