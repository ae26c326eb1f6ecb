"""Attributes of one frame: where it lies and how its numbers are to be read, in classic and in enhanced instances.

A classic instance states them at its root (PS3.3 C.7.6.2); an enhanced multi-frame instance in functional groups, of
which the per-frame ones come before the shared ones (PS3.3 C.7.6.16).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_io.geometry import PlaneGeometry
from dicom_io.values import value_of

COSINE_NORM_TOLERANCE = 1e-3
"""Direction cosines farther than this from perpendicular unit vectors are no orientation; the file is wrong."""


def frame_count(dataset: Dataset) -> int:
    """Return NumberOfFrames, 1 where the instance does not state it or states nonsense."""
    return max(1, whole_number(dataset, "NumberOfFrames", 1))


def frame_group(dataset: Dataset, frame_number: int, sequence: str) -> Dataset:
    """Return the data set that states the attributes of functional group `sequence` for a frame (counted from 1).

    That is the item of the frame's own group, else of the shared one, else the root of the instance (classic images).
    """
    per_frame = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    own = per_frame[frame_number - 1 : frame_number]
    for group in (*own, *items_of(dataset, "SharedFunctionalGroupsSequence")[:1]):
        items = items_of(group, sequence)
        if items:
            return items[0]
    return dataset


def plane_of_frame(dataset: Dataset, frame_number: int) -> PlaneGeometry | None:
    """Return where a frame (counted from 1) lies, or None if position, orientation or pixel spacing is absent or senseless."""
    position = numbers(frame_group(dataset, frame_number, "PlanePositionSequence"), "ImagePositionPatient")
    cosines = numbers(frame_group(dataset, frame_number, "PlaneOrientationSequence"), "ImageOrientationPatient")
    spacing = numbers(frame_group(dataset, frame_number, "PixelMeasuresSequence"), "PixelSpacing")
    if (len(position), len(cosines), len(spacing)) != (3, 6, 2) or min(spacing) <= 0.0 or not _perpendicular_units(cosines):
        return None
    return PlaneGeometry(
        position_mm=(position[0], position[1], position[2]),
        row_cosines=(cosines[0], cosines[1], cosines[2]),
        column_cosines=(cosines[3], cosines[4], cosines[5]),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
    )


def slice_thickness_mm(dataset: Dataset, frame_number: int) -> float | None:
    """Return the stated thickness of a frame in millimetres, None where absent: never used for spacing, only reported."""
    values = numbers(frame_group(dataset, frame_number, "PixelMeasuresSequence"), "SliceThickness")
    return values[0] if len(values) == 1 and values[0] > 0.0 else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the finite numbers of an attribute; empty if it is absent, empty or holds anything that is not a number."""
    value = value_of(dataset, keyword)
    if value is None or value == "":
        return ()
    try:
        listed = [value] if isinstance(value, str | int | float) or not isinstance(value, Sequence) else value
        found = tuple(float(number) for number in listed)
    except (ValueError, TypeError, OverflowError):
        return ()
    return found if all(math.isfinite(number) for number in found) else ()


def values_of(dataset: Dataset, keyword: str) -> tuple[float | str, ...]:
    """Return the values of an attribute as numbers (to 4 digits after the point) where they are, else as texts; empty if absent."""
    try:
        return plain_values(value_of(dataset, keyword))
    except (ValueError, TypeError, OverflowError):
        return ()


def plain_values(value: object) -> tuple[float | str, ...]:
    """Return what `values_of` does of a value; empty for bytes and sequences."""
    if value is None or isinstance(value, bytes):
        return ()
    listed = [value] if isinstance(value, str | int | float) or not isinstance(value, Sequence) else value
    return tuple(_plain(one) for one in listed if not isinstance(one, Dataset) and str(one).strip())


def items_of(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence; none if it is absent or no sequence."""
    value = value_of(dataset, keyword)
    return value if isinstance(value, DicomSequence) else ()


def whole_number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """Return the one whole number of an attribute, `default` if it is absent or anything else."""
    found = numbers(dataset, keyword)
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else default


def _plain(value: object) -> float | str:
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return round(number, 4) if math.isfinite(number) else text


def _perpendicular_units(cosines: Sequence[float]) -> bool:
    row, column = cosines[:3], cosines[3:]
    products = (math.hypot(*row) - 1.0, math.hypot(*column) - 1.0, sum(a * b for a, b in zip(row, column, strict=True)))
    return all(abs(product) <= COSINE_NORM_TOLERANCE for product in products)
