"""The sender: files go to a peer by C-STORE, byte for byte as they lie on the disk, several in one association."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.errors import ContextsRefused, NotDicom, PeerError, PeerRejected, PeerUnreachable, StoreRefused
from dicom_io.peer import Destination, associated, unanswered
from dicom_io.store_status import ALLOW_CLASS, SUCCESS, Outcome, meaning_of


class Moment(enum.StrEnum):
    """A moment of the exchange with a peer that a process may not outlive; tests end it there."""

    STORE_REQUEST_SENT = "store-request-sent"
    STORE_RESPONSE_RECEIVED = "store-response-received"
    COMMITMENT_REQUEST_SENT = "commitment-request-sent"
    COMMITMENT_RESPONSE_RECEIVED = "commitment-response-received"
    COMMITMENT_REPORT_RECEIVED = "commitment-report-received"


Reached = Callable[[Moment], None]
"""Hears of each moment when it has come."""


def unheard(_moment: Moment) -> None:
    """Hear of a moment and do nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A Part 10 file as its file meta describes it."""

    path: Path
    sop_class_uid: UID
    sop_instance_uid: str
    transfer_syntax_uid: UID

    def __str__(self) -> str:
        return f"{self.sop_class_uid.name} in {self.transfer_syntax_uid.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SendResult:
    """What became of one file that was sent, or that the peer would not take."""

    path: Path
    sop_instance_uid: str
    outcome: Outcome
    status: int | None
    """DIMSE status of the answer, the failure or warning reason of a STOW-RS answer; None where there was none."""
    reason: str
    """Expected, got and cure; a remark where it was stored with one; empty where it was simply stored."""


def read_outgoing(path: Path) -> Outgoing:
    """Return what a file's meta says; raises NotDicom where it says too little, OSError where the file cannot be read."""
    try:
        meta, _offset = split_dataset(path)
        return Outgoing(
            path=path,
            sop_class_uid=UID(meta["MediaStorageSOPClassUID"].value),
            sop_instance_uid=str(meta["MediaStorageSOPInstanceUID"].value),
            transfer_syntax_uid=UID(meta["TransferSyntaxUID"].value),
        )
    except (InvalidDicomError, KeyError, ValueError, EOFError, NotImplementedError) as error:
        raise NotDicom(f"{path}: expected a Part 10 file with file meta, got {error}; write it again") from error


class StoreSession:
    """One association in which files are stored; `open_session` gives it."""

    def __init__(self, destination: Destination, association: Association, reached: Reached) -> None:
        self.destination = destination
        self.association = association
        self.reached = reached
        self.sending: Moment | None = None
        """The moment that comes with the last byte of the request that is being sent."""
        self._accepted = {(str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in association.accepted_contexts}

    def accepts(self, item: Outgoing) -> bool:
        """Say whether the peer takes this SOP class in this transfer syntax."""
        return (item.sop_class_uid, item.transfer_syntax_uid) in self._accepted

    def accepts_class(self, sop_class_uid: str) -> bool:
        """Say whether the peer accepted a SOP class, in any transfer syntax."""
        return any(accepted == sop_class_uid for accepted, _syntax in self._accepted)

    def request_sent(self) -> None:
        """Hear that the last byte of a request is out."""
        if self.sending is not None:
            self.reached(self.sending)

    def send(self, item: Outgoing) -> SendResult:
        """Store one file and say what became of it; raises PeerUnreachable where no answer came: the association is over."""
        if not self.accepts(item):
            return class_refused(self.destination.name, item)
        if not self.association.is_established:
            raise unanswered(self.destination, f"C-STORE of {item.path.name}")
        self.sending = Moment.STORE_REQUEST_SENT
        answer: Dataset = self.association.send_c_store(item.path)
        if "Status" not in answer:
            raise unanswered(self.destination, f"C-STORE of {item.path.name}")
        self.reached(Moment.STORE_RESPONSE_RECEIVED)
        # The peer's Error Comment (0000,0902) stays unread: archives quote patients' names in it.
        return judged(f"{self.destination}", item, int(answer.Status))


def class_refused(peer: str, item: Outgoing) -> SendResult:
    """Return the result of a file that the peer would not take at all."""
    reason = f"{peer}: expected it to accept {item}, got a refusal; {ALLOW_CLASS}"
    return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=Outcome.CLASS_REFUSED, status=None, reason=reason)


