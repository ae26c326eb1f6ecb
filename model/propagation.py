"""Propagation: one pass through the frames in one direction, all objects advancing on a frame together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from model.conditioning import Answer, ConditionedObject, Encode, answers_of
from model.holes import fill_holes
from model.medsam2 import DecoderPrompts, MedSAM2
from model.memory_bank import Direction, FrameMemory, Layout, MemoryBank, Recollection, stack
from model.options import PropagationOptions
from model.result import StopReason


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameAnswers:
    """Every object that was alive on one frame, by its id."""

    frame: int
    answers: dict[int, Answer]


@dataclasses.dataclass(kw_only=True)
class Track:
    """One object on its way in one pass."""

    conditioned: ConditionedObject
    bank: MemoryBank
    start: int
    end: int  # last frame to visit
    direction: Direction
    empty_frames: int = 0  # in a row
    stopped: StopReason | None = None

    def visits(self, frame: int) -> bool:
        """Whether this object is answered on `frame`."""
        begun = (frame - self.start) * self.direction >= 0
        ended = (frame - self.end) * self.direction > 0
        return begun and not ended and self.stopped is None

    def note(self, frame: int, answer: Answer, limit: int | None) -> None:
        """Count empty frames and stop after `limit`, unless a conditioning frame lies ahead or here."""
        prompted = frame in self.conditioned.answers
        self.empty_frames = self.empty_frames + 1 if answer.is_empty and not prompted else 0
        ahead = any((known - frame) * self.direction > 0 and (self.end - known) * self.direction >= 0 for known in self.conditioned.answers)
        if limit is not None and self.empty_frames >= limit and not ahead:
            self.stopped = StopReason.EMPTY_FRAMES


class Pass:
    """All objects in one direction; the frames are walked by `run`, and `stops` tells afterwards why each object ended."""

    def __init__(self, model: MedSAM2, encode: Encode, objects: Sequence[ConditionedObject], plan: PassPlan) -> None:
        self._model, self._encode, self._plan = model, encode, plan
        self.direction = plan.direction
        self.tracks = [
            Track(
                conditioned=one,
                bank=MemoryBank(one.memories, plan.direction, plan.frames, model.config),
                start=plan.start_of(one),
                end=plan.end,
                direction=plan.direction,
            )
            for one in objects
        ]

    @property
    def route(self) -> range:
        """The frames of this pass in order of visit; empty backward from the first frame, which the forward pass has answered."""
        step = int(self._plan.direction)
        starts = [track.start for track in self.tracks]
        begin = min(starts) if self._plan.direction is Direction.FORWARD else max(starts)
        if self._plan.direction is Direction.BACKWARD and begin == self._plan.end:
            return range(0)
        return range(begin, self._plan.end + step, step)

    def run(self) -> Iterator[FrameAnswers]:
        """Visit the frames until every object has ended."""
        for frame in self.route:
            alive = [track for track in self.tracks if track.visits(frame)]
            if alive:
                yield FrameAnswers(frame=frame, answers=self._advance(frame, alive))

    def stops(self) -> dict[int, StopReason]:
        """Why each object ended, by its id."""
        return {track.conditioned.object_id: track.stopped or self._plan.reason_at_end for track in self.tracks}

    def _advance(self, frame: int, alive: list[Track]) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        groups: dict[Layout, list[tuple[Track, Recollection]]] = {}
        for track in alive:
            prompted = track.conditioned.answers.get(frame)
            if prompted is not None:
                answers[track.conditioned.object_id] = prompted
            else:
                recollection = track.bank.recall(frame)
                groups.setdefault(recollection.layout, []).append((track, recollection))
        for group in groups.values():
            answers |= self._track(frame, group)
        for track in alive:
            track.note(frame, answers[track.conditioned.object_id], self._plan.options.empty_frame_limit)
        return answers

    def _track(self, frame: int, group: list[tuple[Track, Recollection]]) -> dict[int, Answer]:
        features = self._encode(frame)
        memories = stack([recollection for _, recollection in group], self._model.config.d_model)
        embedding = self._model.condition_on_memory(features, memories)
        prompts = DecoderPrompts.none(len(group), embedding.device)
        decoded = self._model.decode(features, embedding, prompts, multimask=True)
        # The memory sees the mask as decoded; holes are filled only in what is returned.
        spatial = self._model.encode_memory(features, decoded.logits, decoded.object_score, binarise=False)
        answers = answers_of(decoded, fill_holes(decoded.logits, self._plan.options.hole_filling_area))
        for index, (track, _) in enumerate(group):
            track.bank.remember(frame, FrameMemory(spatial=spatial[index], pointer=answers[index].pointer))
        return {track.conditioned.object_id: answer for (track, _), answer in zip(group, answers, strict=True)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassPlan:
    """Where a pass begins and ends."""

    direction: Direction
    frames: int  # in the volume
    first: int  # frame that may be visited
    last: int
    options: PropagationOptions

    @property
    def end(self) -> int:
        """Last frame to visit."""
        return self.last if self.direction is Direction.FORWARD else self.first

    @property
    def reason_at_end(self) -> StopReason:
        """Why an object ends that reaches `end`."""
        whole = self.frames - 1 if self.direction is Direction.FORWARD else 0
        return StopReason.REACHED_END if self.end == whole else StopReason.EXTENT

    def start_of(self, one: ConditionedObject) -> int:
        """The frame at which an object begins, in both directions."""
        return min(one.answers) if self.options.start_frame is None else self.options.start_frame
