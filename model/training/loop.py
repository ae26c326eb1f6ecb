"""The training loop: stages of clips, one optimiser, checkpoints from which a run goes on exactly, metrics as JSON lines."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.config import MedSAM2Config
from model.medsam2 import ImageFeatures, MedSAM2
from model.training.alignment import look_at_the_same_place
from model.training.clips import Clip, ClipOptions, draw_clips
from model.training.losses import LossWeights
from model.training.optimiser import RateSchedule, make_optimiser, set_rates, update_average
from model.training.unroll import PromptMix, blind_features, clips_loss, device_of, encode_clips
from model.training.volumes import Pool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training with one clip length."""

    steps: int
    length: int
    """Slices a clip; 1 trains without memory."""
    batch: int
    """Clips a forward pass."""
    accumulate: int = 1
    """Forward passes a step."""
    blind: bool = False
    """Give noise for features, to learn what prompts and memories say before any image is looked at."""
    frozen_encoder: bool = False
    """Leave the image encoder as it is: cheaper steps for the memory."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that decides a run, besides the volumes."""

    stages: tuple[Stage, ...]
    schedule: RateSchedule
    seed: int = 0
    clip_norm: float = 1.0
    average_decay: float = 0.998
    """Of the exponential average of the weights, a step."""
    mix: PromptMix = field(default_factory=PromptMix)
    clips: ClipOptions = field(default_factory=lambda: ClipOptions(length=1))
    """How clips are drawn; their length is the stage's."""
    losses: LossWeights = field(default_factory=LossWeights)
    bfloat16: bool = False
    """Compute in bfloat16 where that is safe (autocast)."""
    checkpoint_seconds: float = 180.0
    log_every: int = 20

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage | None:
        """The stage that `step` (from 0) belongs to; None when all are done."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return None


def new_model(config: MedSAM2Config, seed: int) -> MedSAM2:
    """A network from scratch, with the head start for its memory."""
    torch.manual_seed(seed)
    model = MedSAM2(config)
    look_at_the_same_place(model)
    return model


class Training:
    """A run in progress: model, average, optimiser, random generator and step, all saved and restored together."""

    def __init__(self, model: MedSAM2, plan: TrainingPlan, pool: Pool) -> None:
        self.plan = plan
        self.model = model.train()
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False).eval()
        self.optimiser = make_optimiser(self.model, plan.schedule)
        self.rng = np.random.default_rng(plan.seed)
        self.step = 0
        self._pool = pool

    def advance(self) -> float | None:
        """Take one optimiser step and return its loss; None when the plan is done."""
        stage = self.plan.stage_at(self.step)
        if stage is None:
            return None
        set_rates(self.optimiser, self.plan.schedule, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(stage.accumulate):
            kind = self.plan.mix.draw(self.rng)
            options = replace(self.plan.clips, length=stage.length, whole_frame=kind == "click")
            clips = draw_clips(self._pool, options, self.model.config, stage.batch, self.rng)
            with torch.autocast(device_of(self.model).type, torch.bfloat16, enabled=self.plan.bfloat16):
                encoded = self._encode(clips, stage)
                loss = clips_loss(self.model, encoded, clips, kind, self.plan.losses, self.rng) / stage.accumulate
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
        self.optimiser.step()
        update_average(self.average, self.model, self.step, self.plan.average_decay)
        self.step += 1
        return total

    def _encode(self, clips: Sequence[Clip], stage: Stage) -> ImageFeatures:
        if stage.blind:
            return blind_features(self.model, clips, self.rng)
        with torch.set_grad_enabled(not stage.frozen_encoder):
            return encode_clips(self.model, clips)

    def save(self, path: Path) -> None:
        """Write the whole state to `path`, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        torch.save(self._state(), partial)
        partial.replace(path)

    def restore(self, path: Path) -> None:
        """Take up the state in `path`; the next step is the one that an uninterrupted run would have taken."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.step = int(state["step"])

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "step": self.step,
            "config": self.model.config.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who hears of a run; each is called in the run's own thread."""

    logged: Callable[[dict[str, Any]], None] = lambda metrics: None
    """Metrics of the steps since the last call, as they stand in metrics.jsonl."""
    saved: Callable[[Training], dict[str, Any] | None] = lambda training: None
    """A checkpoint lies on disk; what is returned (a validation) goes to metrics.jsonl too."""


def run(
    training: Training,
    folder: Path,
    *,
    minutes: float,
    listeners: Listeners | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train until the plan is done (True) or `minutes` have passed (False), keeping `folder`/training.pt and metrics.jsonl current."""
    listeners = listeners or Listeners()
    folder.mkdir(parents=True, exist_ok=True)
    begun = saved = logged = clock()
    losses: list[float] = []
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:

        def write(metrics: dict[str, Any]) -> None:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            listeners.logged(metrics)

        def save() -> None:
            training.save(folder / "training.pt")
            heard = listeners.saved(training)
            if heard:
                write({"step": training.step, **heard})

        while (now := clock()) - begun < 60 * minutes:
            loss = training.advance()
            if loss is None:
                save()
                return True
            losses.append(loss)
            if training.step % training.plan.log_every == 0:
                write(_metrics(training, losses, (clock() - logged) / len(losses)))
                losses, logged = [], clock()
            if now - saved >= training.plan.checkpoint_seconds:
                save()
                saved = clock()
    save()
    return False


def _metrics(training: Training, losses: list[float], seconds: float) -> dict[str, Any]:
    stage = training.plan.stage_at(training.step - 1)
    return {
        "step": training.step,
        "steps": training.plan.steps,
        "loss": round(float(np.mean(losses)), 5),
        "rate": training.plan.schedule.peak * training.plan.schedule.factor(training.step - 1),
        "seconds_a_step": round(seconds, 3),
        "stage": asdict(stage) if stage else None,
    }
