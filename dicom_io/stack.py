"""One regular stack: planes ordered along their normal, and judged before anyone trusts them to be a volume.

Order and spacing come from positions alone: file names, instance numbers, slice locations and slice thickness all lie
now and then. What does not lie on one grid is refused with its figures, never straightened in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.errors import DuplicatePositions, GantryTilt, MixedGeometry, TooFewSlices, UnevenSpacing
from dicom_io.geometry import POSITION_TOLERANCE_MM, Float64, PlaneGeometry, affine_from_planes, tilt_degrees

MINIMUM_SLICES = 3
"""Two slices cannot show whether their spacing is even."""
TILT_LIMIT_DEGREES = 0.1
"""A stack of 50 cm then drifts by less than 0.9 mm, about one pixel: many readers drop the shear without a word.
Real gantries tilt by whole degrees; rounded positions stay far below (0.001 mm on 10 mm is 0.006 degree)."""
FIT_TOLERANCE_MM = 3.0 * POSITION_TOLERANCE_MM
"""How far a slice may lie from the grid: at worst, jitter of `POSITION_TOLERANCE_MM` turns the fitted line so that an end
slice lies 2.7 times as far from it."""
GAP_TOLERANCE_MM = 5.0 * POSITION_TOLERANCE_MM
"""How far a gap may differ from the usual one: both have two ends with jitter. What adds up is found by the fit."""
JITTER_MM = 1e-3
"""Positions farther than this from the grid are reported as `position-jitter`."""
_NAMED_FAULTS = 4


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A regular stack: `order[k]` is the index, in the planes that were given, of slice k; k ascends along the normal.

    `affine`: 4x4 float64, (k, j, i, 1) -> LPS millimetres; `jitter_mm` is the farthest that a slice lies from it.
    """

    order: tuple[int, ...]
    affine: Float64
    jitter_mm: float


