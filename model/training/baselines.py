"""The two naive answers to one box prompt: the box itself through the organ's extent, and a window of intensities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BODY_HU = -200.0
"""Voxels above this are taken for body."""


def box_of(mask_slice: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), inclusive pixel indices, of a (row, column) mask. Raises ValueError when it is empty."""
    rows = np.flatnonzero(mask_slice.any(axis=1))
    columns = np.flatnonzero(mask_slice.any(axis=0))
    if rows.size == 0:
        msg = "expected a mask with at least one pixel, got an empty one: choose a slice that shows the organ"
        raise ValueError(msg)
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def extruded_box(mask: Mask, frame: int) -> Mask:
    """The tight box of `mask` (k, j, i) on slice `frame`, repeated on every slice of the mask's true extent."""
    left, top, right, bottom = box_of(mask[frame])
    extruded = np.zeros_like(mask)
    extruded[mask.any(axis=(1, 2)), top : bottom + 1, left : right + 1] = True
    return extruded


def threshold_in_box(voxels_hu: NDArray[np.float32], mask: Mask, frame: int) -> Mask:
    """Voxels of the extruded box inside the intensity window that fits the prompted slice best."""
    low, high = best_window(voxels_hu, mask, frame)
    return np.asarray(extruded_box(mask, frame) & (voxels_hu >= low) & (voxels_hu <= high))


def threshold_in_body(voxels_hu: NDArray[np.float32], mask: Mask, frame: int) -> Mask:
    """Voxels of the body, on the slices of the mask's true extent, inside the intensity window that fits the prompted slice best."""
    low, high = best_window(voxels_hu, mask, frame)
    extent = np.asarray(mask.any(axis=(1, 2)))[:, None, None]
    return np.asarray((voxels_hu >= max(low, BODY_HU)) & (voxels_hu <= high) & extent)


def best_window(voxels_hu: NDArray[np.float32], mask: Mask, frame: int) -> tuple[float, float]:
    """The (low, high) HU whose voxels in the prompted box have the highest Dice with the truth there: no honest reader could do better."""
    left, top, right, bottom = box_of(mask[frame])
    content = voxels_hu[frame, top : bottom + 1, left : right + 1].ravel()
    truth = mask[frame, top : bottom + 1, left : right + 1].ravel()
    edges = np.quantile(content, np.linspace(0, 1, 41))
    counts = np.histogram(content, edges)[0].cumsum()
    hits = np.histogram(content[truth], edges)[0].cumsum()
    counts, hits = np.append(0, counts), np.append(0, hits)
    dice = 2 * (hits[None, :] - hits[:, None]) / np.maximum(counts[None, :] - counts[:, None] + truth.sum(), 1)
    first, last = np.unravel_index(np.argmax(np.triu(dice, 1)), dice.shape)
    return float(edges[first]), float(edges[last])
