"""One regular stack: planes ordered along their normal, and judged before anyone trusts them to be a volume.

Order and spacing come from positions alone: file names, instance numbers, slice locations and slice thickness all lie
now and then. A tilted gantry's shear is carried exactly; what does not lie on one grid is refused with its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_io.errors import DuplicatePositions, GantryTilt, TooFewSlices, UnevenSpacing
from dicom_io.geometry import POSITION_TOLERANCE_MM, Float64, PlaneGeometry, affine_from_planes, tilt_degrees

TILT_LIMIT_DEGREES = 0.1
"""Steeper stacks are called tilted: of 50 cm they drift by 0.9 mm, about one pixel, and many readers drop the shear.
Real gantries tilt by whole degrees; rounded positions stay far below (0.001 mm on 10 mm is 0.006 degree)."""
STEEPEST_TILT_DEGREES = 45.0
"""Gantries tilt by 30 degrees at most; slices that step more aside than along are no stack."""
FIT_TOLERANCE_MM = 3.0 * POSITION_TOLERANCE_MM
"""How far a slice may lie from the grid: at worst, jitter of `POSITION_TOLERANCE_MM` turns the fitted line so that an end
slice lies 2.7 times as far from it."""
GAP_TOLERANCE_MM = 5.0 * POSITION_TOLERANCE_MM
"""How far a gap may differ from the usual one: both have two ends with jitter. What adds up is found by the fit."""
JITTER_MM = 1e-3
"""Positions farther than this from the grid are reported as `position-jitter`."""
_NAMED_FAULTS = 4

Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A regular stack: `order[n]` is the index, in the planes that were given, of the n-th slice along the normal.

    `grid[n]` is its slice index k (n itself where no slice is missing). `affine`: 4x4 float64, (k, j, i, 1) -> LPS
    millimetres; `jitter_mm` is the farthest that a slice lies from it.
    """

    order: tuple[int, ...]
    grid: tuple[int, ...]
    affine: Float64
    jitter_mm: float

    @property
    def tilted(self) -> bool:
        """Whether slices step aside as they step along, as those of a tilted gantry do."""
        return tilt_degrees(self.affine) > TILT_LIMIT_DEGREES


@dataclass(frozen=True, kw_only=True)
class OrderedPlanes:
    """Parallel planes in the order of their distance along the normal (millimetres), with what to call each."""

    planes: tuple[PlaneGeometry, ...]
    order: Indices
    distances_mm: Float64
    names: tuple[str, ...]


def order_planes(planes: Sequence[PlaneGeometry], name: Callable[[int], str]) -> OrderedPlanes:
    """Order parallel planes along their normal; `name(index)` says in the user's words which image a plane belongs to."""
    normal = planes[0].normal / np.linalg.norm(planes[0].normal)
    distances = np.array([plane.position_mm for plane in planes], np.float64) @ normal
    order = np.argsort(distances, kind="stable")
    return OrderedPlanes(
        planes=tuple(planes[int(index)] for index in order),
        order=order,
        distances_mm=distances[order],
        names=tuple(name(int(index)) for index in order),
    )


def order_stack(planes: Sequence[PlaneGeometry], name: Callable[[int], str], thickness_mm: float | None = None) -> Stack:
    """Order parallel planes along their normal and judge whether they are one regular stack.

    The affine is the least-squares grid through all positions; a single slice steps by `thickness_mm` along its normal.
    Raises TooFewSlices for a single slice of unknown thickness, DuplicatePositions, UnevenSpacing, or GantryTilt for
    slices that step more aside than along.
    """
    ordered = order_planes(planes, name)
    if len(planes) == 1:
        return _lone_slice(planes[0], thickness_mm, ordered.names[0])
    expect_distinct(ordered)
    _expect_even(ordered)
    return fit_stack(ordered, np.arange(len(planes)))


def fit_stack(ordered: OrderedPlanes, grid: Indices) -> Stack:
    """Lay a least-squares grid through planes whose slice indices `grid` (ascending from 0) are known.

    Raises UnevenSpacing if a slice lies off the grid, GantryTilt if the slices step more aside than along.
    """
    origin, step, residual = _fit(np.array([plane.position_mm for plane in ordered.planes], np.float64), grid)
    affine = affine_from_planes(ordered.planes[0], step.tolist())
    affine[:3, 3] = origin
    _expect_upright(affine)
    _expect_straight(residual, ordered)
    return Stack(
        order=tuple(int(index) for index in ordered.order),
        grid=tuple(int(k) for k in grid),
        affine=affine,
        jitter_mm=float(residual.max()),
    )


