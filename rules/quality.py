"""Quality verdicts: is a mask fit to be delivered, to be delivered with a warning, or to be withheld?

| finding                                                                   | verdict  |
|---------------------------------------------------------------------------|----------|
| empty mask                                                                | withhold |
| volume, mean intensity, median predicted IoU, agreement of the second     | withhold |
| look or quality score beyond the target's limits; mask touches the        |          |
| volume's edge where the limits ask for the whole object                   |          |
| the model says that the object is absent on a slice that was prompted     | flag     |
| mask touches the volume's edge, so that part of the object may be cut     | flag     |
| neighbouring sections inside the object hardly overlap                    | flag     |
| forward and backward propagation disagree                                 | flag     |
| the prompt came from an algorithm's annotation that no person drew        | flag     |
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.geometry import voxel_volume_mm3
from dicom_io.volume import Volume
from model.result import ObjectResult
from rules.prompts.generate import PromptedObject
from rules.rule import QualityLimits
from rules.signs import Signs, signs_of

LEAST_BOTH_WAYS = 0.5
NO_SECOND_LOOK: Mapping[int, float] = {}


class Decision(enum.StrEnum):
    """What becomes of an object's mask."""

    ACCEPT = "accept"
    FLAG = "flag"
    WITHHOLD = "withhold"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision for one object, with every reason in words (no reason: accepted)."""

    object_id: int
    label: str
    decision: Decision
    reasons: tuple[str, ...]
    volume_ml: float
    median_iou: float | None
    """Median of the predicted IoU over the slices with mask; None for an empty mask."""
    score: float = 0.0
    """Quality score of all signs together (`rules.signs`), 0 to 1."""

    @property
    def delivers(self) -> bool:
        """Whether the object goes into the SEG."""
        return self.decision is not Decision.WITHHOLD


def judge(
    objects: Sequence[PromptedObject], results: Sequence[ObjectResult], volume: Volume, second_looks: Mapping[int, float] = NO_SECOND_LOOK
) -> tuple[Verdict, ...]:
    """Return a verdict for each object, in object order.

    `results` holds each object's result, in any order; `second_looks` by object id the Dice with the result of moved prompts.
    Raises ValueError where a result lacks or has another shape than the volume.
    """
    by_id = {result.object_id: result for result in results}
    return tuple(_verdict(item, _result_of(item, by_id, volume), volume, second_looks.get(item.object_id)) for item in objects)


def _result_of(item: PromptedObject, by_id: dict[int, ObjectResult], volume: Volume) -> ObjectResult:
    if item.object_id not in by_id:
        raise ValueError(f"results: expected one for object {item.object_id} ({item.label}), got objects {sorted(by_id)}")
    result = by_id[item.object_id]
    if result.mask.shape != volume.voxels.shape:
        raise ValueError(f"mask of {item.label}: expected the volume's shape {volume.voxels.shape}, got {result.mask.shape}")
    return result


def _verdict(item: PromptedObject, result: ObjectResult, volume: Volume, second_look: float | None) -> Verdict:
    volume_ml = float(np.count_nonzero(result.mask)) * voxel_volume_mm3(volume.affine) / 1000.0
    signs = signs_of(result, item.prompts, second_look)
    cut = _cut(result)
    against = [*_beyond_limits(item.target.limits, volume_ml, _mean(result, volume), signs), *(cut if item.target.limits.whole else ())]
    warnings = [*_warnings(item, result, signs), *(() if item.target.limits.whole else cut)]
    decision = Decision.WITHHOLD if against else Decision.FLAG if warnings else Decision.ACCEPT
    return Verdict(
        object_id=item.object_id,
        label=item.label,
        decision=decision,
        reasons=tuple(f"{item.label}: {reason}" for reason in (*against, *warnings)),
        volume_ml=volume_ml,
        median_iou=signs.median_iou,
        score=signs.score,
    )


def _mean(result: ObjectResult, volume: Volume) -> float | None:
    return float(volume.voxels[result.mask].mean()) if result.mask.any() else None


def _beyond_limits(limits: QualityLimits, volume_ml: float, mean: float | None, signs: Signs) -> Iterator[str]:
    if volume_ml == 0.0:
        yield "the mask is empty"
        return
    if limits.minimum_volume_ml is not None and volume_ml < limits.minimum_volume_ml:
        yield f"volume: expected at least {limits.minimum_volume_ml:g} ml, got {volume_ml:.2f} ml"
    if limits.maximum_volume_ml is not None and volume_ml > limits.maximum_volume_ml:
        yield f"volume: expected at most {limits.maximum_volume_ml:g} ml, got {volume_ml:.2f} ml"
    lower = (
        ("predicted IoU: expected a median of", limits.minimum_iou, signs.median_iou, ".3f"),
        ("quality score: expected", limits.minimum_score, signs.score, ".2f"),
        ("agreement with the second look: expected", limits.minimum_agreement, signs.second_look, ".2f"),
        ("mean intensity: expected", limits.minimum_mean, mean, ".1f"),
    )
    for what, limit, got, form in lower:
        if limit is not None and (got is None or got < limit):
            yield f"{what} at least {limit:g}, got {'none' if got is None else format(got, form)}"
    if limits.maximum_mean is not None and mean is not None and mean > limits.maximum_mean:
        yield f"mean intensity: expected at most {limits.maximum_mean:g}, got {mean:.1f}"


def _warnings(item: PromptedObject, result: ObjectResult, signs: Signs) -> Iterator[str]:
    absent = sorted({prompt.frame for prompt in item.prompts if result.object_score_logit[prompt.frame] <= 0})
    if absent:
        yield f"the model sees no such object on the prompted slice {', '.join(map(str, absent))}"
    if signs.jump is not None:
        yield f"the section changes abruptly between the slices {signs.jump} and {signs.jump + 1}"
    if signs.both_ways is not None and signs.both_ways < LEAST_BOTH_WAYS:
        yield f"forward and backward propagation disagree (median Dice {signs.both_ways:.2f})"
    if item.origin is not None and item.origin.automatic:
        yield "prompted by what an algorithm drew, which no person is known to have checked"


def _cut(result: ObjectResult) -> tuple[str, ...]:
    """Why part of the object may be missing, in words; nothing for a mask that lies inside."""
    mask = result.mask
    ends = {"first slice": mask[0], "last slice": mask[-1]}
    sides = {"top row": mask[:, 0], "bottom row": mask[:, -1], "left column": mask[:, :, 0], "right column": mask[:, :, -1]}
    touched = ", ".join(name for name, face in (ends | sides).items() if face.any())
    return (f"the mask touches the volume's edge ({touched}); part of the object may lie outside",) if touched else ()
