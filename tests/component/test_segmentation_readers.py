"""Whatever reads our segmentation objects finds the voxels that were meant, at the same millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from dicom_io.instance import fill_identity
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation, place_frames
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.series import read_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume
from tests.e2e.readers import PlacedMask, dcentvfy_errors, dciodvfy_errors, dcmqi_masks, highdicom_masks, on_grid
from tests.unit.dicom_io.ct_files import GEOMETRIES, hook_mask, write_enhanced_volume, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

TOLERANCE_MM = 1e-3
SEGMENTS = (KIDNEY, MASS)


@pytest.mark.parametrize("name", [*GEOMETRIES, "enhanced"])
def test_every_reader_finds_the_same_voxels_at_the_same_millimetres(name: str, tmp_path: Path) -> None:
    volume = write_enhanced_volume(tmp_path / "enhanced.dcm") if name == "enhanced" else write_volume(tmp_path / "ct", name)
    masks = np.stack([hook_mask(), hook_mask(2, 8, 5)])
    assert (masks[0] & masks[1]).any()
    _prove(volume, masks, tmp_path, TOLERANCE_MM)


def test_every_reader_finds_the_same_voxels_in_a_real_jpeg_2000_series(shared_folder: Path, tmp_path: Path) -> None:
    paths = _identified(shared_folder / "data" / "ct_dicom_j2k_totalseg", tmp_path / "ct")
    volume = read_volume(read_series(paths))
    masks = np.zeros((2, *volume.voxels.shape), np.bool_)
    for k in range(2, 11):
        masks[0, k, 100 : 180 - 3 * k, 60:90] = True
        masks[0, k, 100:112, 60 : 150 + 5 * k] = True
    masks[1, 7:9, 300:333, 401] = True
    _prove(volume, masks, tmp_path, TOLERANCE_MM)


def _prove(volume: Volume, masks: NDArray[np.bool_], folder: Path, tolerance_mm: float) -> None:
    part10 = write_segmentation(volume, masks, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, masks, SEGMENTS)
    path = folder / "result.dcm"
    path.write_bytes(part10)
    shape = (masks.shape[1], masks.shape[2], masks.shape[3])

    np.testing.assert_array_equal(_own_masks(part10, volume, masks.shape), masks)
    _assert_equal(highdicom_masks(path), volume, masks, shape, tolerance_mm)
    scratch = folder / "dcmqi"
    scratch.mkdir()
    _assert_equal(dcmqi_masks(path, scratch), volume, masks, shape, tolerance_mm)
    assert dciodvfy_errors(path) == []
    assert dcentvfy_errors([*{source.path for source in volume.sent if source.path}, path]) == []


def _assert_equal(
    read: dict[int, PlacedMask], volume: Volume, masks: NDArray[np.bool_], shape: tuple[int, int, int], tolerance_mm: float
) -> None:
    assert sorted(read) == [1, 2]
    for number, placed in read.items():
        np.testing.assert_array_equal(on_grid(placed, volume.affine, shape, tolerance_mm), masks[number - 1])


def _own_masks(part10: bytes, volume: Volume, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    read = read_segmentation(part10)
    masks = np.zeros(shape, np.bool_)
    for frame, k, mask in zip(read.frames, place_frames(read, volume.affine), read.masks, strict=True):
        masks[frame.segment_number - 1, k] = mask
    return masks


def _identified(folder: Path, target: Path) -> list[Path]:
    """Copy a series whose archive blanked its identifiers, and write into it what reading fills in: dcentvfy compares them."""
    target.mkdir()
    for path in sorted(folder.iterdir()):
        image = pydicom.dcmread(path)
        fill_identity(image, image.file_meta.MediaStorageSOPClassUID, image.file_meta.MediaStorageSOPInstanceUID)
        image.save_as(target / path.name)
    return sorted(target.iterdir())
