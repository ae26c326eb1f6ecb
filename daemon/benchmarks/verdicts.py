"""The benchmark of the quality score: does it tell good masks from bad ones, on cases whose truth is known?

Each structure of the kept-aside cases is prompted by a box around its truth, and segmented as in service,
twice where a second look is asked for.
A place of the same size where nothing is labelled stands for a series without the target: what is segmented there should not pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daemon.datasets import Families, evenly_chosen
from daemon.evaluation import Protocol, simulated_prompt
from model.options import PropagationOptions
from model.prompt import BoxPrompt
from model.result import ObjectResult
from model.segmenter import Segmenter
from model.training.overlap import dice
from model.training.volumes import LabelledVolume
from rules.second_pass import agreement, jittered
from rules.signs import signs_of

BAD, GOOD = 0.5, 0.8
"""Dice below which a mask is bad, and from which it is good; those between belong to neither."""
OPTIONS = PropagationOptions(stop_after_empty_frames=3)
TRIES = 50
"""Random places that are tried for one where nothing is labelled."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One result with its score; `dice` is None where nothing was labelled."""

    family: str
    case: str
    structure: str
    score: float
    dice: float | None


@dataclass(frozen=True, kw_only=True)
class VerdictFigures:
    """What the scores came to."""

    objects: int
    median_dice: float
    bad: int
    good: int
    auroc: float | None
    """Chance that a good mask scores higher than a bad one; None without both."""
    minimum_score: float
    bad_withheld: float | None
    good_withheld: float | None
    empty_places: int
    empty_withheld: float | None
    """Shares with a score below `minimum_score`."""


def judge_cases(
    families: Families, segmenter: Segmenter, cases: int, *, second_look: bool, progress: Callable[[int, int], None]
) -> Iterator[Judged]:
    """Yield a result a structure, of at most `cases` cases each, and one of an empty place a case."""
    chosen = [(family, volume) for family, volumes in families.items() for volume in evenly_chosen(volumes, cases)]
    for number, (family, volume) in enumerate(chosen):
        place: BoxPrompt | None = None
        for structure in volume.structures:
            truth = volume.mask(structure)
            if truth.any():
                key = f"{family} {volume.case} {structure}"
                _, box = simulated_prompt(truth, key, Protocol())
                place = place or _empty_place(volume, box, key)
                result, score = _scored(volume, box, segmenter, second_look=second_look)
                yield Judged(family=family, case=volume.case, structure=structure, score=score, dice=dice(result.mask, truth))
        if place is not None:
            _, score = _scored(volume, place, segmenter, second_look=second_look)
            yield Judged(family=family, case=volume.case, structure="", score=score, dice=None)
        segmenter.cache.clear()
        progress(number + 1, len(chosen))


def figures_of(judged: Sequence[Judged], minimum_score: float) -> VerdictFigures:
    """Return what the scores came to, at a limit of `minimum_score`."""
    overlaps = [(one.dice, one.score) for one in judged if one.dice is not None]
    bad = [score for overlap, score in overlaps if overlap < BAD]
    good = [score for overlap, score in overlaps if overlap >= GOOD]
    empty = [one.score for one in judged if one.dice is None]
    return VerdictFigures(
        objects=len(overlaps),
        median_dice=float(np.median([overlap for overlap, _ in overlaps])) if overlaps else 0.0,
        bad=len(bad),
        good=len(good),
        auroc=auroc(good, bad),
        minimum_score=minimum_score,
        bad_withheld=_below(bad, minimum_score),
        good_withheld=_below(good, minimum_score),
        empty_places=len(empty),
        empty_withheld=_below(empty, minimum_score),
    )


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Return the chance that a positive is larger than a negative, ties by half (Mann-Whitney); None without both."""
    if not positive or not negative:
        return None
    p, n = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(((p > n) + 0.5 * (p == n)).mean())


def _below(scores: Sequence[float], limit: float) -> float | None:
    return float(np.mean([score < limit for score in scores])) if scores else None


def _scored(volume: LabelledVolume, box: BoxPrompt, segmenter: Segmenter, *, second_look: bool) -> tuple[ObjectResult, float]:
    result = segmenter.segment(volume.frames, [box], OPTIONS).objects[0]
    again = None
    if second_look:
        rows, columns = volume.frames.shape[1:3]
        again = agreement(result.mask, segmenter.segment(volume.frames, jittered([box], (rows, columns)), OPTIONS).objects[0].mask)
    return result, signs_of(result, [box], again).score


def _empty_place(volume: LabelledVolume, box: BoxPrompt, key: str) -> BoxPrompt | None:
    """A box of the same size on the same slice that touches no labelled voxel; None if there is no room for one."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    labelled: NDArray[np.uint8] = volume.labels[int(box.frame)]
    width, height = int(box.right - box.left), int(box.bottom - box.top)
    rows, columns = labelled.shape
    for _ in range(TRIES):
        left, top = int(rng.integers(0, max(columns - width, 1))), int(rng.integers(0, max(rows - height, 1)))
        if not labelled[top : top + height + 1, left : left + width + 1].any():
            return replace(box, left=float(left), top=float(top), right=float(left + width), bottom=float(top + height))
    return None
