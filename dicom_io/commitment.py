"""Storage commitment: asking a peer to promise that it keeps what we sent, and reading its promise (PS3.4 annex J).

The request is an N-ACTION; the promise comes as an N-EVENT-REPORT, on the same association or on one that the peer opens to
our listener, within milliseconds or a day. Both are told apart by the Transaction UID alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from dicom_io.errors import CommitmentRefused, NotDicom
from dicom_io.peer import unanswered
from dicom_io.sender import Moment, Outgoing, StoreSession
from dicom_io.store_status import SUCCESS, Outcome

PUSH_MODEL = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class (PS3.4 section J.3.5)."""
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its one well-known SOP Instance."""
REQUEST_ACTION = 1
PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115
"""Invalid argument value (PS3.7 section C.5.10)."""
NO_SUCH_INSTANCE = 0x0112

FAILURE_OUTCOME: Mapping[int, Outcome] = {
    PROCESSING_FAILURE: Outcome.TRANSIENT,
    NO_SUCH_INSTANCE: Outcome.TRANSIENT,  # it does not have it: it is sent again
    0x0213: Outcome.TRANSIENT,  # resource limitation
    0x0122: Outcome.CLASS_REFUSED,  # referenced SOP class not supported
    0x0119: Outcome.PERMANENT,  # class-instance conflict: it has another object under this UID
    0x0131: Outcome.TRANSIENT,  # duplicate Transaction UID: the next request draws another
}
"""Failure Reason (0008,1197) of an instance that is not committed (PS3.3 section C.14.1.1) -> what follows."""
FAILURE_WORDS: Mapping[int, str] = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "no such object instance",
    0x0213: "resource limitation",
    0x0122: "referenced SOP class not supported",
    0x0119: "class-instance conflict",
    0x0131: "duplicate Transaction UID",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What a peer says of the instances of one transaction."""

    transaction_uid: str
    committed: frozenset[str]
    """SOP Instance UIDs that the peer promises to keep."""
    failed: Mapping[str, int]
    """SOP Instance UID -> Failure Reason."""


Keep = Callable[[CommitmentReport], bool]
"""Makes a report durable and says whether that worked; where it did not, the peer hears of a failure and may report again."""


def commitment_context(*, as_listener: bool = False) -> PresentationContext:
    """Return the presentation context for requests, or, for a listener, the one in which the peer takes the provider's role."""
    context = build_context(PUSH_MODEL)
    if as_listener:
        # The peer associates as the service's SCP (PS3.7 section D.3.3.4); some forget to say so and are accepted too.
        context.scu_role = context.scp_role = True
    return context


def commitment_handler(keep: Keep) -> evt.EventHandlerType:
    """Return the handler of N-EVENT-REPORT, for an association of ours or for a listener's."""

    return (evt.EVT_N_EVENT_REPORT, lambda event: (answer_report(event.event_information, keep), None))


def answer_report(event_information: Dataset, keep: Keep) -> int:
    """Read a report, keep it, and return the DIMSE status that answers it; serves every listener, whatever its protocol code."""
    try:
        report = read_report(event_information)
    except NotDicom:
        return INVALID_ARGUMENT
    return SUCCESS if keep(report) else PROCESSING_FAILURE


def request_commitment(session: StoreSession, transaction_uid: str, items: Sequence[Outgoing]) -> None:
    """Ask for the commitment of `items`, within a session that proposed `commitment_context()`.

    Raises CommitmentRefused where the peer says no, PeerUnreachable where no answer came: the request may have arrived.
    """
    destination = session.destination
    if not session.accepts_class(PUSH_MODEL):
        raise CommitmentRefused(
            f"{destination}: expected it to accept Storage Commitment, got a refusal; allow it there, or set `commitment: none`"
        )
    if not session.association.is_established:
        raise unanswered(destination, "N-ACTION of the storage commitment")
    session.sending = Moment.COMMITMENT_REQUEST_SENT
    action = request_data_set(transaction_uid, items)
    status, _reply = session.association.send_n_action(action, REQUEST_ACTION, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    if "Status" not in status:
        raise unanswered(destination, "N-ACTION of the storage commitment")
    session.reached(Moment.COMMITMENT_RESPONSE_RECEIVED)
    if status.Status != SUCCESS:
        raise CommitmentRefused(f"{destination}: expected N-ACTION status 0x0000, got 0x{status.Status:04X}; see the peer's log")


def request_data_set(transaction_uid: str, items: Sequence[Outgoing]) -> Dataset:
    """Return the Action Information of a request (PS3.4 table J.3-1)."""
    action = Dataset()
    action.TransactionUID = UID(transaction_uid)
    action.ReferencedSOPSequence = [_reference(item.sop_class_uid, item.sop_instance_uid) for item in items]
    return action


def read_report(event_information: Dataset) -> CommitmentReport:
    """Return what an N-EVENT-REPORT says (PS3.4 table J.3-2); raises NotDicom where it names no transaction or no instance."""
    transaction = str(event_information.get("TransactionUID", "") or "")
    if not transaction:
        raise NotDicom("storage commitment: expected a Transaction UID (0008,1195) in the report, got none; see the peer's log")
    try:
        committed = frozenset(str(item.ReferencedSOPInstanceUID) for item in event_information.get("ReferencedSOPSequence") or ())
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", PROCESSING_FAILURE))
            for item in event_information.get("FailedSOPSequence") or ()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise NotDicom("storage commitment: expected SOP Instance UIDs and numeric reasons, got others; see the peer's log") from error
    return CommitmentReport(transaction_uid=transaction, committed=committed, failed=failed)


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = UID(sop_class_uid)
    reference.ReferencedSOPInstanceUID = UID(sop_instance_uid)
    return reference
