"""Normalised surface Dice: how much of two surfaces lies within a tolerance of the other (Nikolov et al. 2018)."""

from __future__ import annotations

import numpy as np
import SimpleITK
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

TOLERANCE_MM = 2.0
TOLERANCE_VOXELS = 1.0
"""Where the spacing is unknown."""


def normalised_surface_dice(mask: Mask, truth: Mask, spacing_mm: tuple[float, float, float] | None) -> float:
    """Share of the surface voxels of `mask` and `truth` (k, j, i) within 2 mm (1 voxel without a spacing) of the other's surface.

    1.0 when both are empty, 0.0 when one is.
    """
    if not mask.any() or not truth.any():
        return float(mask.any() == truth.any())
    spacing, tolerance = (spacing_mm, TOLERANCE_MM) if spacing_mm is not None else ((1.0, 1.0, 1.0), TOLERANCE_VOXELS)
    window = _window(mask | truth)
    surfaces = [_surface(np.pad(each[window], 1)) for each in (mask, truth)]
    near = [_distance(surface, spacing) <= tolerance for surface in surfaces]
    close = np.count_nonzero(surfaces[0] & near[1]) + np.count_nonzero(surfaces[1] & near[0])
    return close / (np.count_nonzero(surfaces[0]) + np.count_nonzero(surfaces[1]))


def _window(mask: Mask) -> tuple[slice, ...]:
    axes = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in axes)


def _surface(mask: Mask) -> Mask:
    """Voxels with a face towards the outside; the mask is padded."""
    inner = mask.copy()
    for axis in range(3):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return np.asarray(mask & ~inner)


def _distance(surface: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance of every voxel from the nearest surface voxel's centre, mm."""
    image = SimpleITK.GetImageFromArray(surface.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    field = SimpleITK.DanielssonDistanceMap(image, inputIsBinary=True, squaredDistance=False, useImageSpacing=True)
    return np.asarray(SimpleITK.GetArrayFromImage(field), np.float32)
