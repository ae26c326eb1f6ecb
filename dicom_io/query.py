"""C-FIND at a sender's archive: how many instances a series has (PS3.4 annex C, Study Root)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicom_io.errors import PeerRejected, PeerUnreachable
from dicom_io.pynetdicom_settings import RequestorEntity, configure_pynetdicom, tune_socket
from dicom_io.sender import Destination

PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS = 0x0000


def count_instances(archive: Destination, study_instance_uid: str, series_instance_uid: str) -> int | None:
    """Return Number of Series Related Instances (0020,1209); None where the archive does not know the series, or does not count.

    Raises PeerUnreachable or PeerRejected.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = series_instance_uid
    query.NumberOfSeriesRelatedInstances = None
    counts: list[int] = []
    with _associated(archive) as association:
        for status, answer in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            if "Status" not in status:
                raise PeerUnreachable(
                    f"{archive}: expected an answer to the C-FIND, got a broken or silent association; see the peer's log"
                )
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


@contextmanager
def _associated(archive: Destination) -> Iterator[Association]:
    configure_pynetdicom()
    entity = RequestorEntity(ae_title=archive.calling_ae_title)
    entity.connection_timeout = archive.connection_timeout_seconds
    entity.acse_timeout = archive.acse_timeout_seconds
    entity.dimse_timeout = archive.dimse_timeout_seconds
    entity.network_timeout = archive.network_timeout_seconds
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    association = entity.associate(
        archive.host, archive.port, contexts=contexts, ae_title=archive.ae_title, evt_handlers=[(evt.EVT_CONN_OPEN, tune_socket)]
    )
    if not association.is_established:
        raise PeerUnreachable(f"{archive}: expected an association for C-FIND (Study Root), got none; do both sides know each other?")
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()
