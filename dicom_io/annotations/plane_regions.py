"""Planar regions stacked in space, sampled at the centres of a volume's voxels: contours and segmentation frames alike.

A voxel belongs to the plane that is nearest to its centre, within that plane's slab, and is set if the plane's region covers
the centre's foot. How thick is a slab?

- Planes that all lie on slices of the volume were drawn on this grid: each stands for its own slice and no other. A slice
  between two drawn ones stays empty: nothing is interpolated.
- Planes drawn on another grid (other spacing, other orientation) stand for the usual distance between them, or a voxel where
  that is thicker, 10 mm at most: neither stripes nor invented tissue.

Orientation and position come from coordinates alone; references to images take no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dicom_io.annotations.placed import PlacedMask
from dicom_io.geometry import POSITION_TOLERANCE_MM, Float64, kji_to_lps, lps_to_kji
from dicom_io.volume import Volume

MAXIMUM_SLAB_MM = 10.0
"""Contours farther apart than this are sparse drawings, not slabs."""
ON_SLICE_TOLERANCE = 0.1
"""Part of the slice spacing within which a plane lies on a slice."""
PARALLEL_TOLERANCE_MM = 0.05
"""A region whose corners differ by less along the slice normal is parallel to the slices: coordinates are often rounded to 0.01 mm."""
BOUNDARY_SHIFT_MM = 1e-5
"""Slab boundaries lie this much lower, so that a slice right on one is not torn by rounding."""


class PlanarRegion(Protocol):
    """A region of a plane."""

    @property
    def corners_mm(self) -> Float64:
        """Points (n, 3) whose hull holds the region."""

    @property
    def middle_mm(self) -> Float64:
        """A point (3,) of the plane."""

    def covers(self, points_mm: Float64) -> NDArray[np.bool_]:
        """Return for points (n, 3), projected along the normal, whether the region covers them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionStack:
    """Regions of parallel planes."""

    normal: Float64
    """Unit vector (3,), LPS."""
    regions: tuple[PlanarRegion, ...]


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The voxels that stacks cover, None where they miss every voxel centre of the volume, and codes of what was handled."""

    mask: PlacedMask | None
    notes: tuple[str, ...]


def sample(stacks: Sequence[RegionStack], volume: Volume) -> Sampled:
    """Return the voxels of `volume` that the stacks cover together."""
    stacks = [_aligned(stack, volume) for stack in stacks]
    corners = np.concatenate([region.corners_mm for stack in stacks for region in stack.regions])
    normals = [stack.normal * _reach(stack, volume)[0] for stack in stacks]
    padded = np.concatenate([corners + normal * sign for normal in normals for sign in (-1.0, 1.0)])
    bounds = _bounds(padded, volume)
    if bounds is None:
        return Sampled(mask=None, notes=())
    first, last = bounds
    block = np.zeros(tuple(last - first + 1), np.bool_)
    notes: set[str] = set()
    for stack in stacks:
        notes |= _lay(stack, volume, first, block)
    if not block.any():
        return Sampled(mask=None, notes=tuple(sorted(notes)))
    return Sampled(mask=_cropped(first, block), notes=tuple(sorted(notes)))


def _aligned(stack: RegionStack, volume: Volume) -> RegionStack:
    """Give planes that are parallel to the slices the slices' own normal, which no rounded coordinate has blurred.

    Else the far ends of one slice could lie on two sides of a slab's boundary.
    """
    normal = np.cross(volume.affine[:3, 2], volume.affine[:3, 1])
    normal = normal / np.linalg.norm(normal)
    if all(float(np.ptp(region.corners_mm @ normal)) <= PARALLEL_TOLERANCE_MM for region in stack.regions):
        return RegionStack(normal=normal, regions=stack.regions)
    return stack


def _lay(stack: RegionStack, volume: Volume, first: NDArray[np.int64], block: NDArray[np.bool_]) -> set[str]:
    """Set the voxels of `block`, which begins at voxel `first`, that the stack covers; return notes."""
    planes = _planes(stack)
    distances = np.array([distance for distance, _ in planes])
    reach, on_grid = _reach(stack, volume)
    middles = (distances[1:] + distances[:-1]) / 2
    lower = np.maximum(distances - reach, np.concatenate([[-np.inf], middles])) - BOUNDARY_SHIFT_MM
    upper = np.minimum(distances + reach, np.concatenate([middles, [np.inf]])) - BOUNDARY_SHIFT_MM
    for (distance, regions), low, high in zip(planes, lower, upper, strict=True):
        for region in regions:
            _lay_plane(region, (stack.normal, distance, low, high), (volume, first, block))
    sparse = len(distances) > 1 and float(np.diff(distances).max()) > 3.0 * reach
    return ({"slices-without-contour"} if sparse else set()) | (set() if on_grid else {"resampled"})


def _lay_plane(
    region: PlanarRegion, slab: tuple[Float64, float, float, float], target: tuple[Volume, NDArray[np.int64], NDArray[np.bool_]]
) -> None:
    normal, distance, low, high = slab
    volume, first, block = target
    corners = region.corners_mm
    ends = np.concatenate([corners + normal * (low - distance), corners + normal * (high - distance)])
    bounds = _bounds(ends, volume)
    if bounds is None:
        return
    start, stop = np.maximum(bounds[0], first), np.minimum(bounds[1], first + np.array(block.shape) - 1)
    if (start > stop).any():
        return
    within = _between(normal, (low, high), (start, stop), volume)
    covered = np.zeros(within.shape, np.bool_)
    kji = np.argwhere(within)
    covered[within] = region.covers(kji_to_lps(volume.affine, (kji + start).astype(np.float64)))
    a, b = start - first, stop - first + 1
    block[a[0] : b[0], a[1] : b[1], a[2] : b[2]] |= covered


def _between(
    normal: Float64, slab: tuple[float, float], bounds: tuple[NDArray[np.int64], NDArray[np.int64]], volume: Volume
) -> NDArray[np.bool_]:
    """Which voxels (k, j, i) from the first to the last of `bounds` have their centre in a slab along `normal`."""
    start, stop = bounds
    steps = normal @ volume.affine[:3, :3]
    k, j, i = (step * np.arange(a, b + 1) for step, a, b in zip(steps, start, stop, strict=True))
    along = float(normal @ volume.affine[:3, 3]) + k[:, np.newaxis, np.newaxis] + j[:, np.newaxis] + i
    return np.asarray((along >= slab[0]) & (along < slab[1]))


def _planes(stack: RegionStack) -> list[tuple[float, list[PlanarRegion]]]:
    """Regions by their distance along the normal, ascending; planes nearer than the position tolerance are one."""
    ordered = sorted(((float(region.middle_mm @ stack.normal), region) for region in stack.regions), key=lambda pair: pair[0])
    planes: list[tuple[float, list[PlanarRegion]]] = []
    for distance, region in ordered:
        if planes and distance - planes[-1][0] <= 2 * POSITION_TOLERANCE_MM:
            planes[-1][1].append(region)
        else:
            planes.append((distance, [region]))
    return planes


def _reach(stack: RegionStack, volume: Volume) -> tuple[float, bool]:
    """Half the thickness that each plane stands for, in millimetres, and whether the planes lie on the volume's own slices."""
    distances = np.array([distance for distance, _ in _planes(stack)])
    steps = np.abs(stack.normal @ volume.affine[:3, :3])
    if _on_slices(stack, volume):
        return float(steps[0]) / 2, True
    gap = float(np.median(np.diff(distances))) if len(distances) > 1 else 0.0
    return min(max(gap, float(steps.max())), max(MAXIMUM_SLAB_MM, float(steps.max()))) / 2, False


def _on_slices(stack: RegionStack, volume: Volume) -> bool:
    """Whether every corner of every region lies on one slice of the volume each."""
    for region in stack.regions:
        k = lps_to_kji(volume.affine, region.corners_mm)[:, 0]
        if np.abs(k - np.round(k.mean())).max() > ON_SLICE_TOLERANCE:
            return False
    return True


def _bounds(points_mm: Float64, volume: Volume) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """First and last voxel (k, j, i) of the box around points, within the volume; None where it misses the volume."""
    kji = lps_to_kji(volume.affine, points_mm)
    low = np.maximum(np.ceil(kji.min(axis=0) - 1e-6), 0).astype(np.int64)
    high = np.minimum(np.floor(kji.max(axis=0) + 1e-6), np.array(volume.voxels.shape) - 1).astype(np.int64)
    return None if (low > high).any() else (low, high)


def _cropped(first: NDArray[np.int64], block: NDArray[np.bool_]) -> PlacedMask:
    spans = [np.flatnonzero(block.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    cut = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    k, j, i = (int(first[axis]) + int(spans[axis][0]) for axis in range(3))
    return PlacedMask(start=(k, j, i), block=block[cut].copy())
