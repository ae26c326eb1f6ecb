"""Prompts: what tells the model which object is meant, on one frame, in pixels.

x is the column and y the row of a pixel; indices are inclusive and the centre of a pixel is its integer index.
Several prompts for one object on one frame apply in order: points refine what came before, a box or a mask starts anew.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxPrompt:
    """The object's bounding box on one frame."""

    frame: int
    left: float
    top: float
    right: float  # inclusive
    bottom: float  # inclusive
    object_id: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError unless the corners are finite and ordered."""
        _check_place(self.frame, self.object_id)
        if not all(math.isfinite(value) for value in self.corners):
            raise ValueError(f"box: expected finite pixel indices, got {self.corners}")
        if self.left > self.right or self.top > self.bottom:
            raise ValueError(f"box: expected left <= right and top <= bottom, got (left, top, right, bottom) = {self.corners}")

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom)."""
        return (self.left, self.top, self.right, self.bottom)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointPrompt:
    """Points inside (positive) or outside (negative) the object on one frame."""

    frame: int
    points: tuple[tuple[float, float], ...]  # (x, y)
    labels: tuple[int, ...]  # 1 positive, 0 negative
    object_id: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a label of 0 or 1 for each of at least one finite point."""
        _check_place(self.frame, self.object_id)
        if not self.points or len(self.points) != len(self.labels):
            raise ValueError(f"points: expected at least one, each with a label, got {len(self.points)} and {len(self.labels)} labels")
        if not all(len(point) == 2 and all(math.isfinite(value) for value in point) for point in self.points):
            raise ValueError(f"points: expected finite (x, y) pairs, got {self.points}")
        if not set(self.labels) <= {0, 1}:
            raise ValueError(f"labels: expected 1 (positive) or 0 (negative), got {self.labels}")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaskPrompt:
    """The object's mask on one frame; an empty mask says that the object is absent there."""

    frame: int
    mask: NDArray[np.bool_]  # (row, column)
    object_id: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError unless the mask is a boolean image."""
        _check_place(self.frame, self.object_id)
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_ or self.mask.size == 0:
            raise ValueError(f"mask: expected a bool (row, column) image, got {self.mask.dtype} of shape {self.mask.shape}")


Prompt: TypeAlias = BoxPrompt | PointPrompt | MaskPrompt


def check_prompts(prompts: tuple[Prompt, ...], frames: int, size: tuple[int, int]) -> None:
    """Raise ValueError unless every prompt lies on one of `frames` frames of `size` (rows, columns)."""
    if not prompts:
        raise ValueError("prompts: expected at least one, got none")
    for prompt in prompts:
        if prompt.frame >= frames:
            raise ValueError(f"prompt of object {prompt.object_id}: expected a frame of 0..{frames - 1}, got {prompt.frame}")
        _check_extent(prompt, size)


def _check_extent(prompt: Prompt, size: tuple[int, int]) -> None:
    rows, columns = size
    if isinstance(prompt, MaskPrompt):
        if prompt.mask.shape != size:
            raise ValueError(f"mask of object {prompt.object_id}: expected the frame's shape {size}, got {prompt.mask.shape}")
        return
    pairs = ((prompt.left, prompt.top), (prompt.right, prompt.bottom)) if isinstance(prompt, BoxPrompt) else prompt.points
    # Pixels reach half a pixel beyond their centres.
    if not all(-0.5 <= x <= columns - 0.5 and -0.5 <= y <= rows - 0.5 for x, y in pairs):
        raise ValueError(f"prompt of object {prompt.object_id}: expected pixels within {columns} columns x {rows} rows, got {pairs}")


def _check_place(frame: int, object_id: int) -> None:
    if frame < 0:
        raise ValueError(f"frame: expected an index of at least 0, got {frame}")
    if object_id < 1:
        raise ValueError(f"object_id: expected at least 1, got {object_id}")