def order_stack(planes: Sequence[PlaneGeometry], shape: tuple[int, int], name: Callable[[int], str]) -> Stack:
    """Order planes of `shape` (rows, columns) along their normal and judge whether they are one regular stack.

    `name(index)` says in the user's words which image a plane belongs to. The affine is the least-squares grid through
    all positions. Raises MixedGeometry, DuplicatePositions, TooFewSlices, UnevenSpacing or GantryTilt, in that order.
    """
    _expect_parallel(planes, shape, name)
    normal = planes[0].normal / np.linalg.norm(planes[0].normal)
    positions = np.array([plane.position_mm for plane in planes], np.float64)
    distances = positions @ normal
    order = np.argsort(distances, kind="stable")
    places = _places(distances[order], order, name)
    _expect_enough(len(planes))
    _expect_even(places)
    origin, step, residual = _fit(positions[order])
    first = planes[int(order[0])]
    affine = affine_from_planes(first, step.tolist())
    affine[:3, 3] = origin
    _expect_upright(affine, len(planes))
    _expect_straight(residual, order, name)
    return Stack(order=tuple(int(index) for index in order), affine=affine, jitter_mm=float(residual.max()))


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Slices in order: distance along the normal in millimetres and what to call each."""

    distances_mm: Float64
    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.names)


def _expect_parallel(planes: Sequence[PlaneGeometry], shape: tuple[int, int], name: Callable[[int], str]) -> None:
    """Raise MixedGeometry unless every plane spans its pixels as the first one does, to the position tolerance at the far corners."""
    reference = _spans(planes[0], shape)
    for index, plane in enumerate(planes):
        if np.abs(_spans(plane, shape) - reference).max() <= POSITION_TOLERANCE_MM:
            continue
        raise MixedGeometry(
            f"the series mixes orientations or pixel spacings: {name(0)} has {_described(planes[0])}, "
            f"{name(index)} has {_described(plane)}; "
            "expected one orientation and one pixel spacing; send each stack as a series of its own, without localizers"
        )


def _spans(plane: PlaneGeometry, shape: tuple[int, int]) -> Float64:
    """Vectors from the first pixel to the end of the first column and of the first row, shape (2, 3), millimetres."""
    column = np.asarray(plane.column_cosines, np.float64) * plane.row_spacing_mm * (shape[0] - 1)
    row = np.asarray(plane.row_cosines, np.float64) * plane.column_spacing_mm * (shape[1] - 1)
    return np.stack([column, row])


def _described(plane: PlaneGeometry) -> str:
    cosines = "\\".join(f"{value:.6g}" for value in (*plane.row_cosines, *plane.column_cosines))
    return f"orientation {cosines} and pixel spacing {plane.row_spacing_mm:.6g}\\{plane.column_spacing_mm:.6g} mm"


def _places(distances: Float64, order: np.ndarray[tuple[int], np.dtype[np.intp]], name: Callable[[int], str]) -> _Places:
    """Name the slices in order; raise DuplicatePositions if two of them lie in one place."""
    names = tuple(name(int(index)) for index in order)
    same = np.flatnonzero(np.diff(distances) < POSITION_TOLERANCE_MM)
    if same.size:
        first = int(same[0])
        raise DuplicatePositions(
            f"{len(names)} images lie in only {len(names) - same.size} places: {names[first]} and {names[first + 1]} are both at "
            f"{distances[first]:.3f} mm along the slice normal; expected one image a place; "
            "send each phase, echo, diffusion weighting or reconstruction as a series of its own"
        )
    return _Places(distances_mm=distances, names=names)


def _expect_enough(slices: int) -> None:
    if slices < MINIMUM_SLICES:
        raise TooFewSlices(f"the series has {slices} slice(s), expected at least {MINIMUM_SLICES} for a volume; check that all were sent")


def _expect_even(places: _Places) -> None:
    """Raise UnevenSpacing, naming the slices about each gap that is not the usual one."""
    gaps = np.diff(places.distances_mm)
    # A gap that is there, not the mean of two: half a stack at 2.5 mm and half at 3.75 mm has no gap of 3.125 mm.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    uneven = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE_MM)
    if not uneven.size:
        return
    faults = [_fault(places, int(gap), float(gaps[gap]), usual) for gap in uneven[:_NAMED_FAULTS]]
    more = f" and {uneven.size - _NAMED_FAULTS} more" if uneven.size > _NAMED_FAULTS else ""
    raise UnevenSpacing(
        f"the slices are unevenly spaced: usually {usual:.3f} mm apart, but {'; '.join(faults)}{more}; expected even spacing "
        f"to {GAP_TOLERANCE_MM} mm; send the missing images again, or a reconstruction with even spacing"
    )


def _fault(places: _Places, gap: int, found_mm: float, usual_mm: float) -> str:
    multiple = round(found_mm / usual_mm)
    missing = multiple > 1 and abs(found_mm - multiple * usual_mm) <= GAP_TOLERANCE_MM * multiple
    guess = f" ({multiple - 1} slice(s) missing)" if missing else ""
    ends = f"{places.names[gap]} at {places.distances_mm[gap]:.3f} mm and {places.names[gap + 1]} at {places.distances_mm[gap + 1]:.3f} mm"
    return f"{found_mm:.3f} mm between {ends}{guess}"


def _fit(positions: Float64) -> tuple[Float64, Float64, Float64]:
    """Least-squares line through positions (k, 3): origin and step (3,), and the distance (k,) of each from it, millimetres."""
    centred = np.arange(len(positions), dtype=np.float64) - (len(positions) - 1) / 2.0
    mean = positions.mean(axis=0)
    step = centred @ (positions - mean) / (centred @ centred)
    origin = mean + centred[0] * step
    residual = np.linalg.norm(positions - (mean + centred[:, None] * step), axis=1)
    return origin, step, residual


def _expect_upright(affine: Float64, slices: int) -> None:
    angle = tilt_degrees(affine)
    if angle > TILT_LIMIT_DEGREES:
        drift = float(np.linalg.norm(affine[:3, 0])) * (slices - 1) * np.sin(np.radians(angle))
        raise GantryTilt(
            f"the stack is sheared by {angle:.2f} degrees (gantry tilt): its last slice lies {drift:.1f} mm aside of the first; "
            f"expected at most {TILT_LIMIT_DEGREES} degrees; send a reconstruction without tilt"
        )


def _expect_straight(residual: Float64, order: np.ndarray[tuple[int], np.dtype[np.intp]], name: Callable[[int], str]) -> None:
    worst = int(np.argmax(residual))
    if residual[worst] > FIT_TOLERANCE_MM:
        raise UnevenSpacing(
            f"the slices do not lie on one grid: {name(int(order[worst]))} is {residual[worst]:.3f} mm off; "
            f"expected at most {FIT_TOLERANCE_MM} mm; send a reconstruction with even spacing"
        )
