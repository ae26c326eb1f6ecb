"""Voxels to the uint8 frames that the model sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.preprocess import window_to_uint8


def to_frames(voxels: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return `voxels` (k, j, i) as uint8, `low` and below black, `high` and above white; a constant volume is black."""
    frames = np.zeros(voxels.shape, np.uint8)
    if low < high:
        # Slice by slice: the arithmetic is in float64, and a whole volume of that would be eight times the frames.
        for k, image in enumerate(voxels):
            frames[k] = window_to_uint8(image, low, high)
    return frames
