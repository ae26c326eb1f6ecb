"""What the model's benchmark runs on where nothing real is given: a network of the official size from a seed, and a volume with blobs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from model.prompt import BoxPrompt

PRESENT_LOGIT = 10.0


def synthetic_network(seed: int = 0, config: MedSAM2Config | None = None) -> MedSAM2:
    """Random weights; every object is present on every slice, so that no direction stops early."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MedSAM2(config or MedSAM2Config())
    last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
    torch.nn.init.zeros_(last.get_parameter("weight"))
    torch.nn.init.constant_(last.get_parameter("bias"), PRESENT_LOGIT)
    return model.eval()


def synthetic_volume(slices: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise with a bright disc that wanders from slice to slice: (t, row, column) uint8."""
    rng = np.random.default_rng(seed)
    row, column = np.ogrid[:side, :side]
    frames = np.empty((slices, side, side), np.uint8)
    for k in range(slices):
        angle = 2 * np.pi * k / 60
        y, x = side * (0.5 + 0.1 * np.sin(angle)), side * (0.5 + 0.1 * np.cos(angle))
        disc = (row - y) ** 2 + (column - x) ** 2 < (side / 6) ** 2
        frames[k] = np.where(disc, 180, 70) + rng.integers(-20, 20, (side, side))
    return frames


def boxes(objects: int, slices: int, side: int) -> tuple[BoxPrompt, ...]:
    """One box an object: in the middle of the volume for one, spread over it for several."""
    places = [slices * (2 * number + 1) // (2 * objects) for number in range(objects)]
    return tuple(
        BoxPrompt(frame=k, left=side * 0.3, top=side * 0.3, right=side * 0.7, bottom=side * (0.5 + 0.04 * number), object_id=number + 1)
        for number, k in enumerate(places)
    )
