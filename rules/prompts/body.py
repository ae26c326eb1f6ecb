"""Recipe `body`: landmarks that any body shows (the body, the lungs, bone, air inside), and places relative to them.

Use it where no annotation and no atlas is at hand: lungs are prompted as themselves; an organ with a usual place is prompted by
a box in fractions of the body's or the lungs' extent. Fractions run along the patient's own axes, so that they hold however
the patient lies and however the slices are cut: `right_to_left` from the patient's right, `front_to_back` from the chest's
side, `feet_to_head` from below. Lungs, bone and air need CT; the body is found in any modality.

    prompt: {kind: body, region: left-lung}
    prompt: {kind: body, region: body, right_to_left: {minimum: 0.1, maximum: 0.5}, feet_to_head: {minimum: 0.4, maximum: 0.6}}
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dicom_io.geometry import kji_to_lps
from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.landmarks import RegionName, find_region
from rules.prompts.box import MillimetreBox, Span, find_box
from rules.prompts.key_slice import KeySlices, region_boxes
from rules.prompts.outcome import NoneFound
from rules.scalars import Number, Section


class Share(Section):
    """A part of an extent: 0 is its beginning, 1 its end; beyond them lies outside the region."""

    minimum: Annotated[Number, Field(ge=-1, le=2)] = 0.0
    maximum: Annotated[Number, Field(ge=-1, le=2)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Share:
        if self.minimum >= self.maximum:
            raise ValueError(f"expected minimum < maximum, got {self.minimum:g} and {self.maximum:g}")
        return self


class BodyRecipe(Section):
    """A landmark as it is, or a box in fractions of its extent."""

    kind: Literal["body"]
    region: RegionName
    right_to_left: Share | None = None
    front_to_back: Share | None = None
    feet_to_head: Share | None = None
    key_slices: KeySlices = KeySlices()
    """Where the landmark itself is prompted; a box in fractions is prompted on the slice through its centre."""

    @property
    def is_relative(self) -> bool:
        """Whether a part of the landmark's extent is meant rather than the landmark."""
        return any(share is not None for share in (self.right_to_left, self.front_to_back, self.feet_to_head))


def find_landmark(recipe: BodyRecipe, volume: Volume) -> tuple[BoxPrompt, ...] | NoneFound:
    """Return the boxes of one object, or why there is none."""
    region = find_region(recipe.region, volume)
    if region is None:
        return NoneFound(reason=f"no {recipe.region} found in the image")
    mask = region.to_volume(volume)
    if not recipe.is_relative:
        return region_boxes(mask, volume.voxels, recipe.key_slices)
    box = find_box(_cuboid(recipe, _extent_mm(mask, volume)), volume)
    return box if isinstance(box, NoneFound) else (box,)


def _extent_mm(mask: NDArray[np.bool_], volume: Volume) -> NDArray[np.float64]:
    """Return the least and the greatest LPS millimetre of a region along x, y, z, to its voxels' outer edges: shape (2, 3)."""
    along = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    corners = np.array(np.meshgrid(*[(at[0] - 0.5, at[-1] + 0.5) for at in along], indexing="ij"), np.float64).reshape(3, -1).T
    points = kji_to_lps(volume.affine, corners)
    return np.array([points.min(axis=0), points.max(axis=0)])


def _cuboid(recipe: BodyRecipe, extent: NDArray[np.float64]) -> MillimetreBox:
    shares = [share or Share() for share in (recipe.right_to_left, recipe.front_to_back, recipe.feet_to_head)]
    spans = [_span(share, *extent[:, axis]) for axis, share in enumerate(shares)]
    return MillimetreBox(kind="box", unit="millimetre", x_mm=spans[0], y_mm=spans[1], z_mm=spans[2])


def _span(share: Share, low: float, high: float) -> Span:
    # LPS: x grows to the patient's left, y to the back, z to the head.
    return Span(minimum=low + share.minimum * (high - low), maximum=low + share.maximum * (high - low))
