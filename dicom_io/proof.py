"""Proof by query: does a peer that offers no storage commitment find, by C-FIND, what it said it stored? (PS3.4 annex C)"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from dicom_io.errors import PeerError, QueryRefused
from dicom_io.peer import unanswered
from dicom_io.sender import Outgoing, StoreSession
from dicom_io.store_status import SUCCESS

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve Information Model: FIND."""
PENDING = frozenset({0xFF00, 0xFF01})


def query_context() -> PresentationContext:
    """Return the presentation context of the query."""
    return build_context(STUDY_ROOT_FIND)


def found_instances(session: StoreSession, items: Sequence[Outgoing]) -> frozenset[str]:
    """Return which SOP Instance UIDs of `items` the peer finds, within a session that proposed `query_context()`.

    One query a series, for all its instances: every archive answers that, where a list of UIDs puzzles some.
    Raises QueryRefused where the peer does not take the query, PeerUnreachable where no answer came.
    """
    if not session.accepts_class(STUDY_ROOT_FIND):
        raise QueryRefused(f"{session.destination}: expected it to accept Study Root FIND, got a refusal; allow it for our AE title there")
    wanted = {item.sop_instance_uid for item in items}
    found: set[str] = set()
    for identifier in _identifiers(items):
        found.update(_ask(session, identifier))
    return frozenset(found & wanted)


def _identifiers(items: Iterable[Outgoing]) -> list[Dataset]:
    series = {_series_of(item) for item in items}
    identifiers = []
    for study_uid, series_uid in sorted(series):
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "IMAGE"
        identifier.StudyInstanceUID = UID(study_uid)
        identifier.SeriesInstanceUID = UID(series_uid)
        identifier.SOPInstanceUID = ""
        identifiers.append(identifier)
    return identifiers


def _series_of(item: Outgoing) -> tuple[str, str]:
    header = dcmread(item.path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"], stop_before_pixels=True)
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID)


def _ask(session: StoreSession, identifier: Dataset) -> set[str]:
    session.sending = None
    found: set[str] = set()
    for status, answer in session.association.send_c_find(identifier, STUDY_ROOT_FIND):
        if "Status" not in status:
            raise unanswered(session.destination, "C-FIND")
        if status.Status in PENDING:
            if answer is not None:
                found.add(str(answer.get("SOPInstanceUID", "")))
        elif status.Status != SUCCESS:
            raise _refused(session, int(status.Status))
    return found


def _refused(session: StoreSession, status: int) -> PeerError:
    return QueryRefused(f"{session.destination}: expected C-FIND status 0x0000, got 0x{status:04X}; see the peer's log")
