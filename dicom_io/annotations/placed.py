"""An annotation on a volume: points, lines, axes or masks in voxel indices. Types only; loadable without any DICOM library.

Voxel indices are continuous (k, j, i), the centre of a voxel is its integer index; x = i and y = j.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_io.codes import Code
from dicom_io.geometry import Float64

Edges: TypeAlias = tuple[float, float, float, float]
"""(left, top, right, bottom) in continuous pixel coordinates; the outer edge of the first pixel is -0.5."""


@dataclass(frozen=True, kw_only=True)
class PixelBox:
    """Inclusive pixel indices on slice `frame`, within the image."""

    frame: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedPoints:
    """Single places within the volume."""

    kji: Float64
    """(n, 3)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedLine:
    """An open polyline, or the corners of an outline that is too small to cover a voxel's centre."""

    kji: Float64
    """(n, 3)."""
    tip: int | None = None
    """Index of an arrow's tip."""

    @property
    def frame(self) -> int:
        """The slice that the line lies on, or the one nearest to its middle."""
        return nearest_slice(self.kji)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedAxes:
    """Longest and perpendicular diameter."""

    long_kji: Float64
    """(2, 3)."""
    short_kji: Float64 | None
    """(2, 3)."""

    @property
    def frame(self) -> int:
        """The slice that the longest diameter lies on."""
        return nearest_slice(self.long_kji)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedMask:
    """Voxels, as a block that holds them all: `block[0, 0, 0]` is voxel `start` of the volume."""

    start: tuple[int, int, int]
    """(k, j, i)."""
    block: NDArray[np.bool_]
    """(k, j, i), never empty."""
    outlines: Mapping[int, Edges] = field(default_factory=dict)
    """Slice -> extent of the outlines drawn on it: a tip that is thinner than a pixel covers no centre, yet was drawn."""

    @property
    def frames(self) -> tuple[int, ...]:
        """The slices that have a voxel, ascending."""
        return tuple(int(k) + self.start[0] for k in np.flatnonzero(self.block.any(axis=(1, 2))))

    @property
    def largest_frame(self) -> int:
        """The slice with most voxels, the first of equals."""
        return int(np.argmax(self.block.sum(axis=(1, 2)))) + self.start[0]

    def box(self, frame: int) -> PixelBox:
        """The tight box on one of `frames`."""
        rows, columns = np.nonzero(self.block[frame - self.start[0]])
        top, left = self.start[1:]
        return PixelBox(
            frame=frame,
            left=left + int(columns.min()),
            top=top + int(rows.min()),
            right=left + int(columns.max()),
            bottom=top + int(rows.max()),
        )

    def edges(self, frame: int) -> Edges:
        """The extent on one of `frames` in continuous pixel coordinates: of the drawn outlines, else of the pixels' outer edges."""
        box = self.box(frame)
        return self.outlines.get(frame, (box.left - 0.5, box.top - 0.5, box.right + 0.5, box.bottom + 0.5))

    def boxes(self) -> Iterator[PixelBox]:
        """The tight box of every slice that has a voxel."""
        return (self.box(frame) for frame in self.frames)

    def image(self, frame: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """One slice as a whole image of `size` (rows, columns)."""
        image = np.zeros(size, np.bool_)
        _, height, width = self.block.shape
        top, left = self.start[1:]
        image[top : top + height, left : left + width] = self.block[frame - self.start[0]]
        return image

    def volume(self, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
        """The mask at the size of the volume, (k, j, i)."""
        voxels = np.zeros(shape, np.bool_)
        voxels[tuple(slice(first, first + size) for first, size in zip(self.start, self.block.shape, strict=True))] = self.block
        return voxels


PlacedShape: TypeAlias = PlacedPoints | PlacedLine | PlacedAxes | PlacedMask


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedAnnotation:
    """An annotation's shape on one volume with what recipes choose by; `repr` leaves out what a person typed."""

    shape: PlacedShape
    kind: str
    """SR, GSPS, RTSTRUCT or SEG."""
    graphic: str
    sop_instance_uid: str
    """Of the object that the annotation stands in."""
    item: str
    drawn_here: bool
    """Whether it was drawn on this very series, rather than on another one of the same frame of reference."""
    label: str = field(default="", repr=False)
    concept: Code | None = None
    site: Code | None = None
    tracking_id: str = field(default="", repr=False)
    tracking_uid: str = ""
    creator: str = field(default="", repr=False)
    algorithm_type: str = ""
    notes: tuple[str, ...] = ()


def nearest_slice(kji: Float64) -> int:
    """Return the slice nearest to the middle of points (n, 3), halves upwards."""
    return int(np.floor(float(kji[:, 0].mean()) + 0.5))
