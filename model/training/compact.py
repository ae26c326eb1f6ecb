"""The compact MedSAM2 that the starter weights have, and the plan that trains it."""

from __future__ import annotations

from model.config import MedSAM2Config
from model.training.loop import Stage, TrainingPlan
from model.training.losses import LossWeights
from model.training.optimiser import RateSchedule

BANK_SHAPE = (32, 128, 128)
"""(k, j, i) of the training phantoms: made at the network's image size, so that resizing is the identity."""

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
)


STAGES = (
    Stage(steps=800, length=1, batch=16, blind=True),
    Stage(steps=400, length=4, batch=6, blind=True),
    Stage(steps=2000, length=1, batch=16),
    Stage(steps=800, length=3, batch=16, frozen_encoder=True),
    Stage(steps=1600, length=4, batch=12),
    Stage(steps=400, length=8, batch=6),
)
"""Where prompts and memories point, without images; single slices; the memory alone; everything; long clips."""


def compact_plan() -> TrainingPlan:
    """The stages under one cosine, about two hours on two quiet CPU cores."""
    schedule = RateSchedule(peak=1e-3, total_steps=sum(stage.steps for stage in STAGES))
    return TrainingPlan(stages=STAGES, schedule=schedule, losses=LossWeights(object_score=8.0))
