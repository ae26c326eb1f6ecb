"""Images that annotations refer to, and where their frames lie: from image coordinates to patient millimetres.

SR spatial coordinates and GSPS pixel units count from the outer corner of the first pixel (0.0, 0.0), whose centre is
(0.5, 0.5) (PS3.3 C.18.6.1.2 and C.10.5, Graphic Annotation Units PIXEL): half a pixel from a pixel index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dicom_io.annotations.annotation import ImageReference
from dicom_io.errors import UnplacedAnnotation
from dicom_io.frame_attributes import plane_of_frame, whole_number
from dicom_io.geometry import Float64, PlaneGeometry
from dicom_io.instance import InstanceHeader
from dicom_io.values import shown_uid, text_of


@dataclass(frozen=True, kw_only=True)
class ImagePlace:
    """One frame: where it lies, its size, and the series that it belongs to."""

    plane: PlaneGeometry
    rows: int
    columns: int
    frame_of_reference_uid: str
    series_instance_uid: str

    def to_lps(self, corner_xy: Float64) -> Float64:
        """Return image coordinates (n, 2) = (column, row), corner-based, as LPS millimetres (n, 3) (PS3.3 equation C.7.6.2.1-1)."""
        x, y = corner_xy[:, :1] - 0.5, corner_xy[:, 1:] - 0.5
        along_row = np.asarray(self.plane.row_cosines, np.float64) * self.plane.column_spacing_mm
        along_column = np.asarray(self.plane.column_cosines, np.float64) * self.plane.row_spacing_mm
        return np.asarray(self.plane.position_mm, np.float64) + x * along_row + y * along_column


@dataclass(frozen=True, kw_only=True)
class ImagePlaces:
    """Images by SOP Instance UID; `stated` holds places that an object states itself (the image library of an SR)."""

    headers: Mapping[str, InstanceHeader]
    stated: Mapping[str, ImagePlace]

    def of(self, reference: ImageReference) -> ImagePlace:
        """Return where a referenced frame lies; raises UnplacedAnnotation where it is not at hand or has no place."""
        shown = shown_uid(reference.sop_instance_uid)
        header = self.headers.get(reference.sop_instance_uid)
        if header is None:
            if reference.sop_instance_uid in self.stated:
                return self.stated[reference.sop_instance_uid]
            raise UnplacedAnnotation(
                f"expected the image {shown} that it was drawn on, got {len(self.headers)} others; "
                "send the images together with the annotation"
            )
        number = _frame_number(reference, header)
        plane = plane_of_frame(header.dataset, number)
        if plane is None:
            raise UnplacedAnnotation(
                f"expected position, orientation and pixel spacing of image {shown} frame {number}, got an image "
                "without a place in the patient; draw on the original slices"
            )
        return ImagePlace(
            plane=plane,
            rows=whole_number(header.dataset, "Rows"),
            columns=whole_number(header.dataset, "Columns"),
            frame_of_reference_uid=text_of(header.dataset, "FrameOfReferenceUID"),
            series_instance_uid=header.series_instance_uid,
        )

    def stating(self, stated: Mapping[str, ImagePlace]) -> ImagePlaces:
        """Return the same with places that an object states for images that are not at hand."""
        return ImagePlaces(headers=self.headers, stated={**self.stated, **stated})


def image_places(headers: Iterable[InstanceHeader]) -> ImagePlaces:
    """Return the places of images, each found by its SOP Instance UID."""
    return ImagePlaces(headers={header.sop_instance_uid: header for header in headers}, stated={})


def _frame_number(reference: ImageReference, header: InstanceHeader) -> int:
    shown = shown_uid(reference.sop_instance_uid)
    if reference.frame_number is None:
        if header.number_of_frames > 1:
            raise UnplacedAnnotation(
                f"expected the frame of image {shown} that it was drawn on, got a reference to all "
                f"{header.number_of_frames}; draw it on one frame"
            )
        return 1
    if not 1 <= reference.frame_number <= header.number_of_frames:
        raise UnplacedAnnotation(
            f"expected a frame of 1..{header.number_of_frames} of image {shown}, got {reference.frame_number}; export the annotation again"
        )
    return reference.frame_number
