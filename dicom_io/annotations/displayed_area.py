"""Displayed areas of a presentation state: from fractions of the screen area to image coordinates (PS3.3 C.10.4 and C.10.5).

Graphics in DISPLAY units are fractions of the displayed area, which is given by two pixels of the untransformed image, counted
from 1, that stand top left and bottom right after rotation and flip. Graphics in PIXEL units turn with the image and need none
of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import ImageReference
from dicom_io.annotations.reading import references
from dicom_io.errors import MalformedAnnotation
from dicom_io.frame_attributes import items_of, numbers, whole_number
from dicom_io.geometry import Float64
from dicom_io.values import shown_uid


@dataclass(frozen=True, kw_only=True)
class DisplayedArea:
    """The part of an image that fills the screen area."""

    top_left: tuple[float, float]
    """(column, row) of the pixel at the top left of the screen, from 1."""
    bottom_right: tuple[float, float]
    turned: bool
    """Whether the image is rotated by 90 or 270 degrees, so that the screen's x runs along the image's rows."""

    def to_corner_xy(self, fractions: Float64) -> Float64:
        """Return fractions (n, 2) of the area as image coordinates (n, 2) = (column, row), corner-based."""
        across, down = (fractions[:, 1], fractions[:, 0]) if self.turned else (fractions[:, 0], fractions[:, 1])
        return np.stack(
            [_along(across, self.top_left[0], self.bottom_right[0]), _along(down, self.top_left[1], self.bottom_right[1])], axis=1
        )


def _along(fraction: Float64, first: float, last: float) -> Float64:
    """From the outer edge of pixel `first` to the outer edge of pixel `last`, whichever is larger."""
    start, end = (first - 1.0, last) if first <= last else (first, last - 1.0)
    return start + fraction * (end - start)


def displayed_area(dataset: Dataset, image: ImageReference) -> DisplayedArea:
    """Return the displayed area of an image; raises MalformedAnnotation where the presentation state gives none for it."""
    for item in items_of(dataset, "DisplayedAreaSelectionSequence"):
        meant = references(items_of(item, "ReferencedImageSequence"))
        if meant and not any(_same(one, image) for one in meant):
            continue
        top_left, bottom_right = numbers(item, "DisplayedAreaTopLeftHandCorner"), numbers(item, "DisplayedAreaBottomRightHandCorner")
        if len(top_left) == len(bottom_right) == 2:
            turned = whole_number(dataset, "ImageRotation", 0) % 180 == 90
            return DisplayedArea(top_left=(top_left[0], top_left[1]), bottom_right=(bottom_right[0], bottom_right[1]), turned=turned)
    raise MalformedAnnotation(
        f"expected a displayed area for image {shown_uid(image.sop_instance_uid)}, since the graphic is drawn in DISPLAY units, got none; "
        "export the presentation state again"
    )


def _same(one: ImageReference, other: ImageReference) -> bool:
    frames = (one.frame_number, other.frame_number)
    return one.sop_instance_uid == other.sop_instance_uid and (None in frames or frames[0] == frames[1])
