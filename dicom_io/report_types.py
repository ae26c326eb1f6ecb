"""What a report says: of each target what was found and measured, or that it was not found, withheld or never looked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dicom_io.codes import Code
from dicom_io.measurements import Measurements
from dicom_io.segmentation_types import SegmentDescription


class Outcome(enum.Enum):
    """What became of a target; each is told in codes that other systems know (`OUTCOME_CODES`)."""

    ACCEPTED = "accepted"
    FLAGGED = "flagged"
    """Delivered with a warning."""
    WITHHELD = "withheld"
    """Segmented, but beyond its quality limits: there is no segment."""
    NOT_FOUND = "not found"
    """Looked for and not detected, which does not mean that it is not there."""
    REFUSED = "refused"
    """The images could not be used, so that nobody looked."""


QUALITY = Code(value="111050", scheme="DCM", meaning="Quality Assessment")
DETECTION = Code(value="111064", scheme="DCM", meaning="Summary of Detections")

OUTCOME_CODES: dict[Outcome, tuple[Code, Code]] = {
    Outcome.ACCEPTED: (QUALITY, Code(value="111237", scheme="DCM", meaning="Usable - Meets the quality control standard")),
    Outcome.FLAGGED: (QUALITY, Code(value="111236", scheme="DCM", meaning="Usable - Does not meet the quality control standard")),
    Outcome.WITHHELD: (QUALITY, Code(value="113001", scheme="DCM", meaning="Rejected for Quality Reasons")),
    Outcome.NOT_FOUND: (DETECTION, Code(value="260415000", scheme="SCT", meaning="Not detected")),
    Outcome.REFUSED: (DETECTION, Code(value="111225", scheme="DCM", meaning="Not Attempted")),
}
"""(concept, value) of the qualitative evaluation that says it."""


@dataclass(frozen=True, kw_only=True)
class ObjectReference:
    """An object that a report refers to."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class MeasuredSegment:
    """A segment in a segmentation object, and its measures."""

    segment: SegmentDescription
    segmentation: ObjectReference
    measurements: Measurements


@dataclass(frozen=True, kw_only=True)
class ReportedTarget:
    """One entry of a report."""

    label: str
    category: Code
    type: Code
    laterality: Code | None
    region: Code | None
    tracking_uid: str
    outcome: Outcome
    reasons: tuple[str, ...]
    """In words, for people; nothing in them may identify the patient."""
    measured: MeasuredSegment | None = None
    """None for a target without a segment."""

    def __post_init__(self) -> None:
        delivered = self.outcome in (Outcome.ACCEPTED, Outcome.FLAGGED)
        if delivered != (self.measured is not None):
            raise ValueError(f"{self.label}: expected measures exactly where there is a segment, got {self.outcome.value}")


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that a report says."""

    targets: tuple[ReportedTarget, ...]
    unit: str
    """Of the intensities, as `Volume.unit`: HU, SUVbw, BQML, or empty where it is arbitrary."""
    modality: str
    predecessors: tuple[ObjectReference, ...] = ()
    """Reports of the same study that this one supersedes."""
