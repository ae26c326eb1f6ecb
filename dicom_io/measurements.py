"""Measuring a segment: volume, RECIST diameters, statistics of intensity and the SUV peak, as plain arithmetic on arrays.

| measure            | how                                                                                                   |
|--------------------|-------------------------------------------------------------------------------------------------------|
| volume             | voxels times the volume of one                                                                        |
| long axis          | longest distance between two points of the outline on one slice; the slice with the longest is taken |
| short axis         | longest chord of the outline's convex hull perpendicular to the long axis, on the same slice          |
| mean, SD, min, max | of the voxels inside; SD is the population's (divided by n)                                           |
| peak               | highest mean over a sphere of 1 cm3 around a voxel of the segment (IBSI's global intensity peak)      |

The outline runs along the outer edges of the pixels, and is sampled at the middle of each edge: between the centres of
the pixels, which are half a pixel too small on each side, and their corners, which are too large across the diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import Float64, spacing_mm, voxel_volume_mm3

PEAK_RADIUS_MM = (3000.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
"""Of a sphere of 1 cm3: 6.2 mm."""

_DIRECTIONS = 32
"""Widths in so many directions bound the diameter to 0.12 percent, so that few slices are measured exactly."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A straight line on slice k: two points (j, i) in voxel indices, centre = integer, and the length between them."""

    k: int
    ends_ji: tuple[tuple[float, float], tuple[float, float]]
    length_mm: float


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """Statistics of the voxels of a segment, in the unit of the volume."""

    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    peak: float | None
    """None where it was not asked for."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What is said of one segment."""

    volume_mm3: float
    long_axis: Line
    short_axis: Line
    intensity: Intensity | None
    """None where no voxel of the segment has a value (padding alone)."""


def measure(
    mask: NDArray[np.bool_], voxels: NDArray[np.float32], affine: Float64, *, padding: NDArray[np.bool_] | None = None, peak: bool = False
) -> Measurements:
    """Measure a segment.

    `mask` (k, j, i) bool with at least one voxel, `voxels` (k, j, i) float32, `affine` 4x4 (k, j, i, 1) -> LPS mm.
    `padding`: voxels without a value, left out of the intensities. `peak`: also the peak, which is a measure of PET.
    Raises ValueError for an empty mask or shapes that differ.
    """
    if mask.shape != voxels.shape:
        raise ValueError(f"mask: expected the shape of the voxels {voxels.shape}, got {mask.shape}")
    box = _bounding_box(mask)
    inside = mask[box]
    _, dj, di = spacing_mm(affine)
    long_axis, short_axis = _diameters(inside, (dj, di))
    offset = (box[0].start, box[1].start, box[2].start)
    valued = inside if padding is None else inside & ~padding[box]
    return Measurements(
        volume_mm3=float(np.count_nonzero(inside)) * voxel_volume_mm3(affine),
        long_axis=_moved(long_axis, offset),
        short_axis=_moved(short_axis, offset),
        intensity=_intensity(voxels, box, valued, affine if peak else None) if valued.any() else None,
    )


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    held = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    if not held.size:
        raise ValueError("mask: expected at least one voxel, got none")
    flat: NDArray[np.bool_] = np.logical_or.reduce(mask[held[0] : held[-1] + 1], axis=0)
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return slice(held[0], held[-1] + 1), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _diameters(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> tuple[Line, Line]:
    """The long axis of all slices and the short axis beside it; `spacing` between rows and between columns, mm."""
    outlines = {int(k): _outline(mask[k]) * spacing for k in np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))}
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, direction)
    # No two points are farther apart than the greatest width over the cosine of half the angle between directions.
    bounds = {k: float(np.ptp(points @ directions, axis=0).max()) / math.cos(math.pi / _DIRECTIONS / 2) for k, points in outlines.items()}
    best: tuple[float, int, Float64, int, int] | None = None
    for k in sorted(bounds, key=lambda slice_: (-bounds[slice_], slice_)):
        if best is not None and bounds[k] <= best[0]:
            break
        hull = _convex_hull(outlines[k])
        first, last, length = _farthest(hull)
        if best is None or length > best[0]:
            best = (length, k, hull, first, last)
    if best is None:
        raise ValueError("mask: expected at least one voxel, got none")
    length, k, hull, first, last = best
    long_ends = hull[[first, last]]
    return _line(k, long_ends, spacing), _line(k, _perpendicular_chord(hull, long_ends), spacing)


def _outline(mask: NDArray[np.bool_]) -> Float64:
    """Middles of the outer pixel edges, the extreme ones of each row and column: (n, 2) as (j, i). They hold the convex hull's corners."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    across, along = mask[rows], mask[:, columns]
    left, right = across.argmax(axis=1) - 0.5, mask.shape[1] - across[:, ::-1].argmax(axis=1) - 0.5
    top, bottom = along.argmax(axis=0) - 0.5, mask.shape[0] - along[::-1].argmax(axis=0) - 0.5
    pairs = [(rows, left), (rows, right), (top, columns), (bottom, columns)]
    return np.concatenate([np.stack([np.asarray(j, np.float64), np.asarray(i, np.float64)], axis=1) for j, i in pairs])


def _convex_hull(points: Float64) -> Float64:
    """Corners of the convex hull in order, (n, 2): Andrew's monotone chain."""
    ordered = sorted(set(map(tuple, points.tolist())))
    return np.array([*_chain(ordered), *_chain(ordered[::-1])])


