"""The segmenter: frames and prompts in, one mask through all frames for each object out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.conditioning import Conditioner
from model.feature_cache import FeatureCache
from model.medsam2 import ImageFeatures, MedSAM2
from model.memory_bank import Direction
from model.options import PropagationOptions
from model.prompt import Prompt, check_prompts
from model.propagation import Pass, PassPlan
from model.recorder import Recorder
from model.regional import segment_in_regions
from model.result import SegmentationResult

DEFAULT_CACHE_BYTES = 1 << 30
PRECISION = "float32"

Progress = Callable[[int, int], None]  # frames visited so far, frames to visit at most


class Segmenter:
    """A loaded network on a device; features of frames stay cached between calls, so that several targets share them."""

    def __init__(
        self, model: MedSAM2, device: torch.device | str, weights_id: str, *, feature_cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> None:
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._weights_id = weights_id
        self.cache = FeatureCache(self._model, self._device, feature_cache_bytes)

    def segment(
        self,
        frames: NDArray[np.uint8],
        prompts: Sequence[Prompt],
        options: PropagationOptions | None = None,
        progress: Progress | None = None,
    ) -> SegmentationResult:
        """Propagate each prompted object forward, then backward, through frames (t, row, column[, 3]) uint8.

        `progress` hears the frames visited and the most there can be. Raises ValueError for frames or prompts that do not fit together.
        """
        options = options or PropagationOptions()
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4):
            raise ValueError(f"frames: expected uint8 (t, row, column[, 3]), got {frames.dtype} {frames.shape}")
        check_prompts(tuple(prompts), len(frames), (frames.shape[1], frames.shape[2]))
        if self._model.config.region_scale:
            return segment_in_regions(self._segment, self._model.config, frames, prompts, options, progress)
        return self._segment(frames, prompts, options, progress)

    @torch.inference_mode()
    def _segment(
        self, frames: NDArray[np.uint8], prompts: Sequence[Prompt], options: PropagationOptions, progress: Progress | None
    ) -> SegmentationResult:
        begun, encoded_before = time.monotonic(), self.cache.encoded
        size = (frames.shape[1], frames.shape[2])
        plans = _plans(prompts, len(frames), options)

        def encode(frame: int) -> ImageFeatures:
            return self.cache.features(frames[frame])

        with _attention(options):
            objects = Conditioner(self._model, encode, size, options).condition(prompts)
            recorder = Recorder([one.object_id for one in objects], (len(frames), *size), keep_logits=options.keep_logits)
            passes = [Pass(self._model, encode, objects, plan) for plan in plans]
            _walk(passes, recorder, progress)
        forward, backward = passes
        return SegmentationResult(
            objects=recorder.results(forward.stops(), backward.stops()),
            weights_id=self._weights_id,
            device=str(self._device),
            precision=PRECISION,
            seconds=time.monotonic() - begun,
            frames_encoded=self.cache.encoded - encoded_before,
        )


def _attention(options: PropagationOptions) -> AbstractContextManager[None]:
    """Unfused attention for the reference's arithmetic, torch's own choice of kernel else."""
    return sdpa_kernel(SDPBackend.MATH) if options.reference else nullcontext()


def _plans(prompts: Sequence[Prompt], frames: int, options: PropagationOptions) -> tuple[PassPlan, PassPlan]:
    first, last = options.reach(frames)
    for prompt in prompts:
        if not first <= prompt.frame <= last:
            raise ValueError(f"prompt of object {prompt.object_id}: expected a frame within the extent {first}..{last}, got {prompt.frame}")
    forward, backward = (
        PassPlan(direction=direction, frames=frames, first=first, last=last, options=options)
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    )
    return forward, backward


def _walk(passes: Sequence[Pass], recorder: Recorder, progress: Progress | None) -> None:
    total = sum(len(one_pass.route) for one_pass in passes)
    before = 0
    for one_pass in passes:
        for visited, answers in enumerate(one_pass.run(), start=1):
            recorder.note(one_pass.direction, answers)
            if progress is not None:
                progress(before + visited, total)
        before += len(one_pass.route)
    if progress is not None:
        progress(total, total)
