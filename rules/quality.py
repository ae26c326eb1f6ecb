"""Quality verdicts: is a mask fit to be delivered, to be delivered with a warning, or to be withheld?

| finding                                                                | verdict  |
|------------------------------------------------------------------------|----------|
| empty mask                                                             | withhold |
| volume or median predicted IoU beyond the target's limits              | withhold |
| the model says that the object is absent on a slice that was prompted  | flag     |
| mask touches the volume's edge, so that part of the object may be cut  | flag     |
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.geometry import voxel_volume_mm3
from dicom_io.volume import Volume
from model.result import ObjectResult
from rules.prompts.generate import PromptedObject
from rules.rule import QualityLimits


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

    @property
    def delivers(self) -> bool:
        """Whether the object goes into the SEG."""
        return self.decision is not Decision.WITHHOLD


def judge(objects: Sequence[PromptedObject], results: Sequence[ObjectResult], volume: Volume) -> tuple[Verdict, ...]:
    """Return a verdict for each object, in object order.

    `results` holds each object's result, in any order. Raises ValueError where one lacks or has another shape than the volume.
    """
    by_id = {result.object_id: result for result in results}
    return tuple(_verdict(item, _result_of(item, by_id, volume), volume) for item in objects)


def _result_of(item: PromptedObject, by_id: dict[int, ObjectResult], volume: Volume) -> ObjectResult:
    if item.object_id not in by_id:
        raise ValueError(f"results: expected one for object {item.object_id} ({item.label}), got objects {sorted(by_id)}")
    result = by_id[item.object_id]
    if result.mask.shape != volume.voxels.shape:
        raise ValueError(f"mask of {item.label}: expected the volume's shape {volume.voxels.shape}, got {result.mask.shape}")
    return result


def _verdict(item: PromptedObject, result: ObjectResult, volume: Volume) -> Verdict:
    volume_ml = float(np.count_nonzero(result.mask)) * voxel_volume_mm3(volume.affine) / 1000.0
    median_iou = _median_iou(result)
    against = list(_beyond_limits(item.target.limits, volume_ml, median_iou))
    warnings = list(_warnings(item, result))
    decision = Decision.WITHHOLD if against else Decision.FLAG if warnings else Decision.ACCEPT
    return Verdict(
        object_id=item.object_id,
        label=item.label,
        decision=decision,
        reasons=tuple(f"{item.label}: {reason}" for reason in (*against, *warnings)),
        volume_ml=volume_ml,
        median_iou=median_iou,
    )


def _median_iou(result: ObjectResult) -> float | None:
    visible = result.mask.any(axis=(1, 2)) & np.isfinite(result.iou)
    return float(np.median(result.iou[visible])) if visible.any() else None


def _beyond_limits(limits: QualityLimits, volume_ml: float, median_iou: float | None) -> Iterator[str]:
    if volume_ml == 0.0:
        yield "the mask is empty"
        return
    if limits.minimum_volume_ml is not None and volume_ml < limits.minimum_volume_ml:
        yield f"volume: expected at least {limits.minimum_volume_ml:g} ml, got {volume_ml:.2f} ml"
    if limits.maximum_volume_ml is not None and volume_ml > limits.maximum_volume_ml:
        yield f"volume: expected at most {limits.maximum_volume_ml:g} ml, got {volume_ml:.2f} ml"
    if limits.minimum_iou is not None and (median_iou is None or median_iou < limits.minimum_iou):
        got = "none" if median_iou is None else f"{median_iou:.3f}"
        yield f"predicted IoU: expected a median of at least {limits.minimum_iou:g}, got {got}"


def _warnings(item: PromptedObject, result: ObjectResult) -> Iterator[str]:
    absent = sorted({prompt.frame for prompt in item.prompts if result.object_score_logit[prompt.frame] <= 0})
    if absent:
        yield f"the model sees no such object on the prompted slice {', '.join(map(str, absent))}"
    mask = result.mask
    ends = {"first slice": mask[0], "last slice": mask[-1]}
    sides = {"top row": mask[:, 0], "bottom row": mask[:, -1], "left column": mask[:, :, 0], "right column": mask[:, :, -1]}
    touched = [name for name, face in (ends | sides).items() if face.any()]
    if touched:
        yield f"the mask touches the volume's edge ({', '.join(touched)}); part of the object may lie outside"
