"""3-D Dice on held-out phantoms: one exact box on one slice of each organ, propagated as in service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.medsam2 import MedSAM2
from model.preprocess import window_to_uint8
from model.prompt import BoxPrompt
from model.segmenter import Segmenter
from model.training.bank import ABDOMEN_WINDOW_HU
from model.training.baselines import box_of, extruded_box, threshold_in_body, threshold_in_box
from model.training.overlap import dice
from model.training.phantoms import Phantom, prompt_frame


@dataclass(frozen=True, kw_only=True)
class OrganScore:
    """Dice of one organ of one phantom."""

    name: str
    model: float
    """The model's, through all slices."""
    prompted_slice: float
    """The model's on the prompted slice alone."""
    extruded_box: float
    threshold_in_body: float
    threshold_in_box: float


def box_prompt(mask: NDArray[np.bool_], object_id: int) -> BoxPrompt:
    """The exact box of `mask` (k, j, i) on its largest slice."""
    frame = prompt_frame(mask)
    left, top, right, bottom = box_of(mask[frame])
    return BoxPrompt(frame=frame, left=left, top=top, right=right, bottom=bottom, object_id=object_id)


def score_phantom(model: MedSAM2, phantom: Phantom) -> list[OrganScore]:
    """Segment every organ of `phantom` from its box and compare with the truth; leaves the model in evaluation mode."""
    frames = window_to_uint8(phantom.voxels_hu, *ABDOMEN_WINDOW_HU)
    prompts = [box_prompt(mask, object_id) for object_id, mask in enumerate(phantom.masks.values(), start=1)]
    result = Segmenter(model, "cpu", "training").segment(frames, prompts)
    scores = []
    for (name, truth), prompt, found in zip(phantom.masks.items(), prompts, result.objects, strict=True):
        frame = prompt.frame
        scores.append(
            OrganScore(
                name=name,
                model=dice(found.mask, truth),
                prompted_slice=dice(found.mask[frame], truth[frame]),
                extruded_box=dice(extruded_box(truth, frame), truth),
                threshold_in_body=dice(threshold_in_body(phantom.voxels_hu, truth, frame), truth),
                threshold_in_box=dice(threshold_in_box(phantom.voxels_hu, truth, frame), truth),
            )
        )
    return scores


def summary(scores: Sequence[OrganScore]) -> dict[str, float]:
    """Mean and lowest Dice of the model and the highest of each baseline."""
    return {
        "mean": round(float(np.mean([score.model for score in scores])), 4),
        "lowest": round(min(score.model for score in scores), 4),
        "mean_prompted_slice": round(float(np.mean([score.prompted_slice for score in scores])), 4),
        "highest_extruded_box": round(max(score.extruded_box for score in scores), 4),
        "highest_threshold_in_body": round(max(score.threshold_in_body for score in scores), 4),
        "highest_threshold_in_box": round(max(score.threshold_in_box for score in scores), 4),
    }
