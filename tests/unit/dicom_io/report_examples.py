"""A report on two segments and three targets without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dicom_io.codes import CATEGORIES, LATERALITIES, Code
from dicom_io.measurements import measure
from dicom_io.report_types import MeasuredSegment, ObjectReference, Outcome, ReportContent, ReportedTarget
from dicom_io.segmentation_types import SegmentDescription
from dicom_io.uids import derive_uid
from dicom_io.volume import Volume
from tests.unit.dicom_io.ct_files import hook_mask
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

MASKS = np.stack([hook_mask(), hook_mask(2, 8, 5)])
SEGMENTS = (KIDNEY, MASS)
SEGMENTATION = ObjectReference(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
    sop_instance_uid=IDENTITY.sop_instance_uid,
    series_instance_uid=IDENTITY.series_instance_uid,
)
PREDECESSOR = ObjectReference(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
    sop_instance_uid=derive_uid("2.25", "older report"),
    series_instance_uid=derive_uid("2.25", "older series"),
)
SPLEEN = Code(value="78961009", scheme="SCT", meaning="Spleen")


def found(volume: Volume, number: int, segment: SegmentDescription, outcome: Outcome, *reasons: str) -> ReportedTarget:
    """A target with a segment."""
    measures = measure(MASKS[number - 1], volume.voxels, volume.affine)
    return ReportedTarget(
        label=segment.label,
        category=segment.category,
        type=segment.type,
        laterality=segment.laterality,
        region=segment.region,
        tracking_uid=segment.tracking_uid,
        outcome=outcome,
        reasons=reasons,
        measured=MeasuredSegment(segment=segment, segmentation=SEGMENTATION, measurements=measures),
    )


def without_segment(label: str, outcome: Outcome, *reasons: str) -> ReportedTarget:
    """A target without a segment."""
    return ReportedTarget(
        label=label,
        category=CATEGORIES["AnatomicalStructure"],
        type=SPLEEN,
        laterality=LATERALITIES["left"],
        region=None,
        tracking_uid=derive_uid("2.25", "track", label),
        outcome=outcome,
        reasons=reasons,
    )


def content(volume: Volume) -> ReportContent:
    """Everything that can be said, once."""
    return ReportContent(
        targets=(
            found(volume, 1, KIDNEY, Outcome.ACCEPTED),
            found(volume, 2, MASS, Outcome.FLAGGED, "Mass: the mask touches the volume's edge"),
            without_segment("Spleen", Outcome.NOT_FOUND, "no region of 200 HU and more"),
            without_segment("Milz größer", Outcome.WITHHELD, "volume: expected at least 30 ml, got 2.00 ml"),
            without_segment("Spleen again", Outcome.REFUSED, "slices 4 and 5 are missing"),
        ),
        unit="HU",
        modality="CT",
        predecessors=(PREDECESSOR,),
    )


__all__ = ["IDENTITY", "MASKS", "SEGMENTS", "Path", "content"]
