"""Slices that are missing: what a rule may allow instead of a refusal, without ever moving a slice that was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from dicom_io.errors import UnevenSpacing
from dicom_io.geometry import Float64, PlaneGeometry
from dicom_io.stack import GAP_TOLERANCE_MM, Indices, OrderedPlanes, Stack, expect_distinct, fit_stack, order_planes, order_stack

GapPolicy = Literal["refuse", "longest_run", "bridge"]
"""refuse: no volume. longest_run: the longest run of evenly spaced slices. bridge: missing slices are interpolated for the
model, and results are written on the slices that were sent alone."""

SHORTEST_RUN = 3
"""Two slices are evenly spaced whatever their distance."""
MOST_BRIDGED_IN_A_ROW = 3
"""Farther than four slices apart, what lies between cannot be told from its ends."""


def close_gaps(planes: Sequence[PlaneGeometry], name: Callable[[int], str], policy: GapPolicy) -> Stack:
    """Return the stack that `policy` makes of parallel planes with uneven spacing; `name` is that of `order_stack`.

    `longest_run` leaves planes out of `order`; `bridge` leaves indices out of `grid`. Raises UnevenSpacing where the
    policy is `refuse` or nothing comes of it, DuplicatePositions or GantryTilt as `order_stack` does.
    """
    if policy == "refuse":
        return order_stack(planes, name)
    ordered = order_planes(planes, name)
    expect_distinct(ordered)
    return _longest_run(ordered) if policy == "longest_run" else fit_stack(ordered, _bridged(ordered))


def _longest_run(ordered: OrderedPlanes) -> Stack:
    first, last = _run(ordered.distances_mm)
    if last - first + 1 < SHORTEST_RUN:
        raise UnevenSpacing(
            f"no {SHORTEST_RUN} of {len(ordered.planes)} slices follow each other at even spacing, so that the longest run is no volume; "
            "send the missing images again"
        )
    kept = slice(first, last + 1)
    run = OrderedPlanes(
        planes=ordered.planes[kept], order=ordered.order[kept], distances_mm=ordered.distances_mm[kept], names=ordered.names[kept]
    )
    return fit_stack(run, np.arange(last - first + 1))


def _run(distances: Float64) -> tuple[int, int]:
    """First and last index of the longest run of slices at even spacing; the first of equals."""
    gaps = np.diff(distances)
    best = start = 0
    length = 1
    for index in range(1, len(gaps) + 1):
        if index == len(gaps) or abs(float(gaps[index] - gaps[start])) > GAP_TOLERANCE_MM:
            if index - start + 1 > length:
                best, length = start, index - start + 1
            start = index
    return best, best + length - 1


def _bridged(ordered: OrderedPlanes) -> Indices:
    """Slice index k of each plane on the grid of the smallest gap, of which every other gap must be a multiple."""
    gaps = np.diff(ordered.distances_mm)
    least = float(gaps.min())
    # The mean of all gaps of one step is a better step than any of them.
    step = float(gaps[gaps < least + 2 * GAP_TOLERANCE_MM].mean())
    steps = np.rint(gaps / step).astype(np.intp)
    off = np.flatnonzero(np.abs(gaps - steps * step) > GAP_TOLERANCE_MM * steps)
    if off.size:
        worst = int(off[0])
        raise UnevenSpacing(
            f"the gaps cannot be bridged: {gaps[worst]:.3f} mm between {ordered.names[worst]} and {ordered.names[worst + 1]} is no "
            f"multiple of {step:.3f} mm; send a reconstruction with even spacing"
        )
    missing = int(steps.max()) - 1
    if missing > MOST_BRIDGED_IN_A_ROW or steps.sum() + 1 > 2 * len(ordered.planes):
        raise UnevenSpacing(
            f"the gaps cannot be bridged: {int(steps.sum()) + 1 - len(ordered.planes)} slices are missing beside {len(ordered.planes)}, "
            f"up to {missing} in a row; expected at most {MOST_BRIDGED_IN_A_ROW} in a row and no more than were sent; "
            "send the missing images again"
        )
    return np.concatenate([np.zeros(1, np.intp), np.cumsum(steps)])
