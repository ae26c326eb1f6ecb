"""Prompts of a second pass: closer ones from the first result, or slightly moved ones that tell how firmly the result stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from model.result import ObjectResult
from rules.prompts.key_slice import tight_box
from rules.voxel_regions import Mask

WIDENING = 0.08
"""Share of a box's longer side by which each side moves outwards for the second look; at least one pixel."""


def refined(prompts: Sequence[Prompt], result: ObjectResult) -> tuple[Prompt, ...]:
    """Return the prompts of a refinement pass: those of the first, and the tight box of the mask on its best slice elsewhere.

    Best is the slice with the highest predicted IoU among those with at least half of the largest section and no prompt yet: it
    becomes one more conditioning slice. Where there is none, the first prompts stand, and a second pass is of no use.
    """
    areas = result.mask.sum(axis=(1, 2))
    prompted = {prompt.frame for prompt in prompts}
    frames = [k for k in np.flatnonzero(areas) if areas[k] * 2 >= areas.max() and k not in prompted and np.isfinite(result.iou[k])]
    if not frames:
        return tuple(prompts)
    best = int(max(frames, key=lambda k: (float(result.iou[k]), float(areas[k]))))
    return (*prompts, replace(tight_box(result.mask[best], best), object_id=result.object_id))


def jittered(prompts: Sequence[Prompt], shape: tuple[int, int]) -> tuple[Prompt, ...]:
    """Return prompts that say the same a little less exactly, within an image of `shape` (rows, columns).

    Boxes are widened by `WIDENING`, masks are moved by a pixel, points by a pixel to the right.
    """
    return tuple(_moved(prompt, shape) for prompt in prompts)


def _moved(prompt: Prompt, shape: tuple[int, int]) -> Prompt:
    rows, columns = shape
    if isinstance(prompt, BoxPrompt):
        by = max(1, round(WIDENING * max(prompt.right - prompt.left + 1, prompt.bottom - prompt.top + 1)))
        return replace(
            prompt,
            left=max(prompt.left - by, 0),
            top=max(prompt.top - by, 0),
            right=min(prompt.right + by, columns - 1),
            bottom=min(prompt.bottom + by, rows - 1),
        )
    if isinstance(prompt, MaskPrompt):
        return replace(prompt, mask=_one_pixel_right(prompt.mask))
    assert isinstance(prompt, PointPrompt)
    return replace(prompt, points=tuple((min(x + 1, columns - 1), y) for x, y in prompt.points))


def _one_pixel_right(section: NDArray[np.bool_]) -> NDArray[np.bool_]:
    moved = np.zeros_like(section)
    moved[:, 1:] = section[:, :-1]
    return moved if moved.any() else section


def agreement(first: Mask, second: Mask) -> float:
    """Return the Dice of two masks; 1 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 1.0 if total == 0 else 2.0 * float((first & second).sum()) / total
