"""Earlier results that a new one replaces, as references: read from their own files while these are kept."""

from __future__ import annotations

from pydicom.uid import ComprehensiveSRStorage

from daemon.request import PredecessorObject, SeriesRequest
from daemon.store import Predecessor
from dicom_io.errors import NotDicom
from dicom_io.instance import read_header
from dicom_io.report_types import ObjectReference


def predecessor_object(earlier: Predecessor) -> PredecessorObject:
    """Return the reference to an earlier result; of one whose file is gone only its SOP Instance UID is known, the rest is empty."""
    try:
        header = read_header(earlier.path)
    except (NotDicom, OSError):
        return PredecessorObject(study_instance_uid="", series_instance_uid="", sop_class_uid="", sop_instance_uid=earlier.sop_instance_uid)
    return PredecessorObject(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
    )


def superseded_reports(request: SeriesRequest, study_instance_uid: str) -> tuple[ObjectReference, ...]:
    """Return the earlier reports that a new one takes the place of; a reference cannot lead to another study (PS3.3 C.17.2.2)."""
    return tuple(
        ObjectReference(
            sop_class_uid=earlier.sop_class_uid,
            sop_instance_uid=earlier.sop_instance_uid,
            series_instance_uid=earlier.series_instance_uid,
        )
        for earlier in request.predecessors
        if earlier.sop_class_uid == ComprehensiveSRStorage and earlier.study_instance_uid == study_instance_uid
    )
