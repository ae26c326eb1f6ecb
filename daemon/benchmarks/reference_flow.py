"""The reference flow: our network run as MedSAM2's published script runs its own, to be measured against.

One object at a time; the volume in float64, whole, on the device; the features of one slice kept; the first slice encoded for
nothing; the box given once a direction, so that its slice is encoded twice; no stop rule. D + 2 encodes a box of D slices.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from model.conditioning import Conditioner
from model.feature_cache import FeatureCache, Frames
from model.lockstep import Batch, Lockstep
from model.medsam2 import ImageFeatures, MedSAM2
from model.memory_bank import Direction
from model.options import PropagationOptions
from model.precision import Precision
from model.preprocess import normalise_frames
from model.prompt import BoxPrompt
from model.propagation import Pass, PassSetting
from model.recorder import Recorder
from model.steps import PlainSteps

OPTIONS = PropagationOptions(reference=True)

Seconds: TypeAlias = NDArray[np.float64]
"""(2,): by the clock, and of all cores of this process. The second hardly notices what else the machine does."""


@dataclass(kw_only=True)
class SliceTimes:
    """Seconds of each slice, encoding and the rest apart."""

    encode: list[Seconds] = field(default_factory=list)
    step: list[Seconds] = field(default_factory=list)
    """Of tracked slices whose memory was full."""


class _OneSlice(FeatureCache):
    """Float64 inputs for all slices, and the features of the last slice alone."""

    def __init__(self, model: MedSAM2, frames: NDArray[np.uint8], device: torch.device, precision: Precision) -> None:
        super().__init__(PlainSteps(model), model.config.image_size, device, 0)
        self._pixels = torch.cat([normalise_frames(frame[None], model.config.image_size, device).double() for frame in frames])
        self._autocast = precision
        self._last: tuple[int, ImageFeatures | None] = (-1, None)
        self.seconds: list[Seconds] = []

    @property
    def input_bytes(self) -> int:
        return self._pixels.nbytes

    def batch(self, frames: Frames, indices: Sequence[int], *, exact: bool) -> list[ImageFeatures]:
        return [self._encoded(index) for index in indices]

    def knows(self, content: bytes) -> bool:
        return True

    def release(self, content: bytes) -> None:
        return None

    def _encoded(self, index: int) -> ImageFeatures:
        known, features = self._last
        if features is None or known != index:
            begun = now(self._device)
            with self._autocast.autocast(self._device):
                features = self._steps.encode(self._pixels[index : index + 1].float(), exact=False)
            self.seconds.append(now(self._device) - begun)
            self._last = (index, features)
        return features


class ReferenceFlow:
    """One box through the slices `first` to `last` of a volume; iterate over `run` to advance it by a slice at a time."""

    def __init__(self, model: MedSAM2, frames: NDArray[np.uint8], box: BoxPrompt, place: tuple[torch.device, Precision]) -> None:
        """`model` lies on the device of `place`; `frames` (t, row, column) uint8."""
        self.box = box
        self._model, self._frames = model, frames
        self._device, self._precision = place
        self._slices = _OneSlice(model, frames, *place)
        self.times = SliceTimes()
        self.mask = np.zeros(frames.shape, np.bool_)
        self.visited: set[int] = set()

    @property
    def held_bytes(self) -> int:
        """What it keeps between two slices, above the weights and its result."""
        return self._slices.input_bytes

    @torch.inference_mode()
    def run(self) -> Iterator[None]:
        """Yield after every slice of both directions."""
        shape = self._frames.shape
        self._slices.batch(Frames(self._frames), [0], exact=False)
        full = self._model.config.num_maskmem
        for direction in Direction:
            # The box is given anew, and its slice encoded anew, since the script resets the predictor between its passes.
            conditioner = Conditioner(self._model, PlainSteps(self._model), self._features, (shape[1], shape[2]), OPTIONS)
            one_pass = Pass(conditioner.condition([self.box]), direction, shape[0], PassSetting(options=OPTIONS, config=self._model.config))
            recorder = Recorder([self.box.object_id], (shape[0], shape[1], shape[2]), (), keep_logits=False)
            walk = Lockstep(PlainSteps(self._model), self._slices, Frames(self._frames), Batch(), OPTIONS).walk((one_pass,))
            for number in range(len(one_pass.route)):
                begun, encoded = now(self._device), len(self._slices.seconds)
                with self._precision.autocast(self._device):
                    _, visits = next(walk)
                recorder.note(visits[0])
                seconds = now(self._device) - begun
                if number > full:
                    self.times.step.append(seconds - np.sum(self._slices.seconds[encoded:], axis=0))
                self.visited.add(visits[0].frame)
                yield
            self.mask |= recorder.results(one_pass.stops(), one_pass.stops())[0].mask
        self.times.encode = self._slices.seconds

    def _features(self, frame: int) -> ImageFeatures:
        return self._slices.batch(Frames(self._frames), [frame], exact=True)[0]


def now(device: torch.device) -> Seconds:
    """The present moment, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return np.array([time.perf_counter(), time.process_time()])
