"""From a plan and what is known of the series to prompts: every target by its recipe, or why it has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dicom_io.annotations.placed import PlacedAnnotation
from dicom_io.codes import Code
from dicom_io.volume import Volume
from model.prompt import BoxPrompt, Prompt
from rules.atlas import Atlas
from rules.match import Plan
from rules.prompts.aligned import Alignments
from rules.prompts.annotation import AnnotationRecipe, find_annotated
from rules.prompts.atlas import AtlasRecipe, find_by_atlas
from rules.prompts.body import BodyRecipe, find_landmark
from rules.prompts.box import FractionBox, MillimetreBox, PixelBox, clipped_box, find_box
from rules.prompts.outcome import Found, FoundObject, NoneFound, PromptOrigin
from rules.prompts.prior import Prior, PriorRecipe, find_priors
from rules.prompts.relative import RelativeRecipe, find_relative
from rules.prompts.threshold import ThresholdRecipe, find_boxes
from rules.rule import Target


@dataclass(frozen=True, kw_only=True)
class PromptContext:
    """What recipes may look at."""

    volume: Volume
    annotations: tuple[PlacedAnnotation, ...] = ()
    """Of the study, those that lie on the volume."""
    priors: tuple[Prior, ...] = ()
    """Segments of earlier studies of the same patient."""
    atlases: Mapping[str, Atlas] = field(default_factory=dict)
    """By the name that a recipe gives its file."""
    found: Mapping[str, Found] = field(default_factory=dict)
    """What the targets before this one were found by, by label."""
    alignments: Alignments = field(default_factory=dict)
    """Maps from other volumes to this one: several targets share one registration."""


@dataclass(frozen=True, kw_only=True)
class PromptedObject:
    """One object to segment; `object_id` counts from 1 and every prompt carries it."""

    target: Target
    object_id: int
    label: str
    prompts: tuple[Prompt, ...]
    """At least one, the most important first."""
    laterality: Code | None = None
    """The target's, else what the recipe knows."""
    origin: PromptOrigin | None = None
    """The annotation or earlier segment that the prompt came from, if one did."""


@dataclass(frozen=True, kw_only=True)
class NoPrompt:
    """A target for which nothing was found, and why."""

    target: Target
    reason: str


@dataclass(frozen=True, kw_only=True)
class GeneratedPrompts:
    """Objects in target order with ids 1..n, and the targets without any."""

    objects: tuple[PromptedObject, ...]
    missing: tuple[NoPrompt, ...]


def generate(plan: Plan, context: PromptContext) -> GeneratedPrompts:
    """Return the prompts of all targets of a plan, by their recipes; a target may be prompted by those before it."""
    found: dict[str, Found] = {}
    for target in plan.targets:
        found[target.label] = FINDERS[type(target.prompt)](target, dataclasses.replace(context, found=found))
    return _numbered([(target, found[target.label]) for target in plan.targets])


def with_boxes(plan: Plan, boxes: Sequence[BoxPrompt], context: PromptContext) -> GeneratedPrompts:
    """Return the prompts that a person drew instead: the n-th box belongs to the n-th target, clipped to the image.

    Raises ValueError for more boxes than targets. A target without a box is missing.
    """
    if len(boxes) > len(plan.targets):
        raise ValueError(f"boxes: expected at most one a target of rule {plan.rule.name!r} ({len(plan.targets)}), got {len(boxes)}")
    drawn: list[Found] = [_single(_clipped(box, context.volume)) for box in boxes]
    drawn += [NoneFound(reason="no box was given for this target")] * (len(plan.targets) - len(boxes))
    return _numbered(list(zip(plan.targets, drawn, strict=True)))


RecipeType = TypeVar("RecipeType")


def _recipe(target: Target, expected: type[RecipeType]) -> RecipeType:
    recipe = target.prompt
    if not isinstance(recipe, expected):
        raise TypeError(f"prompt: expected a {expected.__name__}, got {type(recipe).__name__}")
    return recipe


def _box(target: Target, context: PromptContext) -> Found:
    recipe = target.prompt
    if not isinstance(recipe, PixelBox | FractionBox | MillimetreBox):
        raise TypeError(f"prompt: expected a box recipe, got {type(recipe).__name__}")
    return _single(find_box(recipe, context.volume))


def _relative(target: Target, context: PromptContext) -> Found:
    recipe = _recipe(target, RelativeRecipe)
    return find_relative(recipe, context.volume, context.found[recipe.to])


def _atlas(target: Target, context: PromptContext) -> Found:
    return find_by_atlas(_recipe(target, AtlasRecipe), target.type, context.volume, context.atlases, context.alignments)


def _prior(target: Target, context: PromptContext) -> Found:
    return find_priors(_recipe(target, PriorRecipe), target.type, context.volume, context.priors, context.alignments)


FINDERS: Mapping[type, Callable[[Target, PromptContext], Found]] = {
    PixelBox: _box,
    FractionBox: _box,
    MillimetreBox: _box,
    ThresholdRecipe: lambda target, context: find_boxes(_recipe(target, ThresholdRecipe), context.volume),
    BodyRecipe: lambda target, context: find_landmark(_recipe(target, BodyRecipe), context.volume),
    AnnotationRecipe: lambda target, context: find_annotated(_recipe(target, AnnotationRecipe), context.volume, context.annotations),
    RelativeRecipe: _relative,
    AtlasRecipe: _atlas,
    PriorRecipe: _prior,
}
"""The recipe of each form of `prompt`."""


def _single(found: BoxPrompt | NoneFound) -> Found:
    return found if isinstance(found, NoneFound) else (FoundObject(prompts=(found,)),)


def _clipped(box: BoxPrompt, volume: Volume) -> BoxPrompt | NoneFound:
    edges = (box.left - 0.5, box.top - 0.5, box.right + 0.5, box.bottom + 0.5)
    return clipped_box(box.frame, edges, volume)


def _numbered(found: Sequence[tuple[Target, Found]]) -> GeneratedPrompts:
    objects: list[PromptedObject] = []
    missing: list[NoPrompt] = []
    for target, answer in found:
        if isinstance(answer, NoneFound):
            missing.append(NoPrompt(target=target, reason=answer.reason))
            continue
        for count, one in enumerate(answer, start=1):
            number = len(objects) + 1
            objects.append(
                PromptedObject(
                    target=target,
                    object_id=number,
                    label=_label(target, one, count if len(answer) > 1 else None),
                    prompts=tuple(dataclasses.replace(prompt, object_id=number) for prompt in one.prompts),
                    laterality=target.laterality or one.laterality,
                    origin=one.origin,
                )
            )
    return GeneratedPrompts(objects=tuple(objects), missing=tuple(missing))


def _label(target: Target, one: FoundObject, number: int | None) -> str:
    """The target's label with the object's own name, else with its number where there are several."""
    ending = one.name or ("" if number is None else str(number))
    return f"{target.label} {ending}" if ending else target.label
