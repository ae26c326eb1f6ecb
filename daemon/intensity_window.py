"""A target's intensity window in a volume: the two values that are black and white, for the model and for pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_io.volume import Volume
from rules.rule import Target


def window_bounds(volume: Volume, target: Target) -> tuple[float, float]:
    """Return the target's intensity window as (low, high) in the volume's own unit."""
    window = target.window
    if window.kind == "percentile":
        return percentile_bounds(volume.voxels, (window.low, window.high), volume.padding)
    return window.low, window.high


def percentile_bounds(
    voxels: NDArray[np.float32], percentiles: tuple[float, float], outside: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Return the values at two percentiles (0 to 100) of `voxels` (k, j, i), leaving out where `outside` is True (padding)."""
    inside = voxels if outside is None or outside.all() else voxels[~outside]
    low, high = np.percentile(inside, percentiles)
    return float(low), float(high)
