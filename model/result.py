"""Results: the masks of every object through the frames, and how sure the model was on each."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
from numpy.typing import NDArray


class StopReason(enum.Enum):
    """Why the propagation of an object ended in one direction."""

    REACHED_END = "reached_end"  # of the volume
    EMPTY_FRAMES = "empty_frames"  # the object was absent on several frames in a row
    EXTENT = "extent"  # of the frames that were asked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stops:
    """The reasons in both directions."""

    forward: StopReason
    backward: StopReason


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ObjectResult:
    """One object on every frame; t counts frames and figures are NaN on frames that were not visited."""

    object_id: int
    mask: NDArray[np.bool_]  # (t, row, column), the union of both directions
    iou: NDArray[np.float32]  # (t,) predicted IoU; 1 on a frame with a mask prompt
    object_score_logit: NDArray[np.float32]  # (t,) the object is present where > 0
    stability: NDArray[np.float32]  # (t,) stability score of the mask, 0..1
    stopped: Stops
    agreement: NDArray[np.float32] | None = None  # (t,) Dice of the forward and the backward mask, NaN where only one direction was
    logits_forward: NDArray[np.float32] | None = None  # (t, row, column) mask logits; kept on request
    logits_backward: NDArray[np.float32] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationResult:
    """All objects, in the order of their first prompt, and how they were made."""

    objects: tuple[ObjectResult, ...]
    weights_id: str
    device: str
    precision: str
    seconds: float
    frames_encoded: int
    batch: str = ""  # how many frames were encoded, and how many objects tracked, at once
    fallbacks: tuple[str, ...] = ()  # what was tried before and did not fit the memory
