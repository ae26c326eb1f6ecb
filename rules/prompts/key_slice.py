"""Key slices: on which slices of a known or guessed region the model is prompted, and the boxes there.

| choice     | slice                                                                                     |
|------------|-------------------------------------------------------------------------------------------|
| `largest`  | where the region's section is largest: MedSAM2's own choice for lesions                    |
| `middle`   | half-way between the region's first and last slice                                         |
| `sharpest` | where the image changes most within the region's box, among the slices with at least half of the largest section |

Several slices (`slices: 3`) add others, evenly towards both ends: a long or bent structure is better held by three boxes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.prompt import BoxPrompt
from rules.scalars import Integer, Section
from rules.voxel_regions import Mask


class KeySlices(Section):
    """Which slices are prompted, and how much the boxes are widened."""

    choice: Literal["largest", "middle", "sharpest"] = "largest"
    slices: Annotated[Integer, Field(ge=1, le=9)] = 1
    """How many: the chosen one first, the others evenly towards both ends of the region."""
    margin_pixels: Annotated[Integer, Field(ge=0, le=200)] = 0
    """Added to every box on every side."""


def region_boxes(mask: Mask, voxels: NDArray[np.float32], choice: KeySlices) -> tuple[BoxPrompt, ...]:
    """Return tight boxes around a region (bool (k, j, i), not empty) on its key slices, the chosen one first."""
    frames = key_frames(mask, voxels, choice)
    return tuple(tight_box(mask[frame], frame, choice.margin_pixels) for frame in frames)


def key_frames(mask: Mask, voxels: NDArray[np.float32], choice: KeySlices) -> tuple[int, ...]:
    """Return the slices to prompt, the chosen one first; raises ValueError for an empty region."""
    areas = mask.sum(axis=(1, 2))
    occupied = np.flatnonzero(areas)
    if not len(occupied):
        raise ValueError("mask: expected a region with at least one voxel, got none")
    chosen = _chosen(mask, voxels, areas, occupied, choice)
    # Evenly inside the extent, never its very ends: there the section is a few pixels and says little.
    places = occupied[0] + (occupied[-1] - occupied[0]) * (np.arange(choice.slices) + 0.5) / choice.slices
    even = sorted((int(occupied[np.argmin(np.abs(occupied - place))]) for place in places), key=lambda frame: abs(frame - chosen))
    # The chosen slice stands for the nearest of the even ones.
    return (chosen, *sorted({*even[1:]} - {chosen}))


def tight_box(section: NDArray[np.bool_], frame: int, margin: int = 0) -> BoxPrompt:
    """Return the box of a section (row, column) that is not empty: minimum and maximum pixel, inclusive, widened within the image."""
    rows, columns = np.nonzero(section)
    height, width = section.shape
    return BoxPrompt(
        frame=frame,
        left=max(int(columns.min()) - margin, 0),
        top=max(int(rows.min()) - margin, 0),
        right=min(int(columns.max()) + margin, width - 1),
        bottom=min(int(rows.max()) + margin, height - 1),
    )


def _chosen(mask: Mask, voxels: NDArray[np.float32], areas: NDArray[np.intp], occupied: NDArray[np.intp], choice: KeySlices) -> int:
    if choice.choice == "largest":
        return int(np.argmax(areas))
    if choice.choice == "middle":
        return int(occupied[np.argmin(np.abs(occupied - (occupied[0] + occupied[-1]) / 2))])
    candidates = [int(frame) for frame in occupied if areas[frame] * 2 >= areas.max()]
    return max(candidates, key=lambda frame: _sharpness(mask[frame], voxels[frame]))


def _sharpness(section: NDArray[np.bool_], image: NDArray[np.float32]) -> float:
    """Mean squared difference of neighbouring pixels within the section's box."""
    rows, columns = np.nonzero(section)
    inside = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float64)
    steps = [np.diff(inside, axis=axis) ** 2 for axis in (0, 1)]
    return float(sum(step.mean() for step in steps if step.size))
