"""Evaluation: prompts simulated from the truth, each object segmented as in service, and scored against the truth and simple baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.evaluation_baselines import BASELINES
from daemon.evaluation_surface import normalised_surface_dice
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from model.segmenter import Segmenter
from model.training.baselines import box_of
from model.training.overlap import dice
from model.training.volumes import LabelledVolume

Mask = NDArray[np.bool_]

PROMPTS = ("box", "point", "mask")
SLICES = ("middle", "largest")
THIN_PIXELS = 4
"""A structure whose box is on the median no wider than this is thin ..."""
CONCAVE_SHARE = 0.45
"""... and one that on the median fills less of its box than this is concave (an ellipse fills 0.79)."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How prompts are drawn from the truth."""

    prompt: str = "box"
    """One of PROMPTS."""
    slice: str = "middle"
    """One of SLICES: the middle of the object's slices, or the one that shows most of it."""
    jitter: float = 0.05
    """Each side of the box moves by a uniform share of the box, up to this one, inwards or outwards."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """One structure of one case."""

    family: str
    case: str
    structure: str
    frame: int
    slices: int
    """That show the structure."""
    voxels: int
    dice: float
    dice_prompted: float
    dice_in_extent: float
    """3-D Dice without the slices outside the object's true extent, which the baselines are told and the model has to find."""
    nsd: float
    baselines: Mapping[str, float]
    """3-D Dice of each of `evaluation_baselines.BASELINES`, from the same box."""
    narrow: int
    """Shorter side of the exact box on the prompted slice, pixels."""
    filled: float
    """Share of that box that the structure fills."""
    visited: int
    """Slices that the model answered."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class View:
    """Two slices of a scored object for the picture sheet: the prompted one, and the one halfway to the object's farther end."""

    slices: tuple[int, int]
    frames: NDArray[np.uint8]
    """(slice, row, column), as the other two."""
    mask: Mask
    truth: Mask


