"""The choice of one mask among the decoder's candidates, and what is known about it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from model.mask_decoder import Candidates

ABSENT_LOGIT = -1024.0  # mask logit everywhere when the object is judged absent
STABILITY_DELTA = 0.05  # logits
STABILITY_THRESHOLD = 0.98


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedMasks:
    """One mask for each of B objects on a frame, with the candidates that it was chosen from."""

    logits: Tensor  # (B, 1, S/4, S/4) float32 of the chosen mask, ABSENT_LOGIT where the object is absent
    iou: Tensor  # (B,) predicted IoU of the chosen mask
    stability: Tensor  # (B,) stability score of the chosen mask
    object_score: Tensor  # (B,) logit, present where > 0
    pointer: Tensor  # (B, d) object pointer
    candidates: Candidates  # every mask, before the choice and whether present or not: what training supervises


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenMask:
    """A choice whose object pointer is still to be projected from its token."""

    logits: Tensor
    iou: Tensor
    stability: Tensor
    pointer_token: Tensor  # (B, d)
    candidates: Candidates

    def with_pointer(self, pointer: Tensor) -> DecodedMasks:
        """Close the choice with the object pointer (B, d)."""
        return DecodedMasks(
            logits=self.logits,
            iou=self.iou,
            stability=self.stability,
            object_score=self.candidates.object_score,
            pointer=pointer,
            candidates=self.candidates,
        )


def choose_mask(candidates: Candidates, *, multimask: bool, fall_back: bool) -> ChosenMask:
    """Choose the best of masks 1..3 by predicted IoU (multimask), else mask 0.

    With `fall_back`, an unstable mask 0 gives way to the best of masks 1..3; the pointer then still comes from token 0.
    """
    stability = stability_score(candidates.logits)  # (B, 4)
    best = 1 + candidates.ious[:, 1:].argmax(1)  # (B,)
    single = torch.zeros_like(best)
    pointer_index = best if multimask else single
    unstable = stability[:, 0] < STABILITY_THRESHOLD
    index = torch.where(unstable, best, single) if fall_back and not multimask else pointer_index
    rows = torch.arange(len(index), device=index.device)
    present = (candidates.object_score > 0)[:, None, None, None]
    logits = candidates.logits[rows, index][:, None].float()
    return ChosenMask(
        logits=torch.where(present, logits, torch.full_like(logits, ABSENT_LOGIT)),
        iou=candidates.ious[rows, index],
        stability=stability[rows, index],
        pointer_token=candidates.tokens[rows, pointer_index],
        candidates=candidates,
    )


def stability_score(logits: Tensor) -> Tensor:
    """Share of pixels above +delta among those above -delta, 1 where there is none: (..., H, W) -> (...,)."""
    inner = (logits > STABILITY_DELTA).flatten(-2).sum(-1).float()
    outer = (logits > -STABILITY_DELTA).flatten(-2).sum(-1).float()
    return torch.where(outer > 0, inner / outer.clamp(min=1), torch.ones_like(outer))
