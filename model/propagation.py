"""Propagation: each object on its way in one direction, and where it begins, stops and ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from model.conditioning import Answer, ConditionedObject
from model.config import MedSAM2Config
from model.memory_bank import Direction, MemoryBank
from model.options import PropagationOptions
from model.result import StopReason


@dataclasses.dataclass(kw_only=True)
class Track:
    """One object in one direction."""

    conditioned: ConditionedObject
    bank: MemoryBank
    direction: Direction
    start: int
    end: int  # last frame to visit
    reason_at_end: StopReason
    limit: int | None  # empty frames in a row that end it
    empty_frames: int = 0  # in a row
    stopped: StopReason | None = None

    def visits(self, frame: int) -> bool:
        """Whether this object is answered on `frame`."""
        begun = (frame - self.start) * self.direction >= 0
        ended = (frame - self.end) * self.direction > 0
        return begun and not ended and self.stopped is None

    def note(self, frame: int, answer: Answer) -> None:
        """Count empty frames and stop after the limit, unless a conditioning frame lies ahead or here."""
        prompted = frame in self.conditioned.answers
        self.empty_frames = self.empty_frames + 1 if answer.is_empty and not prompted else 0
        ahead = any((known - frame) * self.direction > 0 and (self.end - known) * self.direction >= 0 for known in self.conditioned.answers)
        if self.limit is not None and self.empty_frames >= self.limit and not ahead:
            self.stopped = StopReason.EMPTY_FRAMES


class Pass:
    """All objects in one direction, on their common route."""

    def __init__(self, objects: Sequence[ConditionedObject], direction: Direction, frames: int, setting: PassSetting) -> None:
        """`frames` in the volume."""
        self.direction = direction
        self.tracks = [_track(one, direction, frames, setting) for one in objects]

    @property
    def route(self) -> range:
        """The frames from the first start to the last end in order of visit.

        Empty backward from an object's first frame alone, which the forward pass has answered.
        """
        step = int(self.direction)
        begin = min(track.start * step for track in self.tracks) * step
        end = max(track.end * step for track in self.tracks) * step
        if self.direction is Direction.BACKWARD and begin == end:
            return range(0)
        return range(begin, end + step, step)

    def visiting(self, frame: int) -> list[Track]:
        """The objects that are answered on a frame."""
        return [track for track in self.tracks if track.visits(frame)]

    def stops(self) -> dict[int, StopReason]:
        """Why each object ended, by its id."""
        return {track.conditioned.object_id: track.stopped or track.reason_at_end for track in self.tracks}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassSetting:
    """What all tracks of a pass share."""

    options: PropagationOptions
    config: MedSAM2Config


def _track(one: ConditionedObject, direction: Direction, frames: int, setting: PassSetting) -> Track:
    options = setting.options
    first, last = options.reach(frames, one.object_id)
    forward = direction is Direction.FORWARD
    end, whole = (last, frames - 1) if forward else (first, 0)
    return Track(
        conditioned=one,
        bank=MemoryBank(one.memories, direction, frames, setting.config),
        direction=direction,
        start=min(one.answers) if options.start_frame is None else options.start_frame,
        end=end,
        reason_at_end=StopReason.REACHED_END if end == whole else StopReason.EXTENT,
        limit=options.empty_frame_limit,
    )
