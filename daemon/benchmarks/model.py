"""The benchmark of the model: the reference flow and the engine on the same weights, slice by slice in turn.

Both advance together, so that whatever else the machine does slows both. A long cell's reference is not run to its end: its
seconds are the medians of the slices that it ran, times the encodes and steps that the script would need, and the row says so.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from daemon.benchmarks.flops import counted, peak_flops_per_second
from daemon.benchmarks.peak_memory import give_back_free_memory, held_bytes, peak_bytes, start_watching
from daemon.benchmarks.reference_flow import ReferenceFlow, Seconds, SliceTimes, now
from daemon.benchmarks.synthetic import boxes, synthetic_volume
from model.medsam2 import ImageFeatures, MedSAM2
from model.memory_bank import Direction, FrameMemory, MemoryBank
from model.options import PropagationOptions
from model.precision import Precision
from model.prompt import BoxPrompt
from model.result import SegmentationResult
from model.segmenter import Progress, Segmenter
from model.steps import FastSteps, PlainSteps, Steps

SAMPLED_SLICES = 20
"""So many slices of a long cell's reference are run: enough for a dozen steps with a full memory."""

LEAST_DICE = {Precision.FLOAT32: 0.999, Precision.BFLOAT16: 0.95, Precision.FLOAT16: 0.99}
"""Masks agree when no slice that both visited has a smaller Dice."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is measured."""

    slices: int
    objects: int
    object_slices: int
    """Slices that each object is stated to lie on; `slices` for a propagation to both ends."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came out."""

    slices: int
    objects: int
    object_slices: int
    seconds_reference: float
    reference_summed: bool
    """Summed from medians of slices rather than run to the end."""
    seconds_engine: float
    ratio: float
    cpu_seconds_reference: float
    """Of all cores: what remains comparable when the machine is busy with something else."""
    cpu_seconds_engine: float
    cpu_ratio: float
    slices_per_second: float
    """Of the engine, an object's slice counted as one."""
    peak_mib: float
    """Of the engine, above the weights; with the frames given, their features, memories and the masks."""
    frames_mib: float
    """Of these, the frames given: the only part, with the masks of visited slices, that grows with the volume."""
    encodes: int
    gflop_per_second: float
    """Of the engine: what it multiplied."""
    share_of_peak: float
    """Of the speed of a large matrix product right before and after."""
    worst_dice: float
    masks_agree: bool


class ModelBenchmark:
    """One network on one device in one precision."""

    def __init__(self, model: MedSAM2, device: torch.device, precision: Precision, *, side: int = 512, whole_up_to: int = 100) -> None:
        """`side` of a slice in pixels; cells of more than `whole_up_to` slices times objects have their reference summed."""
        self._model, self._device, self._precision, self._side, self._whole_up_to = model, device, precision, side, whole_up_to
        model.to(device)
        give_back_free_memory()
        self._at_rest = held_bytes(device)  # weights, and what the process holds anyhow
        self._segmenter = Segmenter(model, device, "benchmark", precision=precision)

    def run(self, cells: Sequence[Cell]) -> Iterator[Row]:
        """Measure cell by cell."""
        self._segmenter.warm_up()
        for cell in cells:
            yield self._measure(cell)

    @cached_property
    def work(self) -> tuple[int, int, int, int]:
        """Operations of an encode and of a steady step: as the network is written down, and as the engine does them."""
        plain, fast = PlainSteps(self._model), FastSteps(self._model, self._device, self._precision)
        return (*self._work_of(plain), *self._work_of(fast))

    def _measure(self, cell: Cell) -> Row:
        frames = synthetic_volume(cell.slices, self._side)
        prompts = boxes(cell.objects, cell.slices, self._side)
        extents = {box.object_id: _extent(box, cell) for box in prompts}
        whole = cell.slices * cell.objects <= self._whole_up_to and cell.object_slices == cell.slices
        references = [
            self._reference(box, frames, None if whole else extents[box.object_id]) for box in (prompts if whole else prompts[:1])
        ]
        self._segmenter.cache.clear()
        give_back_free_memory()
        turns = _Turns(references, self._device)
        options = PropagationOptions(stop_after_empty_frames=None, object_extents=extents)
        peak = peak_flops_per_second(self._device, self._precision)
        result, engine = turns.beside(lambda progress: self._segmenter.segment(frames, prompts, options, progress))
        reference = turns.seconds if whole else _summed([one.flow.times for one in references], cell)
        worst = min(_worst_dice(one, result) for one in references)
        peak = max(peak, peak_flops_per_second(self._device, self._precision))
        steps = sum(int(np.isfinite(item.iou).sum()) - 1 for item in result.objects)
        flops = self.work[2] * result.frames_encoded + self.work[3] * steps
        return Row(
            slices=cell.slices,
            objects=cell.objects,
            object_slices=cell.object_slices,
            seconds_reference=round(float(reference[0]), 3),
            reference_summed=not whole,
            seconds_engine=round(float(engine[0]), 3),
            ratio=round(float(reference[0] / engine[0]), 2),
            cpu_seconds_reference=round(float(reference[1]), 3),
            cpu_seconds_engine=round(float(engine[1]), 3),
            cpu_ratio=round(float(reference[1] / engine[1]), 2),
            slices_per_second=round((steps + cell.objects) / float(engine[0]), 3),
            peak_mib=round((turns.peak - self._at_rest - turns.held) / 2**20, 1),
            frames_mib=round(frames.nbytes / 2**20, 1),
            encodes=result.frames_encoded,
            gflop_per_second=round(flops / float(engine[0]) / 1e9, 1),
            share_of_peak=round(flops / float(engine[0]) / peak, 3),
            worst_dice=round(worst, 5),
            masks_agree=worst >= LEAST_DICE[self._precision],
        )

    def _reference(self, box: BoxPrompt, frames: NDArray[np.uint8], part: tuple[int, int] | None) -> _Running:
        """The flow over the whole volume, or over a part of it around its box."""
        first, last = (0, len(frames) - 1) if part is None else part
        if part is not None and last - first + 1 > SAMPLED_SLICES:
            first = max(box.frame - 3, 0)
            last = min(first + SAMPLED_SLICES, len(frames)) - 1
        moved = BoxPrompt(frame=box.frame - first, left=box.left, top=box.top, right=box.right, bottom=box.bottom, object_id=box.object_id)
        flow = ReferenceFlow(self._model, frames[first : last + 1], moved, (self._device, self._precision))
        return _Running(flow=flow, first=first, whole=part is None)

    def _work_of(self, steps: Steps) -> tuple[int, int]:
        config = self._model.config
        size, low = config.image_size, config.mask_size
        with torch.no_grad():  # in inference mode composite operations would reach the counter undivided
            pixels = torch.zeros(1, 3, size, size, device=self._device)
            features: list[ImageFeatures] = [steps.encode(pixels, exact=True)]
            encode = counted(lambda: steps.encode(pixels, exact=True))
            pointers = torch.zeros(1, config.d_model, device=self._device)
            logits, scores = torch.ones(1, 1, low, low, device=self._device), torch.ones(1, device=self._device)
            (memory,) = steps.remember(features[0], logits, scores, pointers)
            recalled = _full_bank(memory, self._model).recall(config.max_object_pointers + 1)
            return encode, counted(lambda: steps.track(features, [0], [recalled]))


