"""Voxels to the uint8 frames that the model sees, in a fixed or a percentile window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.preprocess import window_to_uint8


def percentile_bounds(
    voxels: NDArray[np.float32], percentiles: tuple[float, float], outside: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Return the values at two percentiles (0 to 100) of `voxels` (k, j, i), leaving out where `outside` is True (padding)."""
    inside = voxels if outside is None or outside.all() else voxels[~outside]
    low, high = np.percentile(inside, percentiles)
    return float(low), float(high)


def to_frames(voxels: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return `voxels` (k, j, i) as uint8, `low` and below black, `high` and above white; a constant volume is black."""
    frames = np.zeros(voxels.shape, np.uint8)
    if low < high:
        # Slice by slice: the arithmetic is in float64, and a whole volume of that would be eight times the frames.
        for k, image in enumerate(voxels):
            frames[k] = window_to_uint8(image, low, high)
    return frames