def _chain(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain: list[tuple[float, ...]] = []
    for point in points:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0.0:
            chain.pop()
        chain.append(point)
    return chain[:-1]


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _farthest(hull: Float64) -> tuple[int, int, float]:
    distances = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
    first, last = np.unravel_index(int(distances.argmax()), distances.shape)
    return int(first), int(last), float(distances.max())


def _perpendicular_chord(hull: Float64, long_ends: Float64) -> Float64:
    """Ends of the longest chord of the hull that is perpendicular to the long axis, (2, 2).

    Chords of a convex outline grow and shrink linearly between its corners, so that the longest one ends at a corner.
    """
    along = (long_ends[1] - long_ends[0]) / np.linalg.norm(long_ends[1] - long_ends[0])
    aside = np.array([-along[1], along[0]])
    t, s = hull @ along, hull @ aside
    offsets = np.unique(t)
    sides = []
    for sign in (1.0, -1.0):
        # The upper (lower) hull as a function of t: of all edges above t, the highest; hulls have few corners.
        sides.append(sign * np.max([_edge_values(t, sign * s, n, offsets) for n in range(len(hull))], axis=0))
    upper, lower = sides
    best = int((upper - lower).argmax())
    return np.stack([offsets[best] * along + side[best] * aside for side in (upper, lower)])


def _edge_values(t: Float64, s: Float64, n: int, offsets: Float64) -> Float64:
    """Height of the edge from corner n to the next at `offsets`, minus infinity beside it."""
    (t0, s0), (t1, s1) = sorted([(float(t[n]), float(s[n])), (float(t[(n + 1) % len(t)]), float(s[(n + 1) % len(s)]))])
    beside = (offsets < t0) | (offsets > t1)
    heights = np.full(len(offsets), max(s0, s1)) if t1 == t0 else s0 + (offsets - t0) * (s1 - s0) / (t1 - t0)
    return np.where(beside, -np.inf, heights)


def _line(k: int, ends_mm: Float64, spacing: tuple[float, float]) -> Line:
    (j0, i0), (j1, i1) = (ends_mm / spacing).tolist()
    return Line(k=k, ends_ji=((j0, i0), (j1, i1)), length_mm=float(np.linalg.norm(ends_mm[1] - ends_mm[0])))


def _moved(line: Line, offset: tuple[int, int, int]) -> Line:
    (j0, i0), (j1, i1) = line.ends_ji
    ends = ((j0 + offset[1], i0 + offset[2]), (j1 + offset[1], i1 + offset[2]))
    return Line(k=line.k + int(offset[0]), ends_ji=ends, length_mm=line.length_mm)


def _intensity(
    voxels: NDArray[np.float32], box: tuple[slice, slice, slice], valued: NDArray[np.bool_], peak_affine: Float64 | None
) -> Intensity:
    values = voxels[box][valued].astype(np.float64)
    return Intensity(
        mean=float(values.mean()),
        standard_deviation=float(values.std()),
        minimum=float(values.min()),
        maximum=float(values.max()),
        peak=None if peak_affine is None else _peak(voxels, box, valued, peak_affine),
    )


def _peak(voxels: NDArray[np.float32], box: tuple[slice, slice, slice], valued: NDArray[np.bool_], affine: Float64) -> float:
    """Highest mean over the sphere, among centres inside the segment; what of a sphere lies outside of the volume does not count."""
    sums = np.zeros(valued.shape, np.float64)
    counts = np.zeros(valued.shape, np.int64)
    for offset in _sphere(affine):
        here, there = _overlap(box, offset, voxels.shape)
        sums[here] += voxels[there]
        counts[here] += 1
    return float((sums[valued] / counts[valued]).max())


def _sphere(affine: Float64) -> Iterator[tuple[int, int, int]]:
    """Offsets (k, j, i) of the voxels whose centres lie within the sphere around a voxel."""
    reach = [int(PEAK_RADIUS_MM / step) + 1 for step in spacing_mm(affine)]
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(grid @ affine[:3, :3].T, axis=1) <= PEAK_RADIUS_MM
    yield from map(tuple, grid[inside].tolist())


_Box = tuple[slice, ...]


def _overlap(box: _Box, offset: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[_Box, _Box]:
    """Where in the box, and where in the volume, the voxels lie that are `offset` away from those of the box."""
    here, there = [], []
    for part, step, size in zip(box, offset, shape, strict=True):
        first, last = max(part.start, -step), min(part.stop, size - step)
        here.append(slice(first - part.start, max(last, first) - part.start))
        there.append(slice(first + step, max(last, first) + step))
    return tuple(here), tuple(there)
