"""The region of interest: the square around an object's prompts that some weights look at in place of the whole frame.

A compact network has few pixels. Cut to a square of a few box sides, a small organ fills them as a large one does. Whether and how much is
cut is a property of the weights (`MedSAM2Config.region_scale`); the official weights look at whole frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import MedSAM2Config
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt

Edges = tuple[float, float, float, float]  # left, top, right, bottom: the outer edges, where pixel i spans i - 0.5 .. i + 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """A square of whole pixels; it may reach over the frame's edge, and is black there."""

    left: int
    top: int
    side: int

    def cut(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Frames (t, row, column[, channel]) of any dtype -> (t, side, side[, channel]), zero beyond the frame's edge."""
        square = np.zeros((len(frames), self.side, self.side, *frames.shape[3:]), frames.dtype)
        here, there = self._overlap(frames.shape[1:3])
        square[:, here[0], here[1]] = frames[:, there[0], there[1]]
        return square

    def paste(self, square: NDArray[Any], frame_size: tuple[int, int], outside: float) -> NDArray[Any]:
        """The inverse of `cut`: (t, side, side) -> (t, rows, columns) with `outside` where the region does not reach."""
        frames = np.full((len(square), *frame_size), outside, square.dtype)
        here, there = self._overlap(frame_size)
        frames[:, there[0], there[1]] = square[:, here[0], here[1]]
        return frames

    def move(self, prompt: Prompt, image_size: int) -> Prompt:
        """The same prompt in the square's pixels.

        A box is handed on as its outer edges. Both edges and points are shifted by what SAM 2's half pixel (`to_model_pixels`) would
        otherwise put them off by, which grows with the magnification: up to several pixels where a small square fills the network's image.
        """
        if isinstance(prompt, MaskPrompt):
            return dataclasses.replace(prompt, mask=self.cut(prompt.mask[None])[0])
        shift = 0.5 - 0.5 * self.side / image_size
        if isinstance(prompt, BoxPrompt):
            left, top, right, bottom = edges_of_box(prompt)
            across, down = shift - self.left, shift - self.top
            return dataclasses.replace(prompt, left=left + across, top=top + down, right=right + across, bottom=bottom + down)
        points = tuple((x - self.left + shift, y - self.top + shift) for x, y in prompt.points)
        return dataclasses.replace(prompt, points=points)

    def _overlap(self, frame_size: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """(rows, columns) shared with the frame, counted in the square and in the frame."""
        here, there = [], []
        for start, length in zip((self.top, self.left), frame_size, strict=True):
            first, last = max(start, 0), max(min(start + self.side, length), max(start, 0))
            here.append(slice(first - start, last - start))
            there.append(slice(first, last))
        return (here[0], here[1]), (there[0], there[1])


def region_of(prompts: Sequence[Prompt], config: MedSAM2Config) -> Region | None:
    """The region of one object's prompts, boxes, masks and points together; None for the whole frame.

    None where the weights know no regions, and where neither a box nor a mask says how large the object is.
    """
    sized = [edges for prompt in prompts if not isinstance(prompt, PointPrompt) for edges in _edges(prompt)]
    if config.region_scale == 0 or not sized:
        return None
    every = np.array([edges for prompt in prompts for edges in _edges(prompt)])
    (left, top), (right, bottom) = every[:, :2].min(axis=0).tolist(), every[:, 2:].max(axis=0).tolist()
    return region_around((left, top, right, bottom), config)


def region_around(edges: Edges, config: MedSAM2Config) -> Region:
    """The square of `region_scale` times the longer side of `edges`, at least `region_minimum` pixels, about their centre."""
    left, top, right, bottom = edges
    side = max(config.region_minimum, math.ceil(config.region_scale * max(right - left, bottom - top)))
    return Region(left=round((left + right + 1 - side) / 2), top=round((top + bottom + 1 - side) / 2), side=side)


def edges_of_box(box: BoxPrompt) -> Edges:
    """The outer edges of a box of inclusive pixel indices."""
    return box.left - 0.5, box.top - 0.5, box.right + 0.5, box.bottom + 0.5


def _edges(prompt: Prompt) -> list[Edges]:
    """The outer edges of a box, of each point, or of a mask that is not empty."""
    if isinstance(prompt, BoxPrompt):
        return [edges_of_box(prompt)]
    if isinstance(prompt, PointPrompt):
        return [(x - 0.5, y - 0.5, x + 0.5, y + 0.5) for x, y in prompt.points]
    rows, columns = np.flatnonzero(prompt.mask.any(axis=1)), np.flatnonzero(prompt.mask.any(axis=0))
    if rows.size == 0:
        return []
    return [(float(columns[0]) - 0.5, float(rows[0]) - 0.5, float(columns[-1]) + 0.5, float(rows[-1]) + 0.5)]
