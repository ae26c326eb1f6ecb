"""The SAM 2 training loss: focal, dice, IoU and object score, the best multimask output being taught (Ravi et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.mask_decoder import Candidates


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Shares of the parts."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    object_score: float = 1.0
    others: float = 1.0
    """Share of the mean over all multimask outputs beside the best one: in a short run each of them must learn to track."""


def candidates_loss(candidates: Candidates, truth: Tensor, weights: LossWeights) -> Tensor:
    """The mean loss of B objects on one frame, a scalar.

    truth (B, S, S) float32 of 0 and 1. Where the object is absent only the object score is taught. Mask 0 is always taught; of the
    multimask outputs the one that fits best and, by their share, all, so that tracking and the stability switch rely on taught masks.
    """
    logits = functional.interpolate(candidates.logits.float(), size=truth.shape[-2:], mode="bilinear", align_corners=False)  # (B, 4, S, S)
    target = truth[:, None].expand_as(logits)
    present = truth.flatten(1).any(1)  # (B,)
    mask_part = weights.focal * focal_loss(logits, target) + weights.dice * dice_loss(logits, target)  # (B, 4)
    iou_part = weights.iou * (candidates.ious.float() - actual_iou(logits, target)).abs()  # (B, 4)
    several = mask_part[:, 1:]
    taught = mask_part[:, 0] + several.min(1).values + weights.others * several.mean(1)
    masks = ((taught + iou_part.mean(1)) * present).sum() / present.sum().clamp(min=1)
    score = functional.binary_cross_entropy_with_logits(candidates.object_score.float(), present.float())
    return masks + weights.object_score * score


def focal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Lin et al. 2017, mean over the pixels: (..., H, W) -> (...,)."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    miss = probability * (1 - target) + (1 - probability) * target
    balance = alpha * target + (1 - alpha) * (1 - target)
    return (balance * miss**gamma * cross_entropy).flatten(-2).mean(-1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of Milletari et al. 2016, smoothed by one pixel: (..., H, W) -> (...,)."""
    probability, target = logits.sigmoid().flatten(-2), target.flatten(-2)
    overlap = 2 * (probability * target).sum(-1)
    return 1 - (overlap + 1) / (probability.sum(-1) + target.sum(-1) + 1)


def actual_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks, without gradient: (..., H, W) -> (...,)."""
    with torch.no_grad():
        mask, truth = (logits > 0).flatten(-2), (target > 0.5).flatten(-2)
        return (mask & truth).sum(-1) / (mask | truth).sum(-1).clamp(min=1)
