"""What needs no network: shapes drawn from the prompt box, and a classical region method. A model must beat the best of them.

All know the object's true first and last slice, which the model has to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from model.prompt import BoxPrompt

Mask = NDArray[np.bool_]
Baseline = Callable[[NDArray[np.uint8], BoxPrompt, range], Mask]
"""(frames (k, j, i) uint8, box, true extent in slices) -> mask (k, j, i)."""

REGION_MARGIN = 0.25
"""The region method may leave the box by this share of its size."""
SMOOTHING_STEPS, WHITE = 5, 255.0


def extruded_box(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The box on every slice of the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: np.maximum(np.abs(x), np.abs(y)) <= 1.0, box)


def extruded_ellipse(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The ellipse in the box on every slice of the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: x * x + y * y <= 1.0, box)


def ellipsoid(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The ellipsoid as wide as the box and as deep as the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: x * x + y * y <= 1.0 - share * share, box)


def grown_region(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """Region growing by SimpleITK within a somewhat larger box through the extent, between limits that Otsu's threshold sets.

    The threshold parts the prompted slice of that window in two; the object's part is the one of the box's middle.
    """
    rows, columns = frames.shape[1:]
    width, height = box.right - box.left + 1, box.bottom - box.top + 1
    left, right = max(0, round(box.left - REGION_MARGIN * width)), min(columns, round(box.right + 1 + REGION_MARGIN * width))
    top, bottom = max(0, round(box.top - REGION_MARGIN * height)), min(rows, round(box.bottom + 1 + REGION_MARGIN * height))
    window = (slice(extent.start, extent.stop), slice(top, bottom), slice(left, right))
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(frames[window]), SimpleITK.sitkFloat32)
    image = SimpleITK.CurvatureFlow(image, timeStep=0.0625, numberOfIterations=SMOOTHING_STEPS)
    k = box.frame - extent.start
    smooth = SimpleITK.GetArrayFromImage(image)[k]  # (row, column) float32
    otsu = SimpleITK.OtsuThresholdImageFilter()
    otsu.Execute(image[:, :, k])
    threshold = float(otsu.GetThreshold())
    y, x = np.indices(smooth.shape)
    distance = np.hypot((x - (box.left + box.right) / 2 + left) / width, (y - (box.top + box.bottom) / 2 + top) / height)
    bright = bool(np.median(smooth[distance <= max(0.25, float(distance.min()))]) > threshold)
    same = (smooth > threshold) == bright
    if not same.any():
        return np.zeros(frames.shape, np.bool_)
    seed_row, seed_column = np.unravel_index(np.argmin(np.where(same, distance, np.inf)), distance.shape)
    limits = (threshold, WHITE) if bright else (0.0, threshold)
    seeds = [(int(seed_column), int(seed_row), k)]
    grown = SimpleITK.ConnectedThreshold(image, seedList=seeds, lower=limits[0], upper=limits[1], replaceValue=1)
    mask = np.zeros(frames.shape, np.bool_)
    mask[window] = SimpleITK.GetArrayFromImage(SimpleITK.BinaryFillhole(grown)) > 0
    return mask


BASELINES: Mapping[str, Baseline] = {
    "extruded_box": extruded_box,
    "extruded_ellipse": extruded_ellipse,
    "ellipsoid": ellipsoid,
    "grown_region": grown_region,
}

Inside = Callable[[float, NDArray[np.float64], NDArray[np.float64]], Mask]


def _stacked(shape: tuple[int, ...], extent: range, inside: Inside, box: BoxPrompt) -> Mask:
    """`inside(share, x, y)` on every slice: all three run from -1 to 1 over the extent and the box, 0 in their middle."""
    across = (np.arange(shape[2], dtype=np.float64) - (box.left + box.right) / 2) / ((box.right - box.left + 1) / 2)
    down = (np.arange(shape[1], dtype=np.float64) - (box.top + box.bottom) / 2) / ((box.bottom - box.top + 1) / 2)
    x, y = np.meshgrid(across, down)
    mask = np.zeros(shape, np.bool_)
    for k in extent:
        mask[k] = inside((k - (extent.start + extent.stop - 1) / 2) / (len(extent) / 2), x, y)
    return mask
