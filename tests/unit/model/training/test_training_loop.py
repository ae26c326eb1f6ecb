"""The training loop: it learns, it resumes exactly, it teaches what inference relies on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.attention import RotaryAttention
from model.config import MedSAM2Config
from model.mask_decoder import Candidates
from model.medsam2 import MedSAM2
from model.training.alignment import look_at_the_same_place
from model.training.clips import Clip
from model.training.loop import Listeners, Stage, Training, TrainingPlan, new_model, run
from model.training.losses import LossWeights, candidates_loss, dice_loss, focal_loss
from model.training.optimiser import RateSchedule, make_optimiser
from model.training.prompts import box_prompts, click_prompts, with_corrections
from model.training.unroll import PROMPT_KINDS, clips_loss, encode_clips
from model.training.volumes import LabelledVolume, Pool

TINY = MedSAM2Config(
    image_size=64,
    embed_dim=8,
    stages=(1, 1, 1, 1),
    windows=(8, 8, 4, 2),
    global_attention_blocks=(2,),
    d_model=32,
    memory_dim=8,
    memory_attention_layers=1,
    memory_attention_feedforward=32,
    memory_fuser_layers=1,
    decoder_depth=1,
    decoder_heads=2,
    decoder_feedforward=32,
)
STAGES = (
    Stage(steps=2, length=1, batch=2, blind=True),
    Stage(steps=1, length=1, batch=2, accumulate=2),
    Stage(steps=1, length=3, batch=2, frozen_encoder=True),
    Stage(steps=1, length=3, batch=2),
)
PLAN = TrainingPlan(stages=STAGES, schedule=RateSchedule(warmup_steps=2, total_steps=5), log_every=1)


def disc_volume(centre: float = 30.0) -> LabelledVolume:
    """A bright disc that drifts along the columns and is absent from the last slices, and a darker one beside it."""
    rows, columns = np.mgrid[:64, :64]
    labels = np.stack([(rows - 32) ** 2 + (columns - centre - k) ** 2 < 144 for k in range(8)]).astype(np.uint8)
    labels[6:] = 0
    labels[:, 50:60, 4:14] = 2
    frames = np.choose(labels, [60, 200, 120]).astype(np.uint8)
    return LabelledVolume(frames=frames, labels=labels, structures={"disc": 1, "square": 2})


def discs() -> Pool:
    return Pool({"discs": [disc_volume(centre) for centre in (26.0, 30.0, 34.0)]})


def fixed_clips(length: int) -> list[Clip]:
    volume = disc_volume()
    box = np.array([[18, 20], [42, 44]], np.float32)
    return [Clip(frames=volume.frames[:length], masks=volume.mask("disc")[:length], box=box)] * 2


def fresh(plan: TrainingPlan = PLAN) -> Training:
    return Training(new_model(TINY, plan.seed), plan, discs())


def test_the_loss_falls_when_one_clip_is_learnt_again_and_again() -> None:
    torch.manual_seed(0)
    model, rng = MedSAM2(TINY).train(), np.random.default_rng(0)
    optimiser = make_optimiser(model, RateSchedule(peak=3e-3))
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        clips = fixed_clips(3)
        loss = clips_loss(model, encode_clips(model, clips), clips, "box", LossWeights(), rng)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_every_kind_of_prompt_gives_a_finite_loss_with_a_gradient_in_the_memory_attention(kind: str) -> None:
    torch.manual_seed(0)
    model, rng = MedSAM2(TINY).train(), np.random.default_rng(0)
    clips = fixed_clips(3)
    loss = clips_loss(model, encode_clips(model, clips), clips, kind, LossWeights(), rng)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    gradients = [parameter.grad for name, parameter in model.named_parameters() if name.startswith("memory_attention.")]
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)


def test_frames_that_clips_share_are_encoded_once_and_give_the_same_features() -> None:
    torch.manual_seed(0)
    model = MedSAM2(TINY).eval()
    calls: list[int] = []
    handle = model.image_encoder.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    clip = fixed_clips(2)[0]
    apart = dataclasses.replace(clip, frames=clip.frames.copy())
    with torch.no_grad():
        shared, separate = encode_clips(model, [clip, clip]), encode_clips(model, [clip, apart])
    handle.remove()
    assert calls == [2, 4]
    assert torch.allclose(shared.embedding, separate.embedding, atol=1e-5)


def test_a_resumed_run_ends_with_the_same_bits_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = fresh()
    while whole.advance() is not None:
        pass
    first = fresh()
    first.advance()
    first.advance()
    first.save(tmp_path / "training.pt")
    second = fresh()
    second.restore(tmp_path / "training.pt")
    while second.advance() is not None:
        pass
    assert second.step == whole.step == 5
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, second.average.state_dict()[name]), name


def test_a_run_stops_at_its_minutes_and_says_so_and_logs_a_line_a_step(tmp_path: Path) -> None:
    times = iter(range(0, 10_000, 20))
    training = fresh()
    assert run(training, tmp_path, minutes=1.0, clock=lambda: float(next(times))) is False
    assert 0 < training.step < 5
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, training.step + 1))
    assert run(training, tmp_path, minutes=1000.0) is True
    assert training.step == 5
    assert (tmp_path / "training.pt").exists()


def test_listeners_hear_the_metrics_and_what_they_measure_at_a_checkpoint_is_kept(tmp_path: Path) -> None:
    heard: list[int] = []
    listeners = Listeners(logged=lambda metrics: heard.append(metrics["step"]), saved=lambda training: {"validation": {"median_dice": 0.5}})
    assert run(fresh(), tmp_path, minutes=1000.0, listeners=listeners) is True
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert heard == [1, 2, 3, 4, 5, 5]
    assert lines[-1] == {"step": 5, "validation": {"median_dice": 0.5}}


def test_boxes_are_those_that_the_clips_were_drawn_with_and_clicks_lie_inside() -> None:
    clips = fixed_clips(1)
    boxes = box_prompts(clips)
    assert boxes.points.tolist() == [[[18.0, 20.0], [42.0, 44.0]]] * 2
    assert boxes.labels.tolist() == [[2, 3]] * 2
    x, y = click_prompts([clips[0].masks[0]], np.random.default_rng(0)).points[0, 0].tolist()
    assert clips[0].masks[0][int(y), int(x)]


def test_a_correction_clicks_where_the_answer_is_wrong() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:20, 30:50] = True
    box = np.array([[30, 10], [49, 19]], np.float32)
    boxes = box_prompts([Clip(frames=np.zeros((1, 64, 64), np.uint8), masks=mask[None], box=box)])
    nothing, everything = torch.full((1, 1, 16, 16), -5.0), torch.full((1, 1, 16, 16), 50.0)
    missed = with_corrections(boxes, nothing, [mask], np.random.default_rng(0))
    assert missed.labels.tolist() == [[2, 3, 1]]
    excess = with_corrections(boxes, everything, [mask], np.random.default_rng(0))
    assert excess.labels.tolist() == [[2, 3, 0]]
    x, y = excess.points[0, 2].tolist()
    assert not mask[int(y), int(x)]
    assert excess.mask_logits is not None
    assert float(excess.mask_logits.max()) == 32.0


def test_a_perfect_answer_costs_next_to_nothing_and_an_absent_object_teaches_only_its_score() -> None:
    truth = torch.zeros(1, 64, 64)
    truth[:, 16:48, 16:48] = 1
    logits = torch.nn.functional.interpolate((truth * 60 - 30)[:, None], size=(16, 16)).expand(1, 4, 16, 16)
    perfect = Candidates(logits=logits, ious=torch.ones(1, 4), tokens=torch.zeros(1, 4, 8), object_score=torch.tensor([20.0]))
    assert float(candidates_loss(perfect, truth, LossWeights())) < 0.2
    absent = Candidates(logits=logits, ious=torch.ones(1, 4), tokens=torch.zeros(1, 4, 8), object_score=torch.tensor([-20.0]))
    assert float(candidates_loss(absent, torch.zeros(1, 64, 64), LossWeights())) < 1e-6


def test_focal_and_dice_have_their_published_values() -> None:
    logits, target = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    expected = np.log(2) * 0.25 * (0.25 + 3 * 0.75) / 4
    assert float(focal_loss(logits, target)) == pytest.approx(expected, rel=1e-5)
    assert float(dice_loss(logits, target)) == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1), rel=1e-5)


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    schedule = RateSchedule(warmup_steps=10, total_steps=110, floor=0.02)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(10) == pytest.approx(1.0)
    assert schedule.factor(110) == pytest.approx(0.02)


def test_the_image_encoder_learns_at_its_own_rate_and_biases_are_not_decayed() -> None:
    optimiser = make_optimiser(MedSAM2(TINY), RateSchedule(encoder_share=0.5, memory_share=2.0))
    kinds = {(group["share"], group["weight_decay"] > 0) for group in optimiser.param_groups}
    assert kinds == {(share, decayed) for share in (0.5, 1.0, 2.0) for decayed in (True, False)}


def test_the_head_start_makes_memory_attention_prefer_the_same_place() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, d_model=128, memory_dim=32)
    model = MedSAM2(config)
    look_at_the_same_place(model)
    attention = model.memory_attention.layers[0].cross_attn_image
    assert isinstance(attention, RotaryAttention)
    cells = config.feature_size**2
    with torch.no_grad():
        queries = attention.rotation(attention.q_proj(torch.randn(1, cells, 128)))
        keys = attention.rotation(attention.k_proj(torch.randn(1, cells, 32)))
    nearest = (queries @ keys.transpose(1, 2))[0].argmax(1)
    assert float((nearest == torch.arange(cells)).float().mean()) > 0.5, "one in sixteen by chance"