def judged(peer: str, item: Outgoing, status: int, comment: str = "") -> SendResult:
    """Return what a status says of a file."""
    row = meaning_of(status)
    got = f"0x{status:04X}, {row.meaning}" + (f" ({comment})" if comment else "")
    reason = "" if status == SUCCESS else f"{peer}: {got}"
    if row.outcome is not Outcome.STORED:
        reason = f"{peer}: expected status 0x0000 for {item.path.name}, got {got}; {row.cure}"
    return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=row.outcome, status=status, reason=reason)


@contextlib.contextmanager
def open_session(
    destination: Destination,
    outgoing: Sequence[Outgoing],
    *,
    beside: Sequence[PresentationContext] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
    reached: Reached = unheard,
) -> Iterator[StoreSession]:
    """Associate for what is to be sent, and nothing else: its SOP classes and transfer syntaxes, and the contexts `beside` it.

    Raises PeerUnreachable, PeerRejected, or ContextsRefused where the peer takes none of them.
    """
    pairs = sorted({(item.sop_class_uid, item.transfer_syntax_uid) for item in outgoing})
    contexts = [*(build_context(*pair) for pair in pairs), *beside]
    with associated(destination, contexts, handlers) as association:
        session = StoreSession(destination, association, reached)
        association.bind(evt.EVT_PDU_SENT, lambda event: session.request_sent() if _ends_data_set(event) else None)
        yield session


def store(destination: Destination, paths: Sequence[Path]) -> tuple[SendResult, ...]:
    """Send Part 10 files in one association and return one result each, in their order, once the peer stored them all.

    Raises NotDicom for a file that is none, PeerUnreachable, PeerRejected, or StoreRefused: the other files were sent
    nevertheless, and the error's `results` tell which of them the peer stored.
    """
    outgoing = [read_outgoing(path) for path in paths]
    if not outgoing:
        return ()
    stored: list[SendResult] = []
    refused: list[SendResult] = []
    try:
        with open_session(destination, outgoing) as session:
            for item in outgoing:
                result = session.send(item)
                (stored if result.outcome is Outcome.STORED else refused).append(result)
    except PeerUnreachable as error:
        error.results = tuple(stored)
        raise
    if refused:
        raise _refusal(refused[0], tuple(stored))
    return tuple(stored)


def echo(destination: Destination) -> None:
    """Ask the peer whether it is there, by C-ECHO; raises PeerUnreachable or PeerRejected where it does not say yes."""
    with associated(destination, [build_context(Verification)]) as association:
        status = association.send_c_echo()
    if "Status" not in status:
        raise unanswered(destination, "C-ECHO")
    if status.Status != SUCCESS:
        raise PeerRejected(f"{destination}: expected C-ECHO status 0x0000, got 0x{status.Status:04X}; see the peer's log")


def _refusal(first: SendResult, stored: tuple[SendResult, ...]) -> PeerError:
    error = ContextsRefused(first.reason) if first.status is None else StoreRefused(first.reason)
    error.results = stored
    return error


def _ends_data_set(event: evt.Event) -> bool:
    """Say whether a PDU that was sent holds the last fragment of a data set (PS3.8 section E.2: bit 0 command, bit 1 last)."""
    if not isinstance(event.pdu, P_DATA_TF):
        return False
    headers = [(item.presentation_data_value or b"\0")[0] for item in event.pdu.presentation_data_value_items]
    return any(header & 0b11 == 0b10 for header in headers)