def same_place(distances_mm: Float64) -> Indices:
    """Return the indices n of ascending distances whose successor lies in the same place."""
    return np.flatnonzero(np.diff(distances_mm) < POSITION_TOLERANCE_MM)


def expect_distinct(ordered: OrderedPlanes) -> None:
    """Raise DuplicatePositions if two planes lie in one place."""
    same = same_place(ordered.distances_mm)
    if same.size:
        first, count = int(same[0]), len(ordered.planes)
        raise DuplicatePositions(
            f"{count} images lie in only {count - same.size} places: {ordered.names[first]} and {ordered.names[first + 1]} are both at "
            f"{ordered.distances_mm[first]:.3f} mm along the slice normal, and nothing in their headers tells whole volumes apart; "
            "expected one image a place; send each phase, echo, diffusion weighting or reconstruction as a series of its own"
        )


def _lone_slice(plane: PlaneGeometry, thickness_mm: float | None, name: str) -> Stack:
    if thickness_mm is None:
        raise TooFewSlices(
            f"the series has one slice ({name}) without a Slice Thickness, so that its voxels have no third dimension; "
            "expected more slices or a thickness; check that all were sent"
        )
    normal = plane.normal / np.linalg.norm(plane.normal)
    affine = affine_from_planes(plane, (normal * thickness_mm).tolist())
    return Stack(order=(0,), grid=(0,), affine=affine, jitter_mm=0.0)


def _expect_even(ordered: OrderedPlanes) -> None:
    """Raise UnevenSpacing, naming the slices about each gap that is not the usual one."""
    gaps = np.diff(ordered.distances_mm)
    # A gap that is there, not the mean of two: half a stack at 2.5 mm and half at 3.75 mm has no gap of 3.125 mm.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    uneven = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE_MM)
    if not uneven.size:
        return
    faults = [_fault(ordered, int(gap), float(gaps[gap]), usual) for gap in uneven[:_NAMED_FAULTS]]
    more = f" and {uneven.size - _NAMED_FAULTS} more" if uneven.size > _NAMED_FAULTS else ""
    raise UnevenSpacing(
        f"the slices are unevenly spaced: usually {usual:.3f} mm apart, but {'; '.join(faults)}{more}; expected even spacing "
        f"to {GAP_TOLERANCE_MM} mm; send the missing images again, or a reconstruction with even spacing, or set `gaps` in the rule"
    )


def _fault(ordered: OrderedPlanes, gap: int, found_mm: float, usual_mm: float) -> str:
    multiple = round(found_mm / usual_mm)
    missing = multiple > 1 and abs(found_mm - multiple * usual_mm) <= GAP_TOLERANCE_MM * multiple
    guess = f" ({multiple - 1} slice(s) missing)" if missing else ""
    first, second = ordered.distances_mm[gap : gap + 2]
    return f"{found_mm:.3f} mm between {ordered.names[gap]} at {first:.3f} mm and {ordered.names[gap + 1]} at {second:.3f} mm{guess}"


def _fit(positions: Float64, grid: Indices) -> tuple[Float64, Float64, Float64]:
    """Least-squares line through positions (n, 3) at indices `grid` (n,): origin and step (3,), and the distance (n,) of each."""
    centre = float(grid.mean())
    centred = grid.astype(np.float64) - centre
    mean = positions.mean(axis=0)
    step = centred @ (positions - mean) / (centred @ centred)
    origin = mean - centre * step
    residual = np.linalg.norm(positions - (mean + centred[:, None] * step), axis=1)
    return origin, step, residual


def _expect_upright(affine: Float64) -> None:
    angle = tilt_degrees(affine)
    if angle > STEEPEST_TILT_DEGREES:
        raise GantryTilt(
            f"the slices step aside by {angle:.1f} degrees from their normal: that is no gantry tilt; "
            f"expected at most {STEEPEST_TILT_DEGREES:g} degrees; send the original slices"
        )


def _expect_straight(residual: Float64, ordered: OrderedPlanes) -> None:
    worst = int(np.argmax(residual))
    if residual[worst] > FIT_TOLERANCE_MM:
        raise UnevenSpacing(
            f"the slices do not lie on one grid: {ordered.names[worst]} is {residual[worst]:.3f} mm off; "
            f"expected at most {FIT_TOLERANCE_MM} mm; send a reconstruction with even spacing"
        )