@dataclass(frozen=True, kw_only=True)
class _Running:
    flow: ReferenceFlow
    first: int
    """The slice of the volume that its slice 0 is."""
    whole: bool


class _Turns:
    """Runs the engine, and beside it the reference flows, so that both are at the same share of their work."""

    def __init__(self, references: Sequence[_Running], device: torch.device) -> None:
        self._device = device
        self._runs = [one.flow.run() for one in references]
        self.held = sum(one.flow.held_bytes for one in references)
        # Both directions meet at the box.
        self._total = sum(len(one.flow.mask) + 1 for one in references)
        self._done, self.seconds, self.peak = 0, np.zeros(2), 0

    def beside(self, engine: Callable[[Progress], SegmentationResult]) -> tuple[SegmentationResult, Seconds]:
        """Call `engine` with a progress function; returns its result and the seconds that it took by itself."""
        paused = np.zeros(2)
        start_watching(self._device)

        def turn(done: int, total: int) -> None:
            nonlocal paused
            begun = now(self._device)
            self.peak = max(self.peak, peak_bytes(self._device))
            while self._done * total < done * self._total and self._advance():
                pass
            start_watching(self._device)
            paused += now(self._device) - begun

        begun = now(self._device)
        result = engine(turn)
        engine_seconds = now(self._device) - begun - paused
        while self._advance():
            pass
        return result, engine_seconds

    def _advance(self) -> bool:
        """One slice of the reference; False when all of it is done."""
        begun = now(self._device)
        while self._runs:
            try:
                next(self._runs[0])
            except StopIteration:
                self._runs.pop(0)
                continue
            self._done += 1
            self.seconds += now(self._device) - begun
            return True
        return False


def _extent(box: BoxPrompt, cell: Cell) -> tuple[int, int]:
    """So many slices around the box as the object is stated to lie on."""
    first = min(max(box.frame - cell.object_slices // 2, 0), cell.slices - cell.object_slices)
    return first, first + cell.object_slices - 1


def _summed(times: Sequence[SliceTimes], cell: Cell) -> Seconds:
    """What the script would take: D + 2 encodes and D - 1 steps an object."""
    encode: Seconds = np.median([seconds for one in times for seconds in one.encode], axis=0)
    step: Seconds = np.median([seconds for one in times for seconds in one.step], axis=0)
    return cell.objects * ((cell.slices + 2) * encode + (cell.slices - 1) * step)


def _worst_dice(one: _Running, result: SegmentationResult) -> float:
    """The smallest Dice on a slice that both visited with the same memories behind it."""
    item = next(item for item in result.objects if item.object_id == one.flow.box.object_id)
    scores = []
    for k in sorted(one.flow.visited):
        if np.isfinite(item.iou[k + one.first]):
            ours, theirs = item.mask[k + one.first], one.flow.mask[k]
            total = int(ours.sum()) + int(theirs.sum())
            scores.append(2 * int((ours & theirs).sum()) / total if total else 1.0)
    return min(scores)


def _full_bank(memory: FrameMemory, model: MedSAM2) -> MemoryBank:
    pointers = model.config.max_object_pointers
    bank = MemoryBank({0: memory}, Direction.FORWARD, 2 * pointers, model.config)
    for frame in range(1, pointers + 1):
        bank.remember(frame, memory)
    return bank


def device_name(device: torch.device) -> str:
    """What the figures were measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
