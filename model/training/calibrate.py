"""The last step: where the object score parts present from absent, set on phantoms of the training seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from model.medsam2 import MedSAM2
from model.training.evaluate import score_phantom
from model.training.phantoms import Phantom

SHIFTS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Logits taken off the object score; a network that learnt mostly present objects believes in them for too long."""


def calibrate(model: MedSAM2, phantoms: Sequence[Phantom], shifts: Sequence[float] = SHIFTS) -> float:
    """Choose the shift of the object score with the highest mean Dice on `phantoms`, apply it in place, and return it."""
    dices: list[float] = []
    for shift in shifts:
        lower_object_score(model, shift)
        dices.append(float(np.mean([score.model for phantom in phantoms for score in score_phantom(model, phantom)])))
        lower_object_score(model, -shift)
    best = shifts[int(np.argmax(dices))]
    lower_object_score(model, best)
    return best


def lower_object_score(model: MedSAM2, shift: float) -> None:
    """Take `shift` off every object score logit, in place."""
    last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
    if isinstance(last, nn.Linear):
        with torch.no_grad():
            last.bias.sub_(shift)
