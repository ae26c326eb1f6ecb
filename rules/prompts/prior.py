"""Recipe `prior`: the object's segment in the newest earlier study of the patient, found again by registration.

Use it for follow-up: a lesion that was segmented once is prompted in every later study without a person, and keeps its tracking
identifier and UID, so that it keeps its identity. Both volumes are aligned as wholes (shift, affine, bends); then the place of
each region is corrected by what surrounds it, and a place that does not look like the earlier one is *none found*. Whether the
object is still there is for the model and the quality limits to say: the prompt says where it was.

    prompt: {kind: prior}
    prompt: {kind: prior, labels: "(?i)lesion.*", maximum_age_days: 400, margin_mm: 3, minimum_likeness: 0.6}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from dicom_io.codes import Code
from dicom_io.volume import Volume
from rules.find_again import find_again
from rules.pattern import Pattern, compile_pattern, matches
from rules.prompts.aligned import Alignments, aligned
from rules.prompts.key_slice import KeySlices
from rules.prompts.outcome import Found, FoundObject, NoneFound, PromptOrigin
from rules.prompts.region import PromptForm, object_of_region
from rules.scalars import Flag, Integer, Number, Section
from rules.voxel_regions import Mask, widened


class PriorRecipe(Section):
    """Segments of the newest earlier study that has any which fit; all filters must hold."""

    kind: Literal["prior"]
    labels: Pattern | None = None
    """Regular expression for the whole segment label; absent: the segment's type must be the target's."""
    maximum_age_days: Annotated[Integer, Field(ge=1)] | None = None
    """Of the earlier study, at the time of this one."""
    deformable: Flag = True
    """Bend the earlier volume after the affine map; `false` is twice as quick."""
    minimum_likeness: Annotated[Number, Field(ge=-1, le=1)] = 0.5
    """Least normalised correlation between the surroundings of a region then and now."""
    margin_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """The region is widened by this on every side before it is boxed: what is followed may have grown."""
    prompt_as: PromptForm = "box"
    key_slices: KeySlices = KeySlices()
    maximum_objects: Annotated[Integer, Field(ge=1, le=100)] = 20
    """More regions than this are no prompt at all: nobody wants half of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """A segment of an earlier study of the same patient; `repr` leaves out what a person typed."""

    volume: Volume = field(repr=False)
    """The volume that it was drawn on; segments of one series share one object."""
    mask: Mask = field(repr=False)
    """bool (k, j, i), on the volume's grid."""
    study_date: date
    age_days: int
    """Between that study and this one; at least 1, or 0 where both are of one day."""
    label: str = field(repr=False)
    type: Code | None
    origin: PromptOrigin


def find_priors(recipe: PriorRecipe, type_: Code, volume: Volume, priors: Sequence[Prior], alignments: Alignments) -> Found:
    """Return one object a segment of the newest study, or why there is none (without any free text).

    `alignments` keeps the map from each earlier volume for the other targets of the series.
    """
    failed = Counter(_reason_against(recipe, type_, prior) for prior in priors)
    fitting = [prior for prior in priors if not _reason_against(recipe, type_, prior)]
    if not fitting:
        reasons = [f"{count} {reason}" for reason, count in sorted(failed.items())]
        return NoneFound(reason=f"no segment of an earlier study: {', '.join(reasons) or 'no earlier study of this patient holds any'}")
    newest = max(prior.study_date for prior in fitting)
    chosen = _each_once([prior for prior in fitting if prior.study_date == newest])
    if len(chosen) > recipe.maximum_objects:
        return NoneFound(reason=f"expected at most {recipe.maximum_objects} earlier segments, got {len(chosen)}; raise maximum_objects")
    found = [_again(recipe, volume, prior, alignments) for prior in chosen]
    objects = tuple(one for one in found if isinstance(one, FoundObject))
    return objects or next(one for one in found if isinstance(one, NoneFound))


def _reason_against(recipe: PriorRecipe, type_: Code, prior: Prior) -> str:
    """Return the first filter that a segment fails, in words for a count; empty if it passes all."""
    same_type = prior.type is not None and (prior.type.value, prior.type.scheme) == (type_.value, type_.scheme)
    checks = (
        (recipe.maximum_age_days is None or prior.age_days <= recipe.maximum_age_days, "too old"),
        (recipe.labels is not None or same_type, "of another type"),
        (recipe.labels is None or matches(compile_pattern(recipe.labels), prior.label), "with another label"),
    )
    return next((reason for holds, reason in checks if not holds), "")


def _each_once(priors: Sequence[Prior]) -> list[Prior]:
    """Keep of each tracked object one segment: a person's before an algorithm's, the first of equals."""
    kept: dict[str, Prior] = {}
    for prior in priors:
        key = prior.origin.tracking_uid or f"{prior.origin.sop_instance_uid} {prior.origin.item}"
        if key not in kept or (kept[key].origin.automatic and not prior.origin.automatic):
            kept[key] = prior
    return list(kept.values())


def _again(recipe: PriorRecipe, volume: Volume, prior: Prior, alignments: Alignments) -> FoundObject | NoneFound:
    alignment = aligned(volume, prior.volume, alignments, deformable=recipe.deformable)
    if isinstance(alignment, NoneFound):
        return alignment
    carried = find_again(prior.mask, prior.volume, volume, alignment)
    if not carried.mask.any():
        return NoneFound(reason="the earlier segment lies outside of this volume")
    if carried.likeness < recipe.minimum_likeness:
        return NoneFound(
            reason=f"the earlier segment's surroundings were not found again: expected a correlation of at least "
            f"{recipe.minimum_likeness:g}, got {carried.likeness:.2f}"
        )
    mask = widened(carried.mask, recipe.margin_mm, volume.spacing_mm) if recipe.margin_mm > 0 else carried.mask
    return object_of_region(np.asarray(mask), volume, recipe.key_slices, form=recipe.prompt_as, origin=prior.origin)