def simulated_prompt(truth: Mask, key: str, protocol: Protocol) -> tuple[Prompt, BoxPrompt]:
    """The prompt for `truth` (k, j, i), and the box that baselines start from; the same for every model, since `key` seeds it."""
    digest = hashlib.sha256(f"{protocol.seed} {key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    frame = prompted_frame(truth, protocol.slice)
    left, top, right, bottom = box_of(truth[frame])
    size = np.array([right - left + 1, bottom - top + 1] * 2)
    moved = np.array([left, top, right, bottom]) + rng.uniform(-protocol.jitter, protocol.jitter, 4) * size
    limit = np.array([truth.shape[2], truth.shape[1]] * 2) - 1
    corners = np.clip(np.round(moved), 0, limit)
    corners[2:] = np.maximum(corners[:2], corners[2:])
    box = BoxPrompt(frame=frame, left=float(corners[0]), top=float(corners[1]), right=float(corners[2]), bottom=float(corners[3]))
    if protocol.prompt == "point":
        return PointPrompt(frame=frame, points=(_inner_point(truth[frame]),), labels=(1,)), box
    if protocol.prompt == "mask":
        return MaskPrompt(frame=frame, mask=truth[frame]), box
    return box, box


def prompted_frame(truth: Mask, which: str) -> int:
    """The middle of the slices that show the object, or the one that shows most of it."""
    areas = np.count_nonzero(truth, axis=(1, 2))
    shown = np.flatnonzero(areas)
    return int(np.argmax(areas)) if which == "largest" else int(shown[len(shown) // 2])


def halfway_slice(extent: range, frame: int) -> int:
    """The slice halfway from `frame` to the farther end of the extent: where an answer that drifts has drifted."""
    farther = max(extent[0], extent[-1], key=lambda end: abs(end - frame))
    return (frame + farther) // 2


def score_family(family: str, volumes: Sequence[LabelledVolume], segmenter: Segmenter, protocol: Protocol) -> Iterator[tuple[Score, View]]:
    """Score every structure of every volume, each by a call of its own; a structure without a voxel is passed over."""
    for volume in volumes:
        for structure in volume.structures:
            truth = volume.mask(structure)
            if truth.any():
                yield score_object(f"{family} {volume.case} {structure}", volume, truth, segmenter, protocol, (family, structure))


def score_object(
    key: str, volume: LabelledVolume, truth: Mask, segmenter: Segmenter, protocol: Protocol, names: tuple[str, str]
) -> tuple[Score, View]:
    """Segment one object from its simulated prompt and compare; names: (family, structure)."""
    prompt, box = simulated_prompt(truth, key, protocol)
    result = segmenter.segment(volume.frames, [prompt])
    item, frame = result.objects[0], prompt.frame
    shown = np.flatnonzero(truth.any(axis=(1, 2)))
    extent = range(int(shown[0]), int(shown[-1]) + 1)
    left, top, right, bottom = box_of(truth[frame])
    score = Score(
        family=names[0],
        case=volume.case,
        structure=names[1],
        frame=frame,
        slices=len(shown),
        voxels=int(np.count_nonzero(truth)),
        dice=dice(item.mask, truth),
        dice_prompted=dice(item.mask[frame], truth[frame]),
        dice_in_extent=dice(item.mask[extent.start : extent.stop], truth[extent.start : extent.stop]),
        nsd=normalised_surface_dice(item.mask, truth, volume.spacing_mm),
        baselines={name: dice(draw(volume.frames, box, extent), truth) for name, draw in BASELINES.items()},
        narrow=min(right - left, bottom - top) + 1,
        filled=float(truth[frame, top : bottom + 1, left : right + 1].mean()),
        visited=int(np.count_nonzero(~np.isnan(item.object_score_logit))),
        seconds=result.seconds,
    )
    slices = (frame, halfway_slice(extent, frame))
    picked = list(slices)
    return score, View(slices=slices, frames=volume.frames[picked], mask=item.mask[picked], truth=truth[picked])


def summary(scores: Sequence[Score]) -> dict[str, object]:
    """What `--json` prints of one model: figures of each family, and of its compact and its thin or concave structures apart."""
    families = {score.family: [other for other in scores if other.family == score.family] for score in scores}
    seconds = sum(score.seconds for score in scores)
    return {
        "families": {name: family_summary(members) for name, members in families.items()},
        "slices_per_second": round(sum(score.visited for score in scores) / seconds, 2) if seconds > 0 else None,
    }


def family_summary(scores: Sequence[Score]) -> dict[str, object]:
    """Figures of one family; `compact` and `thin_or_concave` are told where it has both."""
    shapes: dict[str, list[Score]] = {"compact": [], "thin_or_concave": []}
    for structure in dict.fromkeys(score.structure for score in scores):
        members = [score for score in scores if score.structure == structure]
        shapes["thin_or_concave" if is_thin_or_concave(members) else "compact"].extend(members)
    apart = {shape: _figures(members) for shape, members in shapes.items()} if all(shapes.values()) else {}
    return {**_figures(scores), **apart}


def is_thin_or_concave(scores: Sequence[Score]) -> bool:
    """Whether one structure, over all its cases, is too thin or too hollow for a shape drawn from its box to say much."""
    return bool(np.median([s.narrow for s in scores]) <= THIN_PIXELS or np.median([s.filled for s in scores]) < CONCAVE_SHARE)


def _figures(scores: Sequence[Score]) -> dict[str, object]:
    quartiles = np.percentile([score.dice for score in scores], [25, 75])
    return {
        "n": len(scores),
        "median_dice": _median([score.dice for score in scores]),
        "median_dice_prompted": _median([score.dice_prompted for score in scores]),
        "median_dice_in_extent": _median([score.dice_in_extent for score in scores]),
        "median_nsd": _median([score.nsd for score in scores]),
        "quartiles_dice": [round(float(value), 4) for value in quartiles],
        "baselines": {name: _median([score.baselines[name] for score in scores]) for name in BASELINES},
    }


def _median(values: Sequence[float]) -> float:
    return round(float(np.median(values)), 4)


def _inner_point(mask: Mask) -> tuple[float, float]:
    """(x, y) of the pixel of `mask` (row, column) nearest to its centre of mass."""
    pixels = np.argwhere(mask)
    nearest = pixels[np.argmin(((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1))]
    return float(nearest[1]), float(nearest[0])
