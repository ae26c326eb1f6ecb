"""AdamW with rates for image encoder, memory and the rest, warm-up and cosine decay, and an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ENCODER_PREFIX = "image_encoder."
MEMORY_PREFIXES = ("memory_", "maskmem_", "mask_downsample", "obj_ptr", "no_obj", "no_mem")


@dataclass(frozen=True, kw_only=True)
class RateSchedule:
    """Learning rates as a function of the step alone, so that a resumed run sees the same ones."""

    peak: float = 6e-4
    encoder_share: float = 1.0
    """Rate of the image encoder relative to the rest: 1 from scratch, less when it was trained before."""
    memory_share: float = 2.0
    """Rate of memory attention, memory encoder and object pointers relative to the rest: they see fewer examples."""
    warmup_steps: int = 200
    total_steps: int = 6000
    floor: float = 0.02
    """Share of the peak that the last step still has."""

    def factor(self, step: int) -> float:
        """Share of the peak at `step`, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(model: nn.Module, schedule: RateSchedule, weight_decay: float = 0.05) -> torch.optim.AdamW:
    """AdamW with a group for each rate and for decayed (matrices) and undecayed (biases, norms, embeddings) parameters."""
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        decayed = parameter.ndim >= 2 and "embed" not in name and "tpos_enc" not in name and "token" not in name
        groups.setdefault((_share(name, schedule), decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "share": share, "weight_decay": weight_decay if decayed else 0.0}
            for (share, decayed), parameters in groups.items()
        ],
        lr=schedule.peak,
        betas=(0.9, 0.99),
    )


def set_rates(optimiser: torch.optim.Optimizer, schedule: RateSchedule, step: int) -> None:
    """Give every group its rate for `step`."""
    for group in optimiser.param_groups:
        group["lr"] = schedule.peak * schedule.factor(step) * group["share"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float = 0.998) -> None:
    """Move the exponential average towards the model; it follows faster during the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    for kept, current in _pairs(average, model):
        kept.lerp_(current, 1 - decay)


def _share(name: str, schedule: RateSchedule) -> float:
    if name.startswith(ENCODER_PREFIX):
        return schedule.encoder_share
    return schedule.memory_share if name.startswith(MEMORY_PREFIXES) else 1.0


def _pairs(average: nn.Module, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(average.parameters(), model.parameters(), strict=True)
