"""The recorder: answers at low resolution become masks and figures at the frames' own size."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model.conditioning import Answer
from model.lockstep import Visit
from model.memory_bank import Direction
from model.result import ObjectResult, StopReason, Stops


@dataclasses.dataclass(kw_only=True)
class Record:
    """One object's arrays, filled frame by frame."""

    mask: NDArray[np.bool_]  # (t, row, column)
    figures: NDArray[np.float32]  # (4, t): iou, object score, stability, agreement
    logits: dict[Direction, NDArray[np.float32]]  # (t, row, column) each, none when they are not kept
    once: dict[int, NDArray[np.uint8]] = dataclasses.field(default_factory=dict)  # packed mask of a frame that one direction has seen


class Recorder:
    """Collects the answers of both passes; masks are the union, figures those of the last visit."""

    def __init__(self, object_ids: Sequence[int], shape: tuple[int, int, int], twice: Collection[int], *, keep_logits: bool) -> None:
        """`shape` of a mask (t, row, column); `twice`: frames on both routes."""
        self._shape, self._twice = shape, twice
        self._records = {object_id: self._blank(keep_logits=keep_logits) for object_id in object_ids}

    def note(self, visit: Visit) -> None:
        """Write one frame of one pass."""
        stacked = torch.cat([answer.logits for answer in visit.answers.values()])  # (B, 1, S/4, S/4)
        full = functional.interpolate(stacked, size=self._shape[1:], mode="bilinear", align_corners=False)[:, 0]  # (B, row, column)
        masks = (full > 0).cpu().numpy()  # an eighth of the logits' way to the host
        for row, (object_id, answer) in enumerate(visit.answers.items()):
            record = self._records[object_id]
            self._write(record, visit.frame, answer, masks[row])
            if visit.one_pass.direction in record.logits:
                record.logits[visit.one_pass.direction][visit.frame] = full[row].cpu().numpy()

    def results(self, forward: Mapping[int, StopReason], backward: Mapping[int, StopReason]) -> tuple[ObjectResult, ...]:
        """Every object's result."""
        return tuple(
            ObjectResult(
                object_id=object_id,
                mask=record.mask,
                iou=record.figures[0],
                object_score_logit=record.figures[1],
                stability=record.figures[2],
                agreement=record.figures[3],
                stopped=Stops(forward=forward[object_id], backward=backward[object_id]),
                logits_forward=record.logits.get(Direction.FORWARD),
                logits_backward=record.logits.get(Direction.BACKWARD),
            )
            for object_id, record in self._records.items()
        )

    def _blank(self, *, keep_logits: bool) -> Record:
        kept = tuple(Direction) if keep_logits else ()
        return Record(
            mask=np.zeros(self._shape, np.bool_),
            figures=np.full((4, self._shape[0]), np.nan, np.float32),
            logits={direction: np.full(self._shape, np.nan, np.float32) for direction in kept},
        )

    def _write(self, record: Record, frame: int, answer: Answer, mask: NDArray[np.bool_]) -> None:
        record.mask[frame] |= mask
        record.figures[:3, frame] = (answer.iou, answer.object_score, answer.stability)
        if frame not in self._twice:
            return
        if frame not in record.once:
            record.once[frame] = np.packbits(mask)
            return
        other = np.unpackbits(record.once.pop(frame), count=mask.size).view(np.bool_)
        record.figures[3, frame] = _dice(other, mask.reshape(-1))


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Twice the common pixels over the sum of both; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
