"""Measurements of bodies whose measures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_io.geometry import Float64
from dicom_io.measurements import PEAK_RADIUS_MM, measure


def _affine(dk: float, dj: float, di: float) -> Float64:
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = dk, dj, di
    affine[:3, 3] = (-31.0, 12.0, 7.0)
    return affine


def _grid(shape: tuple[int, int, int], affine: Float64) -> tuple[Float64, Float64, Float64]:
    """Millimetres along k, j and i from the middle of the grid."""
    spacing = (affine[2, 0], affine[1, 1], affine[0, 2])
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    return k, j, i


def _flat(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.zeros(mask.shape, np.float32)


@pytest.mark.parametrize("spacing", [(1.0, 0.5, 0.5), (2.5, 0.7, 0.7), (3.0, 0.5, 0.9)])
def test_a_sphere_measures_as_its_formula_says(spacing: tuple[float, float, float]) -> None:
    affine, radius = _affine(*spacing), 14.0
    k, j, i = _grid((33, 81, 81), affine)
    mask = k**2 + j**2 + i**2 <= radius**2
    found = measure(mask, _flat(mask), affine)
    assert found.volume_mm3 == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    assert found.long_axis.length_mm == pytest.approx(2 * radius, abs=max(spacing[1:]))
    assert found.short_axis.length_mm == pytest.approx(2 * radius, abs=max(spacing[1:]))
    assert found.long_axis.k == found.short_axis.k == 16


@pytest.mark.parametrize("degrees", [0.0, 17.0, 45.0, 90.0, 118.0])
def test_an_ellipsoid_has_the_axes_it_was_made_with_whatever_its_direction(degrees: float) -> None:
    affine = _affine(2.0, 0.5, 0.8)
    k, j, i = _grid((21, 121, 91), affine)
    angle = math.radians(degrees)
    u, v = i * math.cos(angle) + j * math.sin(angle), -i * math.sin(angle) + j * math.cos(angle)
    mask = (u / 22.0) ** 2 + (v / 9.0) ** 2 + (k / 12.0) ** 2 <= 1.0
    found = measure(mask, _flat(mask), affine)
    assert found.long_axis.length_mm == pytest.approx(44.0, abs=0.8)
    assert found.short_axis.length_mm == pytest.approx(18.0, abs=0.8)
    ends = (np.array(found.long_axis.ends_ji) - (60, 45)) * (0.5, 0.8)
    direction = ends[1] - ends[0]
    turned = math.degrees(math.atan2(direction[0], direction[1]))
    assert (
        min(abs(turned - degrees) % 180, 180 - abs(turned - degrees) % 180) < 5.0
    )  # the flat end of a pixelled ellipsoid is up to seven rows high


def test_a_box_is_measured_from_edge_to_edge_and_the_ends_lie_on_its_outline() -> None:
    mask = np.zeros((5, 20, 30), np.bool_)
    mask[2, 4:7, 10:26] = True
    found = measure(mask, _flat(mask), _affine(5.0, 2.0, 1.0))
    assert found.volume_mm3 == pytest.approx(3 * 16 * 10.0)
    # From the middle of a left edge to that of a right edge two rows away.
    assert found.long_axis.length_mm == pytest.approx(math.hypot(16.0, 4.0))
    assert sorted(end[1] for end in found.long_axis.ends_ji) == [9.5, 25.5]
    line = np.array(found.long_axis.ends_ji) * (2.0, 1.0)
    across = np.array(found.short_axis.ends_ji) * (2.0, 1.0)
    assert float((line[1] - line[0]) @ (across[1] - across[0])) == pytest.approx(0.0, abs=1e-9)
    assert 5.0 < found.short_axis.length_mm < 6.2


def test_one_voxel_has_the_size_of_a_voxel() -> None:
    mask = np.zeros((3, 4, 5), np.bool_)
    mask[1, 2, 3] = True
    found = measure(mask, _flat(mask), _affine(3.0, 0.5, 0.8))
    assert found.volume_mm3 == pytest.approx(1.2)
    assert found.long_axis.length_mm == pytest.approx(0.8)
    assert found.short_axis.length_mm == pytest.approx(0.5)
    assert found.long_axis.k == 1


def test_the_slice_with_the_longest_diameter_is_the_best_one_not_that_with_the_largest_area() -> None:
    mask = np.zeros((6, 40, 40), np.bool_)
    mask[1, 5:25, 5:25] = True
    mask[4, 30, 2:38] = True
    found = measure(mask, _flat(mask), _affine(1.0, 1.0, 1.0))
    assert (found.long_axis.k, found.long_axis.length_mm) == (4, 36.0)
    assert found.short_axis.length_mm == 1.0


def test_intensities_are_those_of_the_voxels_inside_without_padding() -> None:
    voxels = np.full((3, 6, 6), -1000.0, np.float32)
    voxels[1, 1:3, 1:3] = [[10.0, 20.0], [30.0, 40.0]]
    mask = np.zeros(voxels.shape, np.bool_)
    mask[1, 1:3, 1:4] = True
    padding = voxels == -1000.0
    found = measure(mask, voxels, _affine(1.0, 1.0, 1.0), padding=padding).intensity
    assert found is not None
    assert (found.mean, found.minimum, found.maximum, found.peak) == (25.0, 10.0, 40.0, None)
    assert found.standard_deviation == pytest.approx(math.sqrt(125.0))
    assert measure(padding & mask, voxels, _affine(1.0, 1.0, 1.0), padding=padding).intensity is None


def test_the_peak_is_the_best_mean_of_a_cubic_centimetre_around_a_voxel_inside() -> None:
    affine = _affine(3.0, 2.0, 2.0)
    k, j, i = _grid((31, 41, 41), affine)
    hot = np.sqrt(k**2 + j**2 + i**2) <= PEAK_RADIUS_MM + 1e-9
    voxels = np.where(hot, 8.0, 1.0).astype(np.float32)
    voxels[0, 0, 0] = 900.0  # a hot spot outside of the segment
    mask = np.sqrt(k**2 + j**2 + i**2) <= 12.0
    found = measure(mask, voxels, affine, peak=True).intensity
    assert found is not None
    assert found.peak == pytest.approx(8.0)
    assert found.maximum == 8.0
    smaller = measure(mask & ~hot, voxels, affine, peak=True).intensity
    assert smaller is not None
    assert smaller.peak is not None
    assert 1.0 < smaller.peak < 8.0


def test_a_sphere_that_reaches_out_of_the_volume_counts_what_is_inside() -> None:
    voxels = np.full((2, 3, 3), 5.0, np.float32)
    mask = np.zeros(voxels.shape, np.bool_)
    mask[0, 0, 0] = True
    found = measure(mask, voxels, _affine(4.0, 4.0, 4.0), peak=True).intensity
    assert found is not None
    assert found.peak == 5.0


def test_every_slice_is_considered_as_the_exhaustive_search_would() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        mask = generator.random((4, 15, 12)) > 0.93
        if not mask.any():
            continue
        spacing = (1.3, 0.7)
        longest = 0.0
        for plane in mask:
            j, i = np.nonzero(plane)
            points = np.concatenate([np.stack([j + a, i + b], 1) for a, b in ((0, -0.5), (0, 0.5), (-0.5, 0), (0.5, 0))]) * spacing
            if len(points):
                longest = max(longest, float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()))
        assert measure(mask, _flat(mask), _affine(2.0, *spacing)).long_axis.length_mm == pytest.approx(longest)


def test_nothing_cannot_be_measured() -> None:
    empty = np.zeros((2, 3, 4), np.bool_)
    with pytest.raises(ValueError, match="expected at least one voxel"):
        measure(empty, _flat(empty), _affine(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="expected the shape of the voxels"):
        measure(empty, np.zeros((2, 3, 5), np.float32), _affine(1.0, 1.0, 1.0))
