"""Lockstep: both passes advance frame by frame together, every object that is alive in one batch, frames encoded just ahead of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, zip_longest

from model.conditioning import Answer, answers_of
from model.feature_cache import FeatureCache, Frames
from model.holes import fill_holes
from model.medsam2 import ImageFeatures
from model.memory_bank import Recollection
from model.options import PropagationOptions
from model.propagation import Pass, Track
from model.steps import Steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """How much is computed at once."""

    frames: int = 1  # encoded
    objects: int = 16  # tracked; an object that goes both ways counts twice

    def __str__(self) -> str:
        """For people and records."""
        return f"{self.frames} frames, {self.objects} objects"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """One pass on one frame, with every object that was alive there, by its id."""

    one_pass: Pass
    frame: int
    answers: dict[int, Answer]


@dataclasses.dataclass(frozen=True)
class _Place:
    """One pass at one frame of its route."""

    one_pass: Pass
    frame: int


class Lockstep:
    """Walks the passes of one segmentation."""

    def __init__(self, steps: Steps, cache: FeatureCache, frames: Frames, batch: Batch, options: PropagationOptions) -> None:
        self._steps, self._cache, self._frames, self._batch, self._options = steps, cache, frames, batch, options

    def walk(self, passes: Sequence[Pass]) -> Iterator[tuple[int, list[Visit]]]:
        """Yield, for each tick, how many frames of the routes it covered and what was seen there.

        For the reference the passes go one after the other, since a batch rounds otherwise than each object alone.
        """
        routes = [[_Place(one_pass, frame) for frame in one_pass.route] for one_pass in passes]
        if self._options.reference:
            ticks = [[place] for place in chain.from_iterable(routes)]
        else:
            ticks = [[place for place in together if place is not None] for together in zip_longest(*routes)]
        last = {place.frame: number for number, places in enumerate(ticks) for place in places}
        for number, places in enumerate(ticks):
            # As many ticks are encoded in advance as have passed, so that a short object never pays for a long batch.
            ahead = ticks[number + 1 : number + 1 + min(number, self._batch.frames)]
            yield len(places), self._visit(places, ahead)
            for place in places:
                if last[place.frame] == number:
                    self._cache.release(self._frames.content(place.frame))

    def _visit(self, places: list[_Place], ahead: list[list[_Place]]) -> list[Visit]:
        alive = [(place, track) for place in places for track in place.one_pass.visiting(place.frame)]
        visits = {place: Visit(one_pass=place.one_pass, frame=place.frame, answers={}) for place, _ in alive}
        tracked: dict[Hashable, list[tuple[_Place, Track, Recollection]]] = {}
        for place, track in alive:
            prompted = track.conditioned.answers.get(place.frame)
            if prompted is not None:
                visits[place].answers[track.conditioned.object_id] = prompted
                continue
            recalled = track.bank.recall(place.frame)
            tracked.setdefault(self._steps.batch_key(recalled), []).append((place, track, recalled))
        if tracked:
            features = self._features(sorted({place.frame for group in tracked.values() for place, *_ in group}), ahead)
            for group in tracked.values():
                for begin in range(0, len(group), self._batch.objects):
                    self._track(group[begin : begin + self._batch.objects], features, visits)
        for place, track in alive:
            track.note(place.frame, visits[place].answers[track.conditioned.object_id])
        return list(visits.values())

    def _track(
        self, group: list[tuple[_Place, Track, Recollection]], features: dict[int, ImageFeatures], visits: dict[_Place, Visit]
    ) -> None:
        frames = list(dict.fromkeys(place.frame for place, *_ in group))
        rows = [frames.index(place.frame) for place, *_ in group]
        tracked = self._steps.track([features[frame] for frame in frames], rows, [recalled for *_, recalled in group])
        # The memory saw the mask as decoded; holes are filled only in what is returned.
        answers = answers_of(tracked, fill_holes(tracked.logits, self._options.hole_filling_area))
        for (place, track, _), answer, memory in zip(group, answers, tracked.memories, strict=True):
            track.bank.remember(place.frame, memory)
            visits[place].answers[track.conditioned.object_id] = answer

    def _features(self, needed: list[int], ahead: list[list[_Place]]) -> dict[int, ImageFeatures]:
        """The features of the frames of a tick; a batch that must be encoded is filled up with frames that come next."""
        missing = self._unknown(needed)
        if missing:
            coming = [place.frame for places in ahead for place in places if place.one_pass.visiting(place.frame)]
            room = self._batch.frames - len(missing)
            self._encoded(missing + [frame for frame in self._unknown(coming) if frame not in missing][: max(room, 0)])
        return dict(zip(needed, self._encoded(needed), strict=True))

    def _unknown(self, frames: list[int]) -> list[int]:
        return [frame for frame in dict.fromkeys(frames) if not self._cache.knows(self._frames.content(frame))]

    def _encoded(self, frames: list[int]) -> list[ImageFeatures]:
        found: list[ImageFeatures] = []
        for begin in range(0, len(frames), self._batch.frames):
            found += self._cache.batch(self._frames, frames[begin : begin + self._batch.frames], exact=False)
        return found
