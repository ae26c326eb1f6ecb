"""What needs no network: shapes drawn from the prompt box, and a classical region method. A model must beat the best of them.

All but the region method know the object's true first and last slice, which the model has to find.
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
REGION_MULTIPLIER, REGION_ITERATIONS, SMOOTHING_STEPS = 2.5, 4, 5


def extruded_box(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The box on every slice of the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: np.maximum(np.abs(x), np.abs(y)) <= 1.0, box)


def extruded_ellipse(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The ellipse in the box on every slice of the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: x * x + y * y <= 1.0, box)


def ellipsoid(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """The ellipsoid as wide as the box and as deep as the extent."""
    return _stacked(frames.shape, extent, lambda share, x, y: x * x + y * y <= 1.0 - share * share, box)


def confidence_connected(frames: NDArray[np.uint8], box: BoxPrompt, extent: range) -> Mask:
    """Region growing by SimpleITK's confidence connection from the box's centre, within a somewhat larger box through the extent."""
    rows, columns = frames.shape[1:]
    width, height = box.right - box.left + 1, box.bottom - box.top + 1
    left, right = max(0, round(box.left - REGION_MARGIN * width)), min(columns, round(box.right + 1 + REGION_MARGIN * width))
    top, bottom = max(0, round(box.top - REGION_MARGIN * height)), min(rows, round(box.bottom + 1 + REGION_MARGIN * height))
    window = (slice(extent.start, extent.stop), slice(top, bottom), slice(left, right))
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(frames[window]), SimpleITK.sitkFloat32)
    image = SimpleITK.CurvatureFlow(image, timeStep=0.0625, numberOfIterations=SMOOTHING_STEPS)
    seed = (
        _within(round((box.left + box.right) / 2) - left, right - left),
        _within(round((box.top + box.bottom) / 2) - top, bottom - top),
        _within(box.frame - extent.start, len(extent)),
    )
    grown = SimpleITK.ConfidenceConnected(
        image,
        seedList=[seed],
        numberOfIterations=REGION_ITERATIONS,
        multiplier=REGION_MULTIPLIER,
        initialNeighborhoodRadius=max(1, int(min(width, height) / 6)),
        replaceValue=1,
    )
    mask = np.zeros(frames.shape, np.bool_)
    mask[window] = SimpleITK.GetArrayFromImage(SimpleITK.BinaryFillhole(grown)) > 0
    return mask


BASELINES: Mapping[str, Baseline] = {
    "extruded_box": extruded_box,
    "extruded_ellipse": extruded_ellipse,
    "ellipsoid": ellipsoid,
    "confidence_connected": confidence_connected,
}

Inside = Callable[[float, NDArray[np.float64], NDArray[np.float64]], Mask]


def _stacked(shape: tuple[int, ...], extent: range, inside: Inside, box: BoxPrompt) -> Mask:
    """`inside(share, x, y)` on every slice: all three run from -1 to 1 over the extent and the box, 0 in their middle."""
    x = (np.arange(shape[2]) - (box.left + box.right) / 2)[None, :] / ((box.right - box.left + 1) / 2)
    y = (np.arange(shape[1]) - (box.top + box.bottom) / 2)[:, None] / ((box.bottom - box.top + 1) / 2)
    x, y = np.broadcast_arrays(x, y)
    mask = np.zeros(shape, np.bool_)
    for k in extent:
        mask[k] = inside((k - (extent.start + extent.stop - 1) / 2) / (len(extent) / 2), x, y)
    return mask


def _within(index: int, length: int) -> int:
    return min(max(index, 0), length - 1)
