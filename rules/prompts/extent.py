"""Extents along the patient's own axes, and parts of them: how one place in the body is said by another.

Parts run from the patient's right to the left, from front to back and from the feet to the head, so that they hold however the
patient lies and however the slices are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dicom_io.geometry import kji_to_lps
from dicom_io.volume import Volume
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from rules.scalars import Number, Section
from rules.voxel_regions import Mask

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The cuboid around a region in patient (LPS) millimetres, to its voxels' outer edges."""

    x_mm: Range
    y_mm: Range
    z_mm: Range

    @property
    def axes(self) -> tuple[Range, Range, Range]:
        """Right to left, front to back, feet to head: x grows to the patient's left, y to the back, z to the head."""
        return self.x_mm, self.y_mm, self.z_mm


class Share(Section):
    """A part of an extent: 0 is its beginning, 1 its end; beyond them lies outside the region. Millimetres are added."""

    minimum: Annotated[Number, Field(ge=-3, le=4)] = 0.0
    maximum: Annotated[Number, Field(ge=-3, le=4)] = 1.0
    minimum_mm: Annotated[Number, Field(ge=-1000, le=1000)] = 0.0
    """Added to where `minimum` lies: `{minimum: 0, minimum_mm: -30}` begins 30 mm before the region."""
    maximum_mm: Annotated[Number, Field(ge=-1000, le=1000)] = 0.0
    """Added to where `maximum` lies."""

    @model_validator(mode="after")
    def _ordered(self) -> Share:
        if self.minimum > self.maximum or (self.minimum == self.maximum and self.minimum_mm >= self.maximum_mm):
            raise ValueError(
                f"expected minimum < maximum, or the same with minimum_mm < maximum_mm, got {self.minimum:g} {self.minimum_mm:+g} mm "
                f"and {self.maximum:g} {self.maximum_mm:+g} mm"
            )
        return self

    def of(self, extent: Range) -> Range:
        """Return the part of an extent along one axis; it is empty where its end lies before its beginning."""
        low, high = extent
        length = high - low
        return low + self.minimum * length + self.minimum_mm, low + self.maximum * length + self.maximum_mm


def extent_of_mask(mask: Mask, volume: Volume) -> Extent:
    """Return the extent of a region (bool (k, j, i), not empty)."""
    along = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return _extent(tuple((float(at[0]), float(at[-1])) for at in along), volume)


def extent_of_prompts(prompts: Sequence[Prompt], volume: Volume) -> Extent:
    """Return the extent of what prompts name, on the slices that they stand on: all that is known where no region is."""
    rows, columns = zip(*(_in_plane(prompt) for prompt in prompts), strict=True)
    frames = [float(prompt.frame) for prompt in prompts]
    ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges)) for ranges in (rows, columns)]
    return _extent(((min(frames), max(frames)), *ranges), volume)


def part_of(extent: Extent, shares: Sequence[Share | None]) -> Extent | None:
    """Return a part by its share along each axis (None: the whole), or None where it is empty."""
    ranges = [(share or Share()).of(along) for share, along in zip(shares, extent.axes, strict=True)]
    if any(low >= high for low, high in ranges):
        return None
    return Extent(x_mm=ranges[0], y_mm=ranges[1], z_mm=ranges[2])


def _extent(kji: Sequence[Range], volume: Volume) -> Extent:
    """Return the extent of the voxels from one index to another (both included) along k, j, i."""
    edges = [(low - 0.5, high + 0.5) for low, high in kji]
    corners: NDArray[np.float64] = np.array(np.meshgrid(*edges, indexing="ij"), np.float64).reshape(3, -1).T
    points = kji_to_lps(volume.affine, corners)
    x, y, z = zip(points.min(axis=0).tolist(), points.max(axis=0).tolist(), strict=True)
    return Extent(x_mm=x, y_mm=y, z_mm=z)


def _in_plane(prompt: Prompt) -> tuple[Range, Range]:
    """Return the rows and the columns that a prompt names."""
    if isinstance(prompt, BoxPrompt):
        return (prompt.top, prompt.bottom), (prompt.left, prompt.right)
    if isinstance(prompt, PointPrompt):
        inside = [point for point, label in zip(prompt.points, prompt.labels, strict=True) if label == 1] or prompt.points
        return (min(y for _, y in inside), max(y for _, y in inside)), (min(x for x, _ in inside), max(x for x, _ in inside))
    return _occupied(prompt)


def _occupied(prompt: MaskPrompt) -> tuple[Range, Range]:
    at = [np.flatnonzero(prompt.mask.any(axis=axis)) for axis in (1, 0)]
    if not len(at[0]):
        raise ValueError("mask: expected at least one pixel, got none")
    return (float(at[0][0]), float(at[0][-1])), (float(at[1][0]), float(at[1][-1]))
