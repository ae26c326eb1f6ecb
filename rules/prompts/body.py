"""Recipe `body`: landmarks that any body shows (the body, the lungs, bone, air inside), and places relative to them.

Use it where no annotation and no atlas is at hand: lungs are prompted as themselves; an organ with a usual place is prompted by
a box in fractions of the body's or the lungs' extent. Fractions run along the patient's own axes, so that they hold however
the patient lies and however the slices are cut: `right_to_left` from the patient's right, `front_to_back` from the chest's
side, `feet_to_head` from below. Lungs, bone and air need CT; the body is found in any modality.

    prompt: {kind: body, region: lungs}
    prompt: {kind: body, region: body, right_to_left: {minimum: 0.1, maximum: 0.5}, feet_to_head: {minimum: 0.4, maximum: 0.6}}
"""

from __future__ import annotations

from typing import Literal

from dicom_io.codes import LATERALITIES
from dicom_io.volume import Volume
from rules.landmarks import RegionName, find_region
from rules.prompts.extent import Share, extent_of_mask
from rules.prompts.key_slice import KeySlices
from rules.prompts.outcome import Found, FoundObject, NoneFound
from rules.prompts.region import object_of_part, object_of_region
from rules.scalars import Section


class BodyRecipe(Section):
    """A landmark as it is, or a box in fractions of its extent."""

    kind: Literal["body"]
    region: RegionName
    """`lungs` gives each lung as an object of its own; relative to them counts the extent of both together."""
    right_to_left: Share | None = None
    front_to_back: Share | None = None
    feet_to_head: Share | None = None
    key_slices: KeySlices = KeySlices()
    """Where the landmark itself is prompted; a box in fractions is prompted on the slice through its centre."""

    @property
    def shares(self) -> tuple[Share | None, Share | None, Share | None]:
        """The parts along x, y and z of LPS; all None where the landmark itself is meant."""
        return self.right_to_left, self.front_to_back, self.feet_to_head


def find_landmark(recipe: BodyRecipe, volume: Volume) -> Found:
    """Return the landmark's objects, or why there is none."""
    if recipe.region == "lungs" and not any(recipe.shares):
        return _each_lung(recipe, volume)
    region = find_region(recipe.region, volume)
    if region is None:
        return NoneFound(reason=f"no {recipe.region} found in the image")
    mask = region.to_volume(volume)
    if any(recipe.shares):
        return object_of_part(extent_of_mask(mask, volume), recipe.shares, volume)
    side = recipe.region.removesuffix("-lung")
    return (object_of_region(mask, volume, recipe.key_slices, laterality=LATERALITIES.get(side)),)


def _each_lung(recipe: BodyRecipe, volume: Volume) -> Found:
    """A lung that is not found (collapsed, removed, outside of the image) leaves the other one."""
    found: list[FoundObject] = []
    for side in ("left", "right"):
        region = find_region("left-lung" if side == "left" else "right-lung", volume)
        if region is not None:
            mask = region.to_volume(volume)
            found.append(object_of_region(mask, volume, recipe.key_slices, name=side, laterality=LATERALITIES[side]))
    return tuple(found) or NoneFound(reason="no lungs found in the image")
