"""An annotation in patient millimetres: its shape, what it is called, who drew it on what, and the object that it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_io.codes import Code
from dicom_io.geometry import Float64, PlaneGeometry

ObjectKind: TypeAlias = Literal["SR", "GSPS", "RTSTRUCT", "SEG"]
AlgorithmType: TypeAlias = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC", ""]
"""How the shape came about, empty where the object does not say (PS3.3 C.8.20.2 and C.8.8.5 use the same words)."""


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """An image, or one frame of it, that an annotation was drawn on."""

    sop_instance_uid: str
    frame_number: int | None = None
    """From 1; None where the reference names the whole instance."""


@dataclass(frozen=True, kw_only=True)
class AnnotationSource:
    """Where an annotation stands: the instance, and the item in it in words."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    item: str
    """For example `measurement group 2, image region` or `ROI 4`; never free text of the object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Single places."""

    points_mm: Float64
    """(n, 3), LPS."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """An open polyline: a measured distance, an arrow, a spline's control points."""

    points_mm: Float64
    """(n, 3), LPS, n >= 2."""
    tip: int | None = None
    """Index of the end that an arrow points with; None for lines that are no arrow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """Longest diameter and, where given, the perpendicular one (RECIST)."""

    long_mm: Float64
    """(2, 3), LPS."""
    short_mm: Float64 | None
    """(2, 3), LPS."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contours:
    """Closed planar outlines; where several lie in one plane, a place inside an odd number of them is inside (XOR, PS3.3 C.8.8.6.3)."""

    outlines_mm: tuple[Float64, ...]
    """Each (n, 3), LPS, n >= 3, without the first point repeated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ellipsoid:
    """A solid ellipsoid."""

    centre_mm: Float64
    """(3,), LPS."""
    semi_axes_mm: Float64
    """(3, 3): one vector from the centre to the surface a row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskFrame:
    """One frame of a segment, cropped to what it covers."""

    plane: PlaneGeometry
    """Of the cropped frame: `position_mm` is the centre of its first pixel."""
    mask: NDArray[np.bool_]
    """(row, column)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """A segment's frames, those that cover anything."""

    frames: tuple[MaskFrame, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentReference:
    """A segment of a segmentation object that another object speaks of; resolved when both are at hand."""

    sop_instance_uid: str
    segment_number: int


Shape: TypeAlias = Points | Line | Axes | Contours | Ellipsoid | Mask | SegmentReference


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """One annotation.

    Labels and creators are free text that a person typed and may name a patient or a reader: they are matched against,
    and never logged or shown in errors (`repr` leaves them out).
    """

    shape: Shape
    graphic: str
    """The object's own word: POLYLINE, CIRCLE, ARROW, LONG_AXIS, CLOSED_PLANAR, BINARY ..."""
    frame_of_reference_uid: str
    """Empty where nothing states it."""
    source: AnnotationSource
    label: str = field(default="", repr=False)
    """ROI name, segment label, tracking identifier or the text beside a graphic."""
    concept: Code | None = None
    """Finding, or segmented property type."""
    site: Code | None = None
    """Finding site, or anatomic region."""
    quantity: Code | None = None
    """What was measured along the shape (length, area), where a measurement carries it."""
    tracking_id: str = field(default="", repr=False)
    tracking_uid: str = ""
    creator: str = field(default="", repr=False)
    """Name of the person or system that drew it."""
    algorithm_type: AlgorithmType = ""
    images: tuple[ImageReference, ...] = ()
    """What it was drawn on, whether or not those images are at hand."""
    series_uids: tuple[str, ...] = ()
    """Series that the object says it was drawn on."""
    notes: tuple[str, ...] = ()
    """Codes of what is unusual but was handled, for example `closed-by-reader`."""


@dataclass(frozen=True, kw_only=True)
class RejectedItem:
    """One item that could not be used, and why; the others of its object stand."""

    sop_instance_uid: str
    item: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """All that was found in a set of objects, in the order of objects and items."""

    found: tuple[Annotation, ...] = ()
    rejected: tuple[RejectedItem, ...] = ()
