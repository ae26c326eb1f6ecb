"""The gap test: how many slices seem to be missing between those that came?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dicom_io.geometry import PlaneGeometry

PARALLEL = 0.999
SAME_PLACE_MM = 1e-2
GAP = 1.5
"""A distance of more than so many usual ones is a gap; real spacing varies by some per cent."""
MINIMUM_PLACES = 4
"""With fewer no distance is the usual one."""


def missing_slices(planes: Sequence[PlaneGeometry]) -> int:
    """Return how many slices lack between the first and the last of parallel planes; 0 where they are not one stack.

    The usual distance is the median of those between neighbours. Several images in one place (phases, echoes) count once.
    """
    if not planes:
        return 0
    normals = np.array([plane.normal / np.linalg.norm(plane.normal) for plane in planes])
    if np.abs(normals @ normals[0]).min() < PARALLEL:
        return 0
    places = np.sort(np.array([plane.position_mm for plane in planes]) @ normals[0])
    if not np.isfinite(places).all():
        return 0
    steps = np.diff(places)
    steps = steps[steps > SAME_PLACE_MM]
    if steps.size < MINIMUM_PLACES - 1:
        return 0
    usual = float(np.median(steps))
    return int(sum(round(step / usual) - 1 for step in steps[steps > GAP * usual]))
