"""The segmenter: frames and prompts in, one mask through all frames for each object out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.compilation import can_compile
from model.conditioning import Conditioner
from model.errors import DeviceFault
from model.feature_cache import FeatureCache, Frames
from model.governor import Placement, estimate, fitting_batch, free_memory, within_memory
from model.lockstep import Batch, Lockstep
from model.medsam2 import ImageFeatures, MedSAM2
from model.memory_bank import Direction
from model.options import PropagationOptions
from model.precision import Precision
from model.prompt import BoxPrompt, Prompt, check_prompts
from model.propagation import Pass, PassSetting
from model.recorder import Recorder
from model.regional import segment_in_regions
from model.result import ObjectResult, SegmentationResult
from model.steps import FastSteps, PlainSteps, Steps

DEFAULT_CACHE_BYTES = 1 << 29
WARM_UP_SIDE = 64  # pixels

Progress = Callable[[int, int], None]  # frames visited so far, frames to visit at most


@dataclasses.dataclass(kw_only=True)
class _Room:
    """The steps on one device in one precision, and the features that they made."""

    steps: Steps
    cache: FeatureCache


class Segmenter:
    """A loaded network on a device; features of frames stay cached between calls, so that several targets share them."""

    def __init__(
        self,
        model: MedSAM2,
        device: torch.device | str,
        weights_id: str,
        *,
        precision: Precision = Precision.FLOAT32,
        feature_cache_bytes: int = DEFAULT_CACHE_BYTES,
        batch: Batch | None = None,
    ) -> None:
        """`batch` instead of the one that fits the device's free memory. The network's weights must not change afterwards."""
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._weights_id, self._precision, self._cache_bytes, self._batch = weights_id, precision, feature_cache_bytes, batch
        self._rooms: dict[tuple[Precision, bool], _Room] = {}

    @property
    def cache(self) -> FeatureCache:
        """The features of the configured precision."""
        return self._room(self._precision, plain=False).cache

    def segment(
        self,
        frames: NDArray[np.uint8],
        prompts: Sequence[Prompt],
        options: PropagationOptions | None = None,
        progress: Progress | None = None,
    ) -> SegmentationResult:
        """Propagate each prompted object forward and backward through frames (t, row, column[, 3]) uint8.

        `progress` hears the frames visited and the most there can be, before the first step and after each. Out of memory, it begins
        again with smaller batches and at last on the CPU. Raises ValueError for frames or prompts that do not fit together,
        MemoryError when nothing is small enough, and DeviceFault when the accelerator fails.
        """
        options = options or PropagationOptions()
        _check(frames, prompts, options)
        if self._model.config.region_scale:
            return segment_in_regions(self._segment, self._model.config, frames, prompts, options, progress)
        return self._segment(frames, prompts, options, progress)

    def _segment(
        self, frames: NDArray[np.uint8], prompts: Sequence[Prompt], options: PropagationOptions, progress: Progress | None
    ) -> SegmentationResult:
        begun, encoded = time.monotonic(), 0

        def attempt(placement: Placement) -> tuple[ObjectResult, ...]:
            nonlocal encoded
            room = self._place(placement, plain=options.reference)
            before = room.cache.encoded
            try:
                return self._propagate(room, Frames(frames), prompts, (options, placement.batch), progress)
            except (torch.OutOfMemoryError, MemoryError):
                self._rooms.clear()
                raise
            finally:
                encoded = room.cache.encoded - before

        try:
            objects, placement, fallbacks = within_memory(self._first_placement(options), attempt)
        except torch.AcceleratorError as error:
            raise DeviceFault(f"{self._device}: {str(error).splitlines()[0]}") from error
        return SegmentationResult(
            objects=objects,
            weights_id=self._weights_id,
            device=str(placement.device),
            precision=placement.precision.value,
            seconds=time.monotonic() - begun,
            frames_encoded=encoded,
            batch=str(placement.batch),
            fallbacks=fallbacks,
        )

    def warm_up(self) -> None:
        """Run once through every kind of step, so that the first job meets warm kernels and, on a GPU, compiled steps.

        Compiled are the shapes of one and two objects behind the reach of the object pointers, where they no longer change.
        """
        steps = self._room(self._precision, plain=False).steps
        compiles = isinstance(steps, FastSteps) and can_compile(self._device)
        reach = self._model.config.max_object_pointers + 1 if compiles else 0
        middle = reach + 10 if compiles else 1  # frames on each side: a few steady ones behind the reach
        noise = np.random.default_rng(0).integers(0, 256, (2 * middle + 1, WARM_UP_SIDE, WARM_UP_SIDE), dtype=np.uint8)
        quarter, half = WARM_UP_SIDE / 4, WARM_UP_SIDE / 2
        box = BoxPrompt(frame=middle, left=quarter, top=quarter, right=half, bottom=half)
        both, one_way, two_objects = [box], [dataclasses.replace(box, frame=0)], [box, dataclasses.replace(box, object_id=2)]
        for prompts in (both, one_way, two_objects) if compiles else (both,):
            self.cache.clear()

            def learn(done: int, total: int, ways: int = 1 if prompts is one_way else 2) -> None:
                if compiles and isinstance(steps, FastSteps):
                    steps.learn_shapes(learning=ways * reach <= done < total)

            self.segment(noise, prompts, PropagationOptions(stop_after_empty_frames=None), learn)
        self.cache.clear()

    @torch.inference_mode()
    def _propagate(
        self,
        room: _Room,
        frames: Frames,
        prompts: Sequence[Prompt],
        how: tuple[PropagationOptions, Batch],
        progress: Progress | None,
    ) -> tuple[ObjectResult, ...]:
        options, batch = how

        def exactly_encoded(frame: int) -> ImageFeatures:
            return room.cache.batch(frames, [frame], exact=True)[0]

        shape = frames.pixels.shape
        heard = progress or (lambda done, total: None)
        heard(0, len(frames.pixels))
        with _attention(options):
            objects = Conditioner(self._model, room.steps, exactly_encoded, (shape[1], shape[2]), options).condition(prompts)
            setting = PassSetting(options=options, config=self._model.config)
            forward, backward = (Pass(objects, direction, len(frames.pixels), setting) for direction in Direction)
            both = frozenset(forward.route) & frozenset(backward.route)
            recorder = Recorder([one.object_id for one in objects], (shape[0], shape[1], shape[2]), both, keep_logits=options.keep_logits)
            total, done = len(forward.route) + len(backward.route), 0
            for covered, visits in Lockstep(room.steps, room.cache, frames, batch, options).walk((forward, backward)):
                for visit in visits:
                    recorder.note(visit)
                done += covered
                if visits:
                    heard(done, total)
        heard(total, total)
        return recorder.results(forward.stops(), backward.stops())

    def _first_placement(self, options: PropagationOptions) -> Placement:
        precision = Precision.FLOAT32 if options.reference else self._precision
        batch = self._batch or fitting_batch(self._device, free_memory(self._device), estimate(self._model.config, precision))
        return Placement(device=self._device, precision=precision, batch=batch)

    def _place(self, placement: Placement, *, plain: bool) -> _Room:
        """The room of a placement; the network moves where it must."""
        if self._model.no_mem_embed.device != placement.device:
            self._rooms.clear()
            self._model.to(placement.device)
        return self._room(placement.precision, plain=plain)

    def _room(self, precision: Precision, *, plain: bool) -> _Room:
        key = (precision, plain)
        if key not in self._rooms:
            device = self._model.no_mem_embed.device
            steps: Steps = PlainSteps(self._model) if plain else FastSteps(self._model, device, precision)
            cache = FeatureCache(steps, self._model.config.image_size, device, self._cache_bytes)
            self._rooms[key] = _Room(steps=steps, cache=cache)
        return self._rooms[key]


def _attention(options: PropagationOptions) -> AbstractContextManager[None]:
    """Unfused attention for the reference's arithmetic, torch's own choice of kernel else."""
    return sdpa_kernel(SDPBackend.MATH) if options.reference else nullcontext()


def _check(frames: NDArray[np.uint8], prompts: Sequence[Prompt], options: PropagationOptions) -> None:
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4):
        raise ValueError(f"frames: expected uint8 (t, row, column[, 3]), got {frames.dtype} {frames.shape}")
    check_prompts(tuple(prompts), len(frames), (frames.shape[1], frames.shape[2]))
    for prompt in prompts:
        first, last = options.reach(len(frames), prompt.object_id)
        if not first <= prompt.frame <= last:
            raise ValueError(f"prompt of object {prompt.object_id}: expected a frame within the extent {first}..{last}, got {prompt.frame}")
