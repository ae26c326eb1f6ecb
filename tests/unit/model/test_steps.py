"""The fast steps against the network as it is written down: the same answers with less arithmetic, in every precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model.attention import QUERIES_AT_ONCE, attend
from model.compilation import FixedShapes, can_compile, fixed_shapes
from model.medsam2 import ImageFeatures
from model.memory_bank import Direction, MemoryBank
from model.options import PropagationOptions
from model.precision import Precision, choose_precision
from model.prompt import BoxPrompt
from model.segmenter import Segmenter
from model.steps import FastSteps, PlainSteps, Steps, Tracked
from tests.unit.model.compact import COMPACT, compact_model

CPU = torch.device("cpu")
FRAMES = np.random.default_rng(0).integers(0, 256, (12, 40, 48), dtype=np.uint8)
BOX = BoxPrompt(frame=5, left=8, top=6, right=30, bottom=28)


def _pixels(seed: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def _bank(steps: Steps, features: ImageFeatures, tracked: int, seed: int) -> MemoryBank:
    """A bank with memories of the features and masks that differ by `seed`."""
    noise = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 1, COMPACT.mask_size, COMPACT.mask_size, generator=noise) * 5
    pointer = torch.randn(1, COMPACT.d_model, generator=noise)
    (memory,) = steps.remember(features, logits, torch.ones(1), pointer)
    bank = MemoryBank({0: memory}, Direction.FORWARD, 40, COMPACT)
    for frame in range(1, tracked + 1):
        bank.remember(frame, memory)
    return bank


def _track(steps: Steps, seeds: list[int], tracked: int = 9) -> Tracked:
    features = [steps.encode(_pixels(seed), exact=True) for seed in seeds]
    recalled = [_bank(steps, one, tracked, seed).recall(tracked + 1) for one, seed in zip(features, seeds, strict=True)]
    return steps.track(features, list(range(len(seeds))), recalled)


@torch.inference_mode()
def test_folded_features_are_those_of_the_network() -> None:
    model = compact_model()
    fast = FastSteps(model, CPU, Precision.FLOAT32).encode(_pixels(1, 2), exact=True)
    plain = PlainSteps(model).encode(_pixels(1, 2), exact=True)
    for got, expected in zip((fast.embedding, *fast.fine), (plain.embedding, *plain.fine), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("tracked", [0, 3, 20])
def test_memories_projected_once_give_the_answer_of_memories_projected_anew(tracked: int) -> None:
    model = compact_model()
    fast, plain = _track(FastSteps(model, CPU, Precision.FLOAT32), [1], tracked), _track(PlainSteps(model), [1], tracked)
    torch.testing.assert_close(fast.logits, plain.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fast.pointer, plain.pointer, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_objects_on_different_frames_are_answered_in_one_batch_as_each_alone() -> None:
    steps = FastSteps(compact_model(), CPU, Precision.FLOAT32)
    together = _track(steps, [1, 2, 3])
    for index, seed in enumerate([1, 2, 3]):
        torch.testing.assert_close(together.logits[index], _track(steps, [seed]).logits[0], rtol=1e-4, atol=1e-4)


def test_blocks_of_queries_give_plain_attention() -> None:
    noise = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, QUERIES_AT_ONCE + 10, 8, generator=noise), torch.randn(2, 30, 8, generator=noise)
    v = torch.randn(2, 30, 3, generator=noise)
    expected = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v
    torch.testing.assert_close(attend(q, k, v), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_low_precision_leaves_the_prompted_slice_as_it_is_and_hardly_moves_the_others(precision: Precision) -> None:
    every = PropagationOptions(stop_after_empty_frames=None, keep_logits=True)
    exact = Segmenter(compact_model(object_score=4.0), "cpu", "c").segment(FRAMES, [BOX], every)
    low = Segmenter(compact_model(object_score=4.0), "cpu", "c", precision=precision).segment(FRAMES, [BOX], every)
    assert low.precision == precision.value
    assert low.objects[0].logits_forward is not None
    assert exact.objects[0].logits_forward is not None
    np.testing.assert_array_equal(low.objects[0].logits_forward[5], exact.objects[0].logits_forward[5])
    assert low.objects[0].stability[5] == exact.objects[0].stability[5]
    differing = (low.objects[0].mask != exact.objects[0].mask).mean()
    assert 0 < np.abs(low.objects[0].logits_forward[6] - exact.objects[0].logits_forward[6]).max() < 0.1
    assert differing < 0.02


def test_the_reference_is_computed_in_float32_whatever_the_setting() -> None:
    segmenter = Segmenter(compact_model(object_score=4.0), "cpu", "c", precision=Precision.BFLOAT16)
    assert segmenter.segment(FRAMES, [BOX], PropagationOptions(reference=True)).precision == "float32"


def test_the_precision_follows_the_device_where_the_setting_leaves_it_open() -> None:
    assert choose_precision("auto", CPU) is Precision.FLOAT32
    assert choose_precision("float16", CPU) is Precision.FLOAT16
    with pytest.raises(ValueError, match="half"):
        choose_precision("half", CPU)


def test_only_shapes_that_were_learnt_run_compiled() -> None:
    ran: list[str] = []

    def step(x: Tensor) -> tuple[Tensor]:
        ran.append("plain")
        return (x + 1,)

    def compiled(x: Tensor) -> tuple[Tensor]:
        ran.append("compiled")
        return (x + 1,)

    part = FixedShapes(step, compiled)
    part(torch.zeros(2))
    part.learning = True
    part(torch.zeros(3))
    part.learning = False
    part(torch.zeros(3))
    part(torch.zeros(2))
    assert ran == ["plain", "compiled", "compiled", "plain"]


@torch.inference_mode()
def test_every_step_compiles_to_one_graph_without_a_break() -> None:
    steps = FastSteps(compact_model(), CPU, Precision.FLOAT32)
    expected = _track(steps, [1, 2])
    for name in ("_encode", "_read", "_answer"):
        part = fixed_shapes(getattr(steps, name)._step, CPU, backend="eager")
        part.learning = True
        setattr(steps, name, part)
    torch.testing.assert_close(_track(steps, [1, 2]).logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert all(getattr(steps, name)._compiled is not None for name in ("_encode", "_read", "_answer"))


def test_nothing_is_compiled_on_a_cpu() -> None:
    assert not can_compile(CPU)
