"""Hole filling: small gaps in a mask's logits become foreground."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FILLED_LOGIT = 0.1


def fill_holes(logits: Tensor, area: int) -> Tensor:
    """Give FILLED_LOGIT to every 8-connected component of logits <= 0 with at most `area` pixels: (B, 1, H, W) -> (B, 1, H, W)."""
    if area == 0:
        return logits
    return torch.where(_small_components(logits <= 0, area), FILLED_LOGIT, logits)


def _small_components(background: Tensor, area: int) -> Tensor:
    """The pixels of `background` (B, 1, H, W) bool in components of at most `area` pixels.

    A label spreads `area` steps, hence through the whole of any component that is small enough; labels that could spread further
    belong to larger ones.
    """
    _, _, height, width = background.shape
    own = torch.arange(1, height * width + 1, device=background.device, dtype=torch.float32).view(1, 1, height, width)
    labels = torch.where(background, own, 0.0)
    for _ in range(area):
        labels = _spread(labels, background)
    unsettled = (_spread(labels, background) != labels).flatten(1)
    flat = labels.flatten(1).long()  # (B, H * W), 0 = foreground
    counts = torch.zeros(len(flat), height * width + 1, device=flat.device)
    size = counts.scatter_add(1, flat, torch.ones_like(flat, dtype=counts.dtype)).gather(1, flat)
    open_ended = counts.scatter_add(1, flat, unsettled.to(counts.dtype)).gather(1, flat) > 0
    small = (size <= area) & ~open_ended & (flat > 0)
    return small.view_as(background)


def _spread(labels: Tensor, background: Tensor) -> Tensor:
    return torch.where(background, functional.max_pool2d(labels, kernel_size=3, stride=1, padding=1), 0.0)
