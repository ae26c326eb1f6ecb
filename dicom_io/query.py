"""C-FIND at a sender's archive: how many instances a series has (PS3.4 annex C, Study Root)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicom_io.errors import PeerRejected
from dicom_io.peer import Destination, associated, unanswered

PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS = 0x0000


def count_instances(archive: Destination, study_instance_uid: str, series_instance_uid: str) -> int | None:
    """Return Number of Series Related Instances (0020,1209); None where the archive does not know the series, or does not count.

    Raises PeerUnreachable, PeerRejected or ContextsRefused.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = series_instance_uid
    query.NumberOfSeriesRelatedInstances = None
    counts: list[int] = []
    with associated(archive, [build_context(StudyRootQueryRetrieveInformationModelFind)]) as association:
        for status, answer in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            if "Status" not in status:
                raise unanswered(archive, "C-FIND")
            if status.Status in PENDING:
                counts += _counted(answer)
            elif status.Status != SUCCESS:
                raise PeerRejected(f"{archive}: expected C-FIND status 0x0000, got 0x{status.Status:04X}; see the peer's log")
    return max(counts, default=None)  # an archive that answers more than it was asked must not shorten the count


def _counted(answer: Dataset | None) -> list[int]:
    """The count in one answer as a list of one, empty where it does not say one."""
    try:
        return [] if answer is None else [int(answer.NumberOfSeriesRelatedInstances)]
    except (AttributeError, TypeError, ValueError):
        return []
