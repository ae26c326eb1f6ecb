"""Windows, percentiles, resizing and normalisation of frames."""

from __future__ import annotations

import numpy as np
import pytest

from model.preprocess import IMAGE_MEAN, IMAGE_STD, normalise_frames, percentiles_to_uint8, to_model_pixels, window_to_uint8


def test_the_windows_own_bounds_become_black_and_white_whatever_the_volume_spans() -> None:
    narrow, wide = np.array([0.0, 100.0]), np.array([-1000.0, 0.0, 100.0, 3000.0])
    assert window_to_uint8(narrow, -100, 300).tolist() == [63, 127]
    assert window_to_uint8(wide, -100, 300).tolist() == [0, 63, 127, 255]


def test_the_reference_stretches_what_the_volume_spans_of_the_window() -> None:
    assert window_to_uint8(np.array([0.0, 50.0, 100.0]), -100, 300, reference=True).tolist() == [0, 127, 255]


def test_a_constant_volume_gives_one_grey_level_and_zeros_in_the_reference_mode() -> None:
    constant = np.full((2, 3), 40.0)
    assert np.unique(window_to_uint8(constant, -100, 300)).tolist() == [89]
    assert not window_to_uint8(constant, -100, 300, reference=True).any()


@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (5.0, 1.0), (float("nan"), 1.0)])
def test_a_window_without_width_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected low < high"):
        window_to_uint8(np.zeros(3), low, high)


def test_voxels_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        window_to_uint8(np.array([0.0, np.nan]), 0, 1)


def test_magnetic_resonance_is_stretched_between_percentiles_and_keeps_its_zeros() -> None:
    voxels = np.concatenate((np.zeros(50), np.linspace(1, 100, 1000), np.full(1, 1e6)))
    grey = percentiles_to_uint8(voxels)
    assert not grey[:50].any()
    assert grey[-1] == 255
    assert abs(int(grey[550]) - 127) <= 2
    assert not percentiles_to_uint8(np.zeros((2, 2))).any()


def test_a_frame_of_the_networks_size_is_only_normalised() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    tensor = normalise_frames(frames, 64).numpy()
    expected = (frames[:, None] / 255.0 - np.reshape(IMAGE_MEAN, (3, 1, 1))) / np.reshape(IMAGE_STD, (3, 1, 1))
    np.testing.assert_allclose(tensor, expected, atol=1e-6)


def test_a_grey_frame_equals_the_same_frame_in_three_colours() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 50, 70), dtype=np.uint8)
    coloured = np.repeat(frames[..., None], 3, axis=3)
    np.testing.assert_array_equal(normalise_frames(frames, 64).numpy(), normalise_frames(coloured, 64).numpy())


def test_frames_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        normalise_frames(np.zeros((1, 4, 4), np.float32), 64)


def test_pixels_scale_with_the_frame_and_gain_no_half_pixel() -> None:
    points = np.array([[0.0, 0.0], [72.0, 60.0]], np.float32)
    assert to_model_pixels(points, (120, 144), 512).tolist() == [[0.0, 0.0], [256.0, 256.0]]
