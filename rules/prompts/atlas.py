"""Recipe `atlas`: where a structure lies in one or several atlases of the body part, carried over by registration.

Use it for organs that no threshold tells from their neighbours. Each atlas (`medsam2d atlas build`) is aligned with the series by
an affine map and bends (10 to 40 s of one CPU core each); what most atlases call the structure is prompted. Several atlases
say how sure that is: where they disagree by more than `minimum_agreement` allows, it is *none found*. One atlas cannot disagree
with itself: then the quality limits alone stand between a bad map and the PACS. The atlas and the series must show the same body part
in the same modality.

    prompt: {kind: atlas, files: [abdomen-1.npz]}
    prompt: {kind: atlas, files: [abdomen-1.npz, abdomen-2.npz, abdomen-3.npz], structure: liver, minimum_agreement: 0.6}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from dicom_io.codes import Code
from dicom_io.volume import Volume
from rules.atlas import Atlas
from rules.prompts.aligned import Alignments, aligned
from rules.prompts.key_slice import KeySlices
from rules.prompts.outcome import Found, NoneFound
from rules.prompts.region import PromptForm, object_of_region
from rules.registration import carry_mask
from rules.scalars import Flag, Number, Section, Text
from rules.voxel_regions import Mask, largest_component, widened


class AtlasRecipe(Section):
    """A structure of atlases, by label or by the target's type."""

    kind: Literal["atlas"]
    files: Annotated[tuple[Text, ...], Field(min_length=1, max_length=9)]
    """Atlas files; a relative path starts at the rule file's folder."""
    structure: Text | None = None
    """Its label in the atlases; absent: the structure of the target's type."""
    deformable: Flag = True
    """Bend the atlas after the affine map."""
    minimum_agreement: Annotated[Number, Field(ge=0, le=1)] = 0.5
    """Least median Dice between each atlas and what most of them say; for one atlas there is nothing to compare."""
    margin_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """The region is widened by this on every side before it is boxed."""
    prompt_as: PromptForm = "box"
    key_slices: KeySlices = KeySlices()

    @model_validator(mode="after")
    def _distinct(self) -> AtlasRecipe:
        if len(set(self.files)) != len(self.files):
            raise ValueError("files: expected each atlas once, since one that is named twice always agrees with itself")
        return self


def find_by_atlas(recipe: AtlasRecipe, type_: Code, volume: Volume, atlases: Mapping[str, Atlas], alignments: Alignments) -> Found:
    """Return the structure's object, or why there is none; `atlases` holds those that the recipe names.

    `alignments` keeps the map from each atlas for the other targets of the series.
    """
    carried: list[Mask] = []
    for name in recipe.files:
        atlas = atlases[name]
        structure = atlas.structure(recipe.structure, type_)
        if structure is None:
            known = ", ".join(one.label for one in atlas.structures)
            return NoneFound(reason=f"atlas {atlas.name} has no such structure; it has {known}")
        alignment = aligned(volume, atlas.volume, alignments, deformable=recipe.deformable)
        if isinstance(alignment, NoneFound):
            return alignment
        carried.append(carry_mask(structure.mask, atlas.volume, volume, alignment))
    most = majority(carried)
    if not most.any():
        return NoneFound(reason="the structure lies outside of this volume by what most atlases say")
    agreed = agreement(carried, most)
    if len(carried) > 1 and agreed < recipe.minimum_agreement:
        return NoneFound(reason=f"the atlases disagree: expected an agreement of at least {recipe.minimum_agreement:g}, got {agreed:.2f}")
    mask = widened(most, recipe.margin_mm, volume.spacing_mm) if recipe.margin_mm > 0 else most
    return (object_of_region(mask, volume, recipe.key_slices, form=recipe.prompt_as),)


def majority(masks: list[Mask]) -> Mask:
    """Return the largest connected part of what at least half of the masks cover."""
    votes = np.sum(masks, axis=0, dtype=np.uint8)
    return largest_component(np.asarray(votes * 2 >= len(masks), np.bool_))


def agreement(masks: list[Mask], most: Mask) -> float:
    """Return the median Dice of the masks with what most of them say, 0 to 1."""
    return float(np.median([_dice(mask, most) for mask in masks]))


def _dice(a: Mask, b: Mask) -> float:
    both = np.count_nonzero(a) + np.count_nonzero(b)
    return 2.0 * np.count_nonzero(a & b) / both if both else 0.0
