"""Coordinate frames: the one file that converts between voxel index, pixel and patient millimetres.

| frame       | spelled                      | order and unit                                            |
|-------------|------------------------------|-----------------------------------------------------------|
| patient     | `*_mm`, `point_lps`          | (x, y, z) LPS millimetres, float64 (PS3.3 C.7.6.2.1.1)    |
| voxel index | `kji`, `voxels[k, j, i]`     | (slice, row, column), centre = integer                    |
| pixel       | `left/top/right/bottom, x, y`| x = column i, y = row j, inclusive; prompts only          |

k ascends along the slice normal n = row cosines x column cosines. Nothing is ever flipped or reoriented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

POSITION_TOLERANCE_MM = 1e-2
"""Positions closer than this are the same place; 3D Slicer groups with the same tolerance."""
COSINE_TOLERANCE = 1e-4
"""Direction cosines that differ by less are the same direction; OHIF rejects differences above 1e-3."""


@dataclass(frozen=True, kw_only=True)
class PlaneGeometry:
    """Where one frame lies (PS3.3 C.7.6.2): `position_mm` is the centre of the first pixel, LPS millimetres.

    `row_cosines` points along increasing column index i, `column_cosines` along increasing row index j;
    `row_spacing_mm` is the distance between rows (dj), `column_spacing_mm` between columns (di).
    """

    position_mm: tuple[float, float, float]
    row_cosines: tuple[float, float, float]
    column_cosines: tuple[float, float, float]
    row_spacing_mm: float
    column_spacing_mm: float

    @property
    def normal(self) -> Float64:
        """Unit vector row cosines x column cosines, shape (3,), LPS."""
        return np.cross(np.asarray(self.row_cosines, np.float64), np.asarray(self.column_cosines, np.float64))

    @property
    def distance_mm(self) -> float:
        """Signed position along the normal, in millimetres; slices are ordered by it."""
        return float(np.dot(self.normal, np.asarray(self.position_mm, np.float64)))


def affine_from_planes(first: PlaneGeometry, slice_step_mm: Sequence[float] | Float64) -> Float64:
    """Return the 4x4 float64 matrix (k, j, i, 1) -> (x, y, z, 1) in LPS millimetres (PS3.3 equation C.7.6.2.1-1).

    `slice_step_mm` is the LPS vector from the first pixel of slice k to that of slice k + 1.
    """
    affine = np.eye(4, dtype=np.float64)
    affine[:3, 0] = np.asarray(slice_step_mm, np.float64)
    affine[:3, 1] = np.asarray(first.column_cosines, np.float64) * first.row_spacing_mm
    affine[:3, 2] = np.asarray(first.row_cosines, np.float64) * first.column_spacing_mm
    affine[:3, 3] = np.asarray(first.position_mm, np.float64)
    return affine


def kji_to_lps(affine: Float64, kji: Float64 | Sequence[Sequence[float]] | Sequence[float]) -> Float64:
    """Map voxel indices of shape (..., 3) in order (k, j, i) to LPS millimetres of shape (..., 3)."""
    indices = np.asarray(kji, np.float64)
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3], np.float64)


def lps_to_kji(affine: Float64, point_lps: Float64 | Sequence[Sequence[float]] | Sequence[float]) -> Float64:
    """Map LPS millimetres of shape (..., 3) to continuous voxel indices (k, j, i) of shape (..., 3)."""
    points = np.asarray(point_lps, np.float64)
    return np.asarray((points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T, np.float64)


def spacing_mm(affine: Float64) -> tuple[float, float, float]:
    """Return (dk, dj, di): the distances between neighbouring voxel centres along each index, in millimetres."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths[0]), float(lengths[1]), float(lengths[2])


def voxel_volume_mm3(affine: Float64) -> float:
    """Return the volume of one voxel in cubic millimetres (a shear does not change it)."""
    return float(abs(np.linalg.det(affine[:3, :3])))


def tilt_degrees(affine: Float64) -> float:
    """Return the angle between the slice step and the slice normal in degrees: 0 for an upright stack, else gantry tilt."""
    step = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal = normal / np.linalg.norm(normal)
    return float(np.degrees(np.arccos(np.clip(np.dot(step, normal), -1.0, 1.0))))


def slice_distance_mm(affine: Float64) -> float:
    """Return the distance between neighbouring slices along their normal: less than dk where the stack is sheared."""
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    return float(abs(np.dot(affine[:3, 0], normal)) / np.linalg.norm(normal))


def plane_name(affine: Float64) -> str:
    """Name the slice plane by its normal: axial, coronal, sagittal, or oblique when no axis is within 10 degrees (cosine 0.985)."""
    normal = np.abs(np.cross(affine[:3, 2], affine[:3, 1]))
    normal = normal / np.linalg.norm(normal)
    axis = int(np.argmax(normal))
    names = ("sagittal", "coronal", "axial")
    return names[axis] if normal[axis] >= 0.985 else "oblique"


def scoord_to_pixel(x: float, y: float) -> tuple[float, float]:
    """Map SR image coordinates (0.0 = outer corner of the first pixel, PS3.3 C.18.6.1.2) to pixel indices (centre = integer)."""
    return x - 0.5, y - 0.5
