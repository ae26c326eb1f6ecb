"""The even-odd rule: which points of a plane lie inside an odd number of closed outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import Float64


def inside_even_odd(points: Float64, outlines: Sequence[Float64]) -> NDArray[np.bool_]:
    """Return for each point (n, 2) whether a ray towards +u crosses the outlines (each (m, 2), closed by itself) an odd number of times.

    A point on a left or lower edge (smaller u or v) is inside, one on a right or upper edge is outside, so that outlines that
    share an edge never claim a point twice. An edge that is walked to and fro (the channel of a keyhole) cancels exactly.
    """
    order = np.argsort(points[:, 1], kind="stable")
    u, v = points[order, 0], points[order, 1]
    odd = np.zeros(len(points), np.bool_)
    for outline in outlines:
        _toggle(odd, u, v, outline)
    inside = np.empty_like(odd)
    inside[order] = odd
    return inside


def _toggle(odd: NDArray[np.bool_], u: Float64, v: Float64, outline: Float64) -> None:
    """Flip `odd` for every point that has an edge to its right; `v` ascends."""
    ends = np.roll(outline, -1, axis=0)
    upward = (outline[:, 1] < ends[:, 1])[:, np.newaxis]
    # Both directions of an edge are computed from the same end, so that they give the same number.
    low, high = np.where(upward, outline, ends), np.where(upward, ends, outline)
    first, last = np.searchsorted(v, low[:, 1], "left"), np.searchsorted(v, high[:, 1], "left")
    for edge in np.flatnonzero(last > first):
        start, stop = first[edge], last[edge]
        slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
        crossing = low[edge, 0] + (v[start:stop] - low[edge, 1]) * slope
        odd[start:stop] ^= u[start:stop] < crossing
