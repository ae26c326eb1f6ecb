"""Recipe `relative`: a place said by another target of the same rule, along the patient's own axes.

Use it where one thing is found well and the other lies at a usual place beside it: the spleen behind and left of the stomach, a
margin around a lesion, the heart between the lungs. What counts is where the other target was prompted (its region, where its
recipe found one, else the boxes themselves), not its mask: prompts of all targets are known before any of them is segmented,
and a bad mask spoils no second target.

    prompt: {kind: relative, to: Lungs, right_to_left: {minimum: 0.35, maximum: 0.8}, feet_to_head: {maximum: 0.4}}
    prompt: {kind: relative, to: Lesion, feet_to_head: {minimum_mm: -20, maximum_mm: 20}}

Several objects of the other target give one object each.
"""

from __future__ import annotations

from typing import Literal

from dicom_io.volume import Volume
from rules.prompts.extent import Share, extent_of_prompts
from rules.prompts.outcome import Found, FoundObject, NoneFound
from rules.prompts.region import object_of_part
from rules.scalars import Section, Text


class RelativeRecipe(Section):
    """A part of another target's extent, or a place beyond it; the slice through its centre is prompted."""

    kind: Literal["relative"]
    to: Text
    """Label of a target that stands before this one in the same rule."""
    right_to_left: Share | None = None
    front_to_back: Share | None = None
    feet_to_head: Share | None = None


def find_relative(recipe: RelativeRecipe, volume: Volume, other: Found) -> Found:
    """Return one object for each of the other target's, or why there is none."""
    if isinstance(other, NoneFound):
        return NoneFound(reason=f"nothing to measure from: target {recipe.to!r} was not found")
    parts = [_beside(recipe, volume, one) for one in other]
    found = tuple(one for part in parts if not isinstance(part, NoneFound) for one in part)
    return found or next(part for part in parts if isinstance(part, NoneFound))


def _beside(recipe: RelativeRecipe, volume: Volume, other: FoundObject) -> Found:
    extent = other.extent or extent_of_prompts(other.prompts, volume)
    return object_of_part(extent, (recipe.right_to_left, recipe.front_to_back, recipe.feet_to_head), volume, name=other.name)
