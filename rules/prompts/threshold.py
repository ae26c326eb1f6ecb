"""Recipe `threshold`: connected regions of an intensity range, the largest ones first, each as a tight box.

Use it where the object is brighter or darker than what surrounds it: hot lesions in PET (SUV), bone, contrast-filled vessels,
air. The box stands on the component's slice of largest area, as MedSAM2's own boxes do (minimum and maximum pixel, inclusive).
Values are in the volume's unit (HU for CT). Padding outside the scanner's field never counts.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from dicom_io.geometry import voxel_volume_mm3
from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.prompts.key_slice import tight_box
from rules.prompts.outcome import NoneFound
from rules.scalars import Integer, Number, Section
from rules.voxel_regions import Labels, Mask, body, closed, component_labels, opened


class ThresholdRecipe(Section):
    """Components of the voxels from `low` to `high` (both included)."""

    kind: Literal["threshold"]
    low: Number | None = None
    high: Number | None = None
    within: Literal["body"] | None = None
    """`body`: only inside the patient, the largest region above -400 HU with its holes filled slice by slice (CT)."""
    opening_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Radius: removes bridges and specks that are thinner than twice this."""
    closing_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Radius: closes gaps that are narrower than twice this; applied after the opening."""
    minimum_volume_ml: Annotated[Number, Field(ge=0)] = 0.0
    maximum_volume_ml: Annotated[Number, Field(gt=0)] | None = None
    n_largest: Annotated[Integer, Field(ge=1, le=100)] = 1
    """How many components become an object each."""
    margin_pixels: Annotated[Integer, Field(ge=0, le=200)] = 0
    """Added to the box on every side."""

    @model_validator(mode="after")
    def _bounded(self) -> ThresholdRecipe:
        if self.low is None and self.high is None:
            raise ValueError("expected low, high or both, got neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low <= high, got {self.low:g} and {self.high:g}")
        least, most = self.minimum_volume_ml, self.maximum_volume_ml
        if most is not None and least > most:
            raise ValueError(f"expected minimum_volume_ml <= maximum_volume_ml, got {least:g} and {most:g}")
        return self


def find_boxes(recipe: ThresholdRecipe, volume: Volume) -> tuple[BoxPrompt, ...] | NoneFound:
    """Return one box a component, the largest component first, or why there is none."""
    mask = _selected(recipe, volume)
    if not mask.any():
        return NoneFound(reason=f"no voxel from {_bound(recipe.low)} to {_bound(recipe.high)}{_place(recipe)}")
    labels = component_labels(mask)
    kept = _kept(recipe, labels, voxel_volume_mm3(volume.affine) / 1000.0)
    if not kept:
        volumes = f"from {recipe.minimum_volume_ml:g} to {_bound(recipe.maximum_volume_ml)} ml"
        return NoneFound(reason=f"no region from {_bound(recipe.low)} to {_bound(recipe.high)}{_place(recipe)} has a volume {volumes}")
    return tuple(_box(labels, label, recipe.margin_pixels) for label in kept)


def _selected(recipe: ThresholdRecipe, volume: Volume) -> Mask:
    voxels = volume.voxels
    low = -np.inf if recipe.low is None else recipe.low
    high = np.inf if recipe.high is None else recipe.high
    mask = (voxels >= low) & (voxels <= high)
    if volume.padding is not None:
        mask &= ~volume.padding
    if recipe.within == "body":
        mask &= body(volume)
    if recipe.opening_mm > 0:
        mask = opened(mask, recipe.opening_mm, volume.spacing_mm)
    if recipe.closing_mm > 0:
        mask = closed(mask, recipe.closing_mm, volume.spacing_mm)
    return mask


def _kept(recipe: ThresholdRecipe, labels: Labels, voxel_ml: float) -> list[int]:
    volumes_ml = np.bincount(labels.ravel()) * voxel_ml
    volumes_ml[0] = -1.0  # the background
    maximum = np.inf if recipe.maximum_volume_ml is None else recipe.maximum_volume_ml
    fits = (volumes_ml >= recipe.minimum_volume_ml) & (volumes_ml <= maximum) & (volumes_ml > 0)
    # Equal volumes keep the order in which a scan of the volume meets them.
    order = np.argsort(-volumes_ml, kind="stable")
    return [int(label) for label in order if fits[label]][: recipe.n_largest]


def _box(labels: Labels, label: int, margin: int) -> BoxPrompt:
    component = labels == label
    frame = int(np.argmax(component.sum(axis=(1, 2))))
    return tight_box(component[frame], frame, margin)


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _place(recipe: ThresholdRecipe) -> str:
    return " within the body" if recipe.within == "body" else ""
