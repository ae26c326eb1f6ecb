"""Out of memory: smaller batches, then the CPU, and never a lost propagation."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from model.config import MedSAM2Config
from model.governor import Placement, estimate, fitting_batch, placements, within_memory
from model.lockstep import Batch
from model.precision import Precision
from model.prompt import BoxPrompt
from model.segmenter import Segmenter
from model.steps import FastSteps
from tests.unit.model.compact import compact_model

GPU = Placement(device=torch.device("cuda:0"), precision=Precision.BFLOAT16, batch=Batch(frames=8, objects=6))
CPU = torch.device("cpu")
FRAMES = np.random.default_rng(0).integers(0, 256, (7, 40, 48), dtype=np.uint8)
BOXES = [BoxPrompt(frame=3, left=8, top=6, right=30, bottom=28, object_id=number) for number in (1, 2, 3)]


def test_batches_are_halved_down_to_one_and_the_cpu_comes_last() -> None:
    tried = list(placements(GPU))
    assert [(one.batch.frames, one.batch.objects) for one in tried] == [(8, 6), (4, 3), (2, 1), (1, 1), (1, 1)]
    assert [one.device.type for one in tried] == ["cuda"] * 4 + ["cpu"]
    assert tried[-1].precision is Precision.FLOAT32


def test_the_first_placement_that_holds_it_gives_the_result_and_the_others_are_told() -> None:
    def attempt(placement: Placement) -> str:
        if placement.batch.frames > 2:
            raise torch.OutOfMemoryError("full")
        return "done"

    first = dataclasses.replace(GPU, device=CPU)  # the ladder is the same; nothing here touches a GPU
    result, placement, failed = within_memory(first, attempt)
    assert (result, placement.batch) == ("done", Batch(frames=2, objects=1))
    assert failed == ("cpu, bfloat16, 8 frames, 6 objects", "cpu, bfloat16, 4 frames, 3 objects")


def test_what_fits_nowhere_is_a_memory_error_that_a_later_retry_may_cure() -> None:
    def attempt(placement: Placement) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(MemoryError, match="one object at a time"):
        within_memory(dataclasses.replace(GPU, device=CPU), attempt)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def attempt(placement: Placement) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        within_memory(GPU, attempt)


def test_a_segmentation_that_runs_out_of_memory_gives_the_same_masks_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Segmenter(compact_model(object_score=4.0), "cpu", "compact", batch=Batch(frames=4, objects=6)).segment(FRAMES, BOXES)
    track = FastSteps.track
    calls = itertools.count()

    def crowded(self, frames, rows, recalled):  # type: ignore[no-untyped-def]
        if next(calls) > 0 and len(rows) > 3:
            raise torch.OutOfMemoryError("full")
        return track(self, frames, rows, recalled)

    monkeypatch.setattr(FastSteps, "track", crowded)
    result = Segmenter(compact_model(object_score=4.0), "cpu", "compact", batch=Batch(frames=4, objects=6)).segment(FRAMES, BOXES)
    assert result.fallbacks == ("cpu, float32, 4 frames, 6 objects",)
    assert result.batch == "2 frames, 3 objects"
    for got, wanted in zip(result.objects, expected.objects, strict=True):
        np.testing.assert_array_equal(got.mask, wanted.mask)
        np.testing.assert_allclose(got.iou, wanted.iou, atol=1e-5)


def test_the_batch_grows_with_the_free_memory_and_is_never_empty() -> None:
    need = estimate(MedSAM2Config(), Precision.BFLOAT16)
    small, large = (fitting_batch(torch.device("cuda:0"), gib << 30, need) for gib in (1, 24))
    assert small.frames < large.frames
    assert small.objects < large.objects
    assert fitting_batch(torch.device("cuda:0"), 0, need) == Batch(frames=1, objects=1)
    assert fitting_batch(CPU, 64 << 30, need).frames == 1
