"""The two kinds of planar regions: outlines, inside by the even-odd rule, and frames of a segment, inside by the nearest pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_io.annotations.annotation import Contours, Mask, MaskFrame
from dicom_io.annotations.even_odd import inside_even_odd
from dicom_io.annotations.plane_regions import PlanarRegion, RegionStack
from dicom_io.errors import MalformedAnnotation
from dicom_io.geometry import COSINE_TOLERANCE, POSITION_TOLERANCE_MM, Float64

FLAT_TOLERANCE_MM = 0.5
"""An outline whose points leave their plane by more than this is not planar."""
PLANE_TOLERANCE_MM = 0.05
"""Outlines within this of a plane belong to it: coordinates are often rounded to 0.01 mm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OutlineRegion:
    """Closed outlines of one plane, together by the even-odd rule."""

    normal: Float64
    outlines_mm: tuple[Float64, ...]

    @property
    def corners_mm(self) -> Float64:
        """All points of the outlines."""
        return np.concatenate(self.outlines_mm)

    @property
    def middle_mm(self) -> Float64:
        """The mean of all points."""
        return np.asarray(self.corners_mm.mean(axis=0), np.float64)

    def covers(self, points_mm: Float64) -> NDArray[np.bool_]:
        """See `PlanarRegion`."""
        basis = _basis(self.normal)
        return inside_even_odd(points_mm @ basis, [outline @ basis for outline in self.outlines_mm])


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRegion:
    """A segment on one frame."""

    frame: MaskFrame

    @property
    def corners_mm(self) -> Float64:
        """The outer corners of the frame's pixels."""
        rows, columns = self.frame.mask.shape
        along_row, along_column = self._steps()
        corners = [(-0.5, -0.5), (-0.5, columns - 0.5), (rows - 0.5, -0.5), (rows - 0.5, columns - 0.5)]
        return np.array([self._origin() + j * along_column + i * along_row for j, i in corners])

    @property
    def middle_mm(self) -> Float64:
        """The middle of the frame."""
        return np.asarray(self.corners_mm.mean(axis=0), np.float64)

    def covers(self, points_mm: Float64) -> NDArray[np.bool_]:
        """See `PlanarRegion`: the pixel whose area holds the point decides."""
        rows, columns = self.frame.mask.shape
        plane = self.frame.plane
        offset = points_mm - self._origin()
        # A hair towards the first pixel: a point midway between two pixels must not depend on rounding.
        j = np.floor(offset @ np.asarray(plane.column_cosines) / plane.row_spacing_mm + 0.5 - 1e-6).astype(np.int64)
        i = np.floor(offset @ np.asarray(plane.row_cosines) / plane.column_spacing_mm + 0.5 - 1e-6).astype(np.int64)
        within = (j >= 0) & (j < rows) & (i >= 0) & (i < columns)
        covered = np.zeros(len(points_mm), np.bool_)
        covered[within] = self.frame.mask[j[within], i[within]]
        return covered

    def _origin(self) -> Float64:
        return np.asarray(self.frame.plane.position_mm, np.float64)

    def _steps(self) -> tuple[Float64, Float64]:
        plane = self.frame.plane
        along_row = np.asarray(plane.row_cosines, np.float64) * plane.column_spacing_mm
        return along_row, np.asarray(plane.column_cosines, np.float64) * plane.row_spacing_mm


def stacks_of_contours(shape: Contours) -> list[RegionStack]:
    """Return the outlines by the planes that they lie in, the direction of the largest outline first.

    Raises MalformedAnnotation for an outline that is not flat.
    """
    ordered = sorted(shape.outlines_mm, key=lambda outline: -float(np.linalg.norm(area_vector(outline))))
    directions: list[tuple[Float64, list[Float64]]] = []
    for outline in ordered:
        home = next((members for normal, members in directions if _flat_along(outline, normal)), None)
        if home is None:
            normal = _normal(outline)
            directions.append((normal, [outline]))
        else:
            home.append(outline)
    return [RegionStack(normal=normal, regions=_by_plane(normal, members)) for normal, members in directions]


def stacks_of_mask(shape: Mask) -> list[RegionStack]:
    """Return the frames of a segment by orientation."""
    directions: list[tuple[Float64, list[PlanarRegion]]] = []
    for frame in shape.frames:
        normal = frame.plane.normal / np.linalg.norm(frame.plane.normal)
        home = next((members for other, members in directions if float(other @ normal) >= 1.0 - COSINE_TOLERANCE**2), None)
        if home is None:
            directions.append((normal, [FrameRegion(frame=frame)]))
        else:
            home.append(FrameRegion(frame=frame))
    return [RegionStack(normal=normal, regions=tuple(members)) for normal, members in directions]


def area_vector(outline: Float64) -> Float64:
    """Return the vector (3,) that is normal to a closed outline and as long as its area (Newell's method)."""
    centred = outline - outline.mean(axis=0)
    return np.asarray(np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0) / 2, np.float64)


def _normal(outline: Float64) -> Float64:
    area = area_vector(outline)
    length = float(np.linalg.norm(area))
    if not length > 0.0:
        raise MalformedAnnotation(f"outline of {len(outline)} points: expected one that encloses an area, got a line; draw it again")
    normal = area / length
    if not _spread(outline, normal) <= FLAT_TOLERANCE_MM:
        raise MalformedAnnotation(
            f"outline of {len(outline)} points: expected one plane, got points that leave it by {_spread(outline, normal):.2f} mm; "
            "draw it on one slice"
        )
    # Of the two directions the one along the patient's axis that it is nearest to, so that neighbours agree.
    return normal if normal[int(np.argmax(np.abs(normal)))] > 0 else -normal


def _flat_along(outline: Float64, normal: Float64) -> bool:
    """Whether the outline lies in a plane of this direction; an outline without area lies in many, and takes the first."""
    return _spread(outline, normal) <= PLANE_TOLERANCE_MM


def _spread(outline: Float64, normal: Float64) -> float:
    return float(np.ptp(outline @ normal))


def _by_plane(normal: Float64, outlines: Sequence[Float64]) -> tuple[PlanarRegion, ...]:
    """Outlines of one plane are one region, since the even-odd rule counts them together."""
    ordered = sorted(outlines, key=lambda outline: float(outline.mean(axis=0) @ normal))
    planes: list[list[Float64]] = []
    level = -np.inf
    for outline in ordered:
        distance = float(outline.mean(axis=0) @ normal)
        if distance - level > 2 * POSITION_TOLERANCE_MM:
            planes.append([])
            level = distance
        planes[-1].append(outline)
    return tuple(OutlineRegion(normal=normal, outlines_mm=tuple(members)) for members in planes)


def _basis(normal: Float64) -> Float64:
    """Return two perpendicular unit vectors of a plane as columns (3, 2), along the patient's axes as far as they can be."""
    axes = np.eye(3)
    first = axes[int(np.argmin(np.abs(normal) + np.array([0.0, 1e-9, 2e-9])))]
    u = first - normal * float(first @ normal)
    u = u / np.linalg.norm(u)
    return np.stack([u, np.cross(normal, u)], axis=1)
