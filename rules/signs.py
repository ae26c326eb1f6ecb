"""Signs of quality: what a mask and the model's own figures tell of a result without the truth, and one score of them all.

The score is the plain mean of figures that each run from 0 to 1. No weight in it is fitted; which figures it has was chosen among some
twenty by how well each told good masks from bad ones on cases that no weights were trained on (docs/prompts.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.prompt import Prompt
from model.result import ObjectResult
from rules.second_pass import agreement
from rules.voxel_regions import Mask


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What is known of one result; None where it does not apply."""

    median_iou: float | None
    """Median predicted IoU over the slices with mask."""
    prompted_iou: float | None
    """Mean predicted IoU on the prompted slices."""
    stability: float | None
    """Median stability score over the slices with mask."""
    continuity: float | None
    """Mean Dice of the mask's neighbouring sections."""
    jump: int | None
    """The slice after which the section changes most, where two neighbours overlap by less than `LEAST_OVERLAP`."""
    both_ways: float | None
    """Median Dice of the forward and the backward mask, where both saw a slice."""
    second_look: float | None
    """Dice with the result of slightly moved prompts."""

    @property
    def score(self) -> float:
        """Mean of all figures that there are, 0 to 1; 0 for an empty mask."""
        figures = (self.median_iou, self.prompted_iou, self.stability, self.continuity, self.both_ways, self.second_look)
        known = [min(max(figure, 0.0), 1.0) for figure in figures if figure is not None]
        return 0.0 if self.median_iou is None or not known else float(np.mean(known))


LEAST_OVERLAP = 0.2
"""Dice of neighbouring sections below which a mask jumps: whole organs and lesions keep far above it except at their ends."""


def signs_of(result: ObjectResult, prompts: Sequence[Prompt], second_look: float | None = None) -> Signs:
    """Return the signs of a result; `second_look` is its Dice with that of moved prompts, where it was looked at twice."""
    visible = np.asarray(result.mask.any(axis=(1, 2)), np.bool_)
    frames = np.flatnonzero(visible)
    overlaps = _overlaps(result.mask, frames)
    prompted = result.iou[[prompt.frame for prompt in prompts]]
    return Signs(
        median_iou=_median(result.iou, visible),
        prompted_iou=float(np.nanmean(prompted)) if np.isfinite(prompted).any() else None,
        stability=_median(result.stability, visible),
        continuity=float(np.mean(overlaps)) if len(overlaps) else None,
        jump=_jump(overlaps, frames),
        both_ways=None if result.agreement is None else _median(result.agreement, visible),
        second_look=second_look,
    )


def _median(figures: NDArray[np.float32], visible: NDArray[np.bool_]) -> float | None:
    known = figures[visible & np.isfinite(figures)]
    return float(np.median(known)) if len(known) else None


def _overlaps(mask: Mask, frames: NDArray[np.intp]) -> list[float]:
    return [] if not len(frames) else [agreement(mask[k], mask[k + 1]) for k in range(frames[0], frames[-1])]


def _jump(overlaps: Sequence[float], frames: NDArray[np.intp]) -> int | None:
    """The worst place between two slices, both ends left out: there sections dwindle by nature."""
    inner = overlaps[1:-1]
    if not inner or min(inner) >= LEAST_OVERLAP:
        return None
    return int(frames[0]) + 1 + int(np.argmin(inner))
