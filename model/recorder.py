"""The recorder: answers at low resolution become masks and figures at the frames' own size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model.conditioning import Answer
from model.memory_bank import Direction
from model.propagation import FrameAnswers
from model.result import ObjectResult, StopReason, Stops


@dataclasses.dataclass(kw_only=True)
class Record:
    """One object's arrays, filled frame by frame."""

    mask: NDArray[np.bool_]  # (t, row, column)
    figures: NDArray[np.float32]  # (3, t): iou, object score, stability
    logits: dict[Direction, NDArray[np.float32]]  # (t, row, column) each, none when they are not kept


class Recorder:
    """Collects the answers of both passes; masks are the union, figures those of the last visit."""

    def __init__(self, object_ids: Sequence[int], shape: tuple[int, int, int], *, keep_logits: bool) -> None:
        self._shape = shape
        self._records = {object_id: self._blank(keep_logits=keep_logits) for object_id in object_ids}

    def note(self, direction: Direction, visited: FrameAnswers) -> None:
        """Write one frame of one pass."""
        stacked = torch.cat([answer.logits for answer in visited.answers.values()])  # (B, 1, S/4, S/4)
        full = functional.interpolate(stacked, size=self._shape[1:], mode="bilinear", align_corners=False)[:, 0].cpu().numpy()
        for logits, (object_id, answer) in zip(full, visited.answers.items(), strict=True):
            self._write(self._records[object_id], direction, visited.frame, (answer, logits))

    def results(self, forward: Mapping[int, StopReason], backward: Mapping[int, StopReason]) -> tuple[ObjectResult, ...]:
        """Every object's result."""
        return tuple(
            ObjectResult(
                object_id=object_id,
                mask=record.mask,
                iou=record.figures[0],
                object_score_logit=record.figures[1],
                stability=record.figures[2],
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
            figures=np.full((3, self._shape[0]), np.nan, np.float32),
            logits={direction: np.full(self._shape, np.nan, np.float32) for direction in kept},
        )

    @staticmethod
    def _write(record: Record, direction: Direction, frame: int, seen: tuple[Answer, NDArray[np.float32]]) -> None:
        answer, logits = seen
        record.mask[frame] |= logits > 0
        record.figures[:, frame] = (answer.iou, answer.object_score, answer.stability)
        if direction in record.logits:
            record.logits[direction][frame] = logits
