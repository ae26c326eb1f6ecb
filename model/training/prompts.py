"""Simulated prompts for training: boxes, clicks, and clicks that correct an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.medsam2 import DecoderPrompts
from model.prompt_encoder import LABEL_BOX_BOTTOM_RIGHT, LABEL_BOX_TOP_LEFT, LABEL_NEGATIVE, LABEL_POSITIVE
from model.training.clips import Clip

Masks = Sequence[NDArray[np.bool_]]
"""One (row, column) bool mask a clip, at the network's image size."""


def box_prompts(clips: Sequence[Clip]) -> DecoderPrompts:
    """The box that each clip was drawn with."""
    return _prompts([clip.box for clip in clips], [[LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT]] * len(clips))


def click_prompts(masks: Masks, rng: np.random.Generator) -> DecoderPrompts:
    """One positive click inside each mask."""
    points = [_pixel_of(mask, rng)[None] for mask in masks]
    return _prompts(points, [[LABEL_POSITIVE]] * len(points))


def with_corrections(prompts: DecoderPrompts, answer: torch.Tensor, masks: Masks, rng: np.random.Generator) -> DecoderPrompts:
    """`prompts` with one click in each answer's error region, and the answer fed back as inference does.

    answer (B, 1, S/4, S/4) low-resolution logits. An answer without error gets a positive click inside the mask.
    """
    size = masks[0].shape
    full = torch.nn.functional.interpolate(answer.detach().float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    points, labels = [], []
    for predicted, mask in zip((full > 0).cpu().numpy(), masks, strict=True):
        missed, excess = mask & ~predicted, predicted & ~mask
        negative = rng.random() * (missed.sum() + excess.sum()) < excess.sum()
        region = excess if negative else missed
        points.append(_pixel_of(region if region.any() else mask, rng)[None])
        labels.append([LABEL_NEGATIVE if negative else LABEL_POSITIVE])
    clicks = _prompts(points, labels)
    return DecoderPrompts(
        points=torch.cat((prompts.points.cpu(), clicks.points), dim=1),
        labels=torch.cat((prompts.labels.cpu(), clicks.labels), dim=1),
        mask_logits=answer.detach().float().clamp(-32, 32),
    )


def _pixel_of(region: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """A random (x, y) of a region that is not empty."""
    rows, columns = np.nonzero(region)
    chosen = int(rng.integers(rows.size))
    return np.array([columns[chosen], rows[chosen]], dtype=np.float64)


def _prompts(points: Sequence[NDArray[np.floating]], labels: Sequence[Sequence[int]]) -> DecoderPrompts:
    return DecoderPrompts(points=torch.from_numpy(np.stack(points).astype(np.float32)), labels=torch.tensor(labels, dtype=torch.int64))
