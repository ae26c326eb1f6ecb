"""The overlay picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicom_io.preview import TARGET_COLOURS, overlay_sheet

WINDOW = (40.0, 400.0)


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _has(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((pixels == np.asarray(colour)).all(axis=-1).any())


def _masks(count: int) -> NDArray[np.bool_]:
    masks = np.zeros((count, 4, 32, 32), np.bool_)
    masks[:, 2, 8:20, 6:15] = True
    return masks


def test_every_target_is_outlined_in_its_own_colour_and_the_truth_in_white() -> None:
    voxels = np.zeros((4, 32, 32), np.float32)
    truth = np.roll(_masks(5), 3, axis=3)
    pixels = _pixels(overlay_sheet(voxels, _masks(5), list("ABCDE"), WINDOW, truth))
    assert all(_has(pixels, colour) for colour in TARGET_COLOURS[:5])
    assert _has(pixels, (255, 255, 255))
    assert not _has(_pixels(overlay_sheet(voxels, _masks(1), ["A"], WINDOW)), (255, 255, 255))


def test_the_slice_with_the_largest_area_is_shown() -> None:
    voxels = np.full((4, 32, 32), -1000.0, np.float32)
    voxels[1] = 40.0
    masks = np.zeros((1, 4, 32, 32), np.bool_)
    masks[0, 1, 4:20, 4:20] = True
    masks[0, 3, 4:8, 4:8] = True
    assert _has(_pixels(overlay_sheet(voxels, masks, ["A"], WINDOW)), (128, 128, 128))


def test_a_target_without_a_voxel_has_a_panel_with_the_truth() -> None:
    voxels = np.zeros((4, 32, 32), np.float32)
    pixels = _pixels(overlay_sheet(voxels, np.zeros((1, 4, 32, 32), np.bool_), ["A"], WINDOW, _masks(1)))
    assert _has(pixels, (255, 255, 255))


def test_equal_input_gives_equal_bytes_and_a_long_label_is_shortened() -> None:
    voxels = np.zeros((4, 32, 32), np.float32)
    first, second = (overlay_sheet(voxels, _masks(1), ["Ventrículo " * 12], WINDOW, None, (2.0, 0.5)) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks: expected 1 of shape \(4, 32, 32\), got 2"):
        overlay_sheet(np.zeros((4, 32, 32), np.float32), _masks(2), ["A"], WINDOW)
    with pytest.raises(ValueError, match="width above 0"):
        overlay_sheet(np.zeros((4, 32, 32), np.float32), _masks(1), ["A"], (40.0, 0.0))
