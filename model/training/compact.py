"""The compact MedSAM2 that the starter weights have, and the plans that train it and that fine-tune any other."""

from __future__ import annotations

from dataclasses import replace

from model.config import MedSAM2Config
from model.training.clips import ClipOptions
from model.training.loop import Stage, TrainingPlan
from model.training.optimiser import RateSchedule

BANK_SHAPE = (32, 128, 128)
"""(k, j, i) of the training phantoms."""

COMPACT = MedSAM2Config(
    image_size=128,
    embed_dim=32,
    stages=(1, 2, 4, 2),
    windows=(8, 8, 8, 4),
    global_attention_blocks=(4, 5),
    d_model=128,
    memory_dim=32,
    memory_attention_layers=2,
    memory_attention_feedforward=512,
    decoder_heads=8,
    decoder_feedforward=512,
    region_scale=2.25,
)

FROM_SCRATCH = (
    (0.13, Stage(steps=1, length=1, batch=16, blind=True)),
    (0.07, Stage(steps=1, length=4, batch=6, blind=True)),
    (0.33, Stage(steps=1, length=1, batch=16)),
    (0.13, Stage(steps=1, length=3, batch=16, frozen_encoder=True)),
    (0.27, Stage(steps=1, length=4, batch=12)),
    (0.07, Stage(steps=1, length=8, batch=6)),
)
"""Share of the steps, and the stage: where prompts and memories point, without images; single slices; memory alone; all; long clips."""

SCRATCH_RATE, COMPACT_RATE, OFFICIAL_RATE = 1e-3, 3e-4, 5e-5
"""Peak learning rates: from scratch, for trained compact weights, and for weights of the official shape."""
OFFICIAL_ENCODER_SHARE = 0.6
"""Rate of a well trained image encoder relative to the rest."""


def plan_from_scratch(steps: int, *, rate: float = SCRATCH_RATE, seed: int = 0) -> TrainingPlan:
    """The stages that teach a compact network everything, in `steps` steps under one cosine."""
    stages = tuple(replace(stage, steps=max(1, round(share * steps))) for share, stage in FROM_SCRATCH)
    total = sum(stage.steps for stage in stages)
    schedule = RateSchedule(peak=rate, memory_share=2.0, warmup_steps=max(1, min(200, total // 10)), total_steps=total)
    return TrainingPlan(stages=stages, schedule=schedule, seed=seed)


def plan_of_fine_tuning(stage: Stage, *, rate: float, encoder_share: float = 1.0, seed: int = 0) -> TrainingPlan:
    """One stage of clips for weights that are trained already; the image encoder learns at its own rate."""
    schedule = RateSchedule(
        peak=rate,
        encoder_share=encoder_share,
        memory_share=1.0,
        warmup_steps=max(1, min(100, stage.steps // 10)),
        total_steps=stage.steps,
    )
    return TrainingPlan(stages=(stage,), schedule=schedule, clips=ClipOptions(length=stage.length), seed=seed)
