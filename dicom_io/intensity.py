"""What stored values mean: the modality transform to Hounsfield units and the like, and the scanner's padding.

The modality transform ends in the modality's own unit (HU for CT). MONOCHROME1 only says that a display shows low
values bright (PS3.3 C.7.6.3.1.2): the numbers of CT, MR and PET keep their meaning and are never inverted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from dicom_io.errors import UndecodablePixels
from dicom_io.frame_attributes import items_of, numbers, whole_number
from dicom_io.values import in_words

_EXACT = 2.0**23
_LARGEST = 1e30
"""No modality has larger values, and float32 holds them."""
_LARGEST_STORED = 2.0**32


def modality_transform(dataset: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return float32 values in the modality's unit, in the shape of `stored` (PS3.3 C.11.1).

    `dataset` is the one that states the transform: the instance's root, or the Pixel Value Transformation item of an
    enhanced frame. A Modality LUT comes first, then Rescale Slope and Intercept; without either the stored values are
    the values. Raises UndecodablePixels for a slope of zero or a table that cannot be read.
    """
    if items_of(dataset, "ModalityLUTSequence"):
        return _looked_up(dataset, stored)
    slope, intercept = _number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)
    if slope == 0.0:
        raise UndecodablePixels("Rescale Slope: expected a number other than 0, got 0; send the original image")
    if abs(slope) * _LARGEST_STORED + abs(intercept) > _LARGEST:
        got = f"{slope:g} and {intercept:g}"
        raise UndecodablePixels(
            f"Rescale Slope and Intercept: expected values below {_LARGEST:g} by them, got {got}; send the original image"
        )
    if slope == 1.0 and intercept.is_integer() and abs(intercept) < _EXACT and stored.dtype.itemsize <= 2 and stored.dtype.kind in "iu":
        # Whole numbers below 2**24 are exact in float32: CT needs no detour, which would cost three times the memory.
        values = stored.astype(np.float32)
        values += np.float32(intercept)
        return values
    # In float64 first: PET slopes of 1e-4 on 16 bits would otherwise lose their last digits twice.
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def padding_mask(dataset: Dataset, stored: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """Return where `stored` holds the scanner's padding (PS3.3 C.7.5.1.1.2), or None if the instance states no padding.

    With Pixel Padding Range Limit every value between the two, both included, is padding.
    """
    if stored.dtype.kind not in "iu":
        return None
    whole = stored.astype(np.int64, copy=False)
    value, limit = _stored_number(dataset, "PixelPaddingValue"), _stored_number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    low, high = sorted((value, value if limit is None else limit))
    return np.asarray((whole >= low) & (whole <= high), np.bool_)


def _looked_up(dataset: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    try:
        return np.asarray(apply_modality_lut(stored, dataset), np.float32)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError) as error:
        raise UndecodablePixels(f"Modality LUT: expected a readable table, got {in_words(error)}; send the original image") from error


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    found = numbers(dataset, keyword)
    return found[0] if len(found) == 1 else default


def _stored_number(dataset: Dataset, keyword: str) -> int | None:
    """An attribute in the representation of the stored values, whatever signedness its writer gave it (US or SS)."""
    found = numbers(dataset, keyword)
    if len(found) != 1 or math.trunc(found[0]) != found[0]:
        return None
    value, span = int(found[0]), 1 << whole_number(dataset, "BitsAllocated", 16)
    if whole_number(dataset, "PixelRepresentation") == 1:
        return value - span if value >= span // 2 else value
    return value + span if value < 0 else value
