"""Stored values become the modality's own values, and padding is told from them."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_io.errors import UndecodablePixels
from dicom_io.intensity import modality_transform, padding_mask


def stating(**values: object) -> Dataset:
    """A data set with these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


STORED = np.array([[0, 1, 24], [1000, 2000, 4095]], np.uint16)


def test_rescale_slope_and_intercept_are_applied() -> None:
    values = modality_transform(stating(RescaleSlope="2", RescaleIntercept="-1024"), STORED)
    assert values.dtype == np.float32
    assert np.array_equal(values, STORED.astype(np.float32) * 2 - 1024)


def test_values_without_a_transform_stay_as_they_are() -> None:
    assert np.array_equal(modality_transform(Dataset(), STORED), STORED)


def test_a_small_pet_slope_keeps_its_digits() -> None:
    values = modality_transform(stating(RescaleSlope="0.00026589558726", RescaleIntercept="0"), STORED)
    assert values[1, 2] == np.float32(4095 * 0.00026589558726)


def test_a_modality_table_goes_before_a_slope() -> None:
    table = stating(LUTDescriptor=[4, 0, 16], LUTData=[10, 20, 30, 45], ModalityLUTType="US")
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    dataset = stating(ModalityLUTSequence=[table], RescaleSlope="7")
    assert modality_transform(dataset, np.array([0, 1, 2, 3, 9], np.uint16)).tolist() == [10.0, 20.0, 30.0, 45.0, 45.0]


def test_a_slope_of_zero_is_refused() -> None:
    with pytest.raises(UndecodablePixels, match="Rescale Slope"):
        modality_transform(stating(RescaleSlope="0"), STORED)


def test_padding_is_one_value_or_a_range_with_both_ends() -> None:
    single = padding_mask(stating(PixelPaddingValue=24, PixelRepresentation=0), STORED)
    ranged = padding_mask(stating(PixelPaddingValue=24, PixelPaddingRangeLimit=1, PixelRepresentation=0), STORED)
    assert single is not None
    assert ranged is not None
    assert single.sum() == 1
    assert ranged.tolist() == [[False, True, True], [False, False, False]]
    assert padding_mask(Dataset(), STORED) is None


def test_padding_is_found_whatever_signedness_its_writer_gave_it() -> None:
    stored = np.array([-2000, -1000, 40], np.int16)
    mask = padding_mask(stating(PixelPaddingValue=63536, PixelRepresentation=1, BitsAllocated=16), stored)
    assert mask is not None
    assert mask.tolist() == [True, False, False]
