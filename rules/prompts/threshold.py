"""Recipe `threshold`: connected regions of an intensity range, the largest ones first, each as a tight box.

Use it where the object is brighter or darker than what surrounds it: hot lesions in PET (SUV), bone, contrast-filled vessels,
air. The box stands on the component's slice of largest area, as MedSAM2's own boxes do (minimum and maximum pixel, inclusive).
Values are in the volume's unit (HU for CT). Padding outside the scanner's field never counts.

    prompt: {kind: threshold, low: 4, minimum_volume_ml: 1, n_largest: 5}                     # PET in SUV, fixed
    prompt: {kind: threshold, low: 2.5, share_of_peak: 0.41, minimum_volume_ml: 1, n_largest: 5}  # at 41 % of each peak
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dicom_io.geometry import kji_to_lps, voxel_volume_mm3
from dicom_io.volume import Volume
from rules.landmarks import find_region
from rules.peaks import peak_regions
from rules.prompts.extent import Extent, Share, extent_of_mask
from rules.prompts.key_slice import KeySlices
from rules.prompts.outcome import Found, NoneFound
from rules.prompts.region import object_of_region
from rules.scalars import Integer, Number, Section
from rules.voxel_regions import Mask, body, closed, component_labels, opened


class ThresholdRecipe(Section):
    """Components of the voxels from `low` to `high` (both included)."""

    kind: Literal["threshold"]
    low: Number | None = None
    high: Number | None = None
    share_of_peak: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Each region is what hangs together around a peak above this share of the peak's own value: 0.41 is usual for PET. `low` is
    then the least value of a peak, and regions may reach below it."""
    within: Literal["body"] | None = None
    """`body`: only inside the patient, the largest region above -400 HU with its holes filled slice by slice (CT)."""
    opening_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Radius: removes bridges and specks that are thinner than twice this."""
    closing_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Radius: closes gaps that are narrower than twice this; applied after the opening."""
    minimum_volume_ml: Annotated[Number, Field(ge=0)] = 0.0
    maximum_volume_ml: Annotated[Number, Field(gt=0)] | None = None
    right_to_left: Share | None = None
    """Where a region's centre must lie, as a part of the body's extent from the patient's right."""
    front_to_back: Share | None = None
    feet_to_head: Share | None = None
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
        if self.share_of_peak is not None and (self.low is None or self.low <= 0):
            raise ValueError(f"share_of_peak: expected low > 0, the least value of a peak, got {_bound(self.low)}")
        least, most = self.minimum_volume_ml, self.maximum_volume_ml
        if most is not None and least > most:
            raise ValueError(f"expected minimum_volume_ml <= maximum_volume_ml, got {least:g} and {most:g}")
        return self

    @property
    def shares(self) -> tuple[Share | None, Share | None, Share | None]:
        """The parts of the body's extent along x, y and z of LPS that a region's centre must lie in."""
        return self.right_to_left, self.front_to_back, self.feet_to_head


def find_boxes(recipe: ThresholdRecipe, volume: Volume) -> Found:
    """Return one object a component, the largest component first, or why there is none."""
    mask = _selected(recipe, volume)
    if not mask.any():
        return NoneFound(reason=f"no voxel from {_bound(recipe.low)} to {_bound(recipe.high)}{_place(recipe)}")
    labels = component_labels(mask) if recipe.share_of_peak is None else peak_regions(volume.voxels, mask, recipe.share_of_peak)
    fitting = _fitting(recipe, np.bincount(labels.ravel()).astype(np.float64) * voxel_volume_mm3(volume.affine) / 1000.0)
    if not fitting:
        volumes = f"from {recipe.minimum_volume_ml:g} to {_bound(recipe.maximum_volume_ml)} ml"
        return NoneFound(reason=f"no region from {_bound(recipe.low)} to {_bound(recipe.high)}{_place(recipe)} has a volume {volumes}")
    kept = _well_placed(recipe, labels, fitting, volume)[: recipe.n_largest]
    if not kept:
        return NoneFound(reason=f"none of {len(fitting)} regions has its centre in the asked part of the body")
    key_slices = KeySlices(margin_pixels=recipe.margin_pixels)
    return tuple(object_of_region(labels == label, volume, key_slices) for label in kept)


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


def _fitting(recipe: ThresholdRecipe, volumes_ml: NDArray[np.float64]) -> list[int]:
    """Return the labels whose volume is within the limits, the largest first."""
    volumes_ml[0] = -1.0  # the background
    maximum = np.inf if recipe.maximum_volume_ml is None else recipe.maximum_volume_ml
    fits = (volumes_ml >= recipe.minimum_volume_ml) & (volumes_ml <= maximum) & (volumes_ml > 0)
    # Equal volumes keep the order in which a scan of the volume meets them.
    order = np.argsort(-volumes_ml, kind="stable")
    return [int(label) for label in order if fits[label]]


def _well_placed(recipe: ThresholdRecipe, labels: NDArray[np.uint32], fitting: list[int], volume: Volume) -> list[int]:
    if not any(recipe.shares):
        return fitting
    region = find_region("body", volume)
    if region is None:
        return []
    extent = extent_of_mask(region.to_volume(volume), volume)
    return [label for label in fitting if _lies_in(recipe, extent, kji_to_lps(volume.affine, np.argwhere(labels == label).mean(axis=0)))]


def _lies_in(recipe: ThresholdRecipe, extent: Extent, centre: NDArray[np.float64]) -> bool:
    for share, along, place in zip(recipe.shares, extent.axes, centre, strict=True):
        low, high = (share or Share(minimum=-3, maximum=4)).of(along)
        if not low <= place <= high:
            return False
    return True


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _place(recipe: ThresholdRecipe) -> str:
    return " within the body" if recipe.within == "body" else ""
