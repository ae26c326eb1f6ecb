"""The governor: how much fits a device's memory, and what is done when it turns out to be less.

A propagation that runs out of memory begins again in smaller batches, at last on the CPU: the answer comes later, but it comes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from model.config import PATCH_STRIDE, MedSAM2Config
from model.lockstep import Batch
from model.precision import Precision

LOG = logging.getLogger("medsam2d.model")
FRAMES_LIMIT, OBJECTS_LIMIT = 8, 32
SHARE_OF_FREE_MEMORY = 0.5
"""What one job plans to take; the rest is for fragments, libraries' workspaces and whoever shares the device."""

ENCODER_MAPS = 16
"""Maps of the trunk's finest level, `embed_dim` channels each, that live at once in its widest block."""

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how a propagation runs."""

    device: torch.device
    precision: Precision
    batch: Batch

    def __str__(self) -> str:
        """For people and records."""
        return f"{self.device}, {self.precision.value}, {self.batch}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a part of a propagation needs, in bytes."""

    frame: int  # encoded in a batch
    object: int  # tracked in a batch: its memories and the step's work


def estimate(config: MedSAM2Config, precision: Precision) -> Estimate:
    """The bytes that a network of these sizes needs for each frame and each object at once, above its weights."""
    size = precision.dtype.itemsize
    cells = config.feature_size**2
    tokens = config.num_maskmem * cells
    keys = config.memory_attention_layers * tokens * config.d_model * size  # remembered, and once more put together for the step
    scores = cells * tokens * 4
    fine = config.mask_size**2 * (config.d_model // 8) * size
    hidden = cells * config.memory_attention_feedforward * size
    return Estimate(
        frame=(config.image_size // PATCH_STRIDE) ** 2 * config.embed_dim * ENCODER_MAPS * size,
        object=2 * keys + scores + 8 * fine + 2 * hidden,
    )


def fitting_batch(device: torch.device, free_bytes: int, need: Estimate) -> Batch:
    """The batch that a device with `free_bytes` should try first; a CPU gains nothing from encoding several frames at once."""
    room = int(free_bytes * SHARE_OF_FREE_MEMORY)
    objects = max(1, min(OBJECTS_LIMIT, room // 2 // need.object))
    frames = 1 if device.type == "cpu" else max(1, min(FRAMES_LIMIT, room // 2 // need.frame))
    return Batch(frames=frames, objects=objects)


def free_memory(device: torch.device) -> int:
    """The bytes that a job may hope for on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def placements(first: Placement) -> Iterator[Placement]:
    """The first placement, then ever smaller batches on its device, and at last one object at a time on the CPU in float32."""
    yield first
    batch = first.batch
    while batch.frames > 1 or batch.objects > 1:
        batch = Batch(frames=max(1, batch.frames // 2), objects=max(1, batch.objects // 2))
        yield dataclasses.replace(first, batch=batch)
    if first.device.type != "cpu":
        yield Placement(device=torch.device("cpu"), precision=Precision.FLOAT32, batch=Batch(frames=1, objects=1))


def within_memory(first: Placement, attempt: Callable[[Placement], Result]) -> tuple[Result, Placement, tuple[str, ...]]:
    """Run `attempt` on the first placement that holds it; returns its result, that placement, and those that did not hold it.

    Raises MemoryError when not even the last one does.
    """
    failed: list[str] = []
    for placement in placements(first):
        try:
            return attempt(placement), placement, tuple(failed)
        except (torch.OutOfMemoryError, MemoryError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        # Out of the except block, so that the error's frames no longer hold the tensors that filled the memory.
        failed.append(str(placement))
        LOG.warning("out of memory with %s (%s); trying again with less", placement, reason)
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()
    raise MemoryError(f"segmentation: expected room for one object at a time, got none on {failed[-1]}; free memory or add some")
