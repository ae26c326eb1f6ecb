"""From a plan and what is known of the series to prompts: every target by its recipe, or why it has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dicom_io.annotations.placed import PlacedAnnotation
from dicom_io.volume import Volume
from model.prompt import BoxPrompt, Prompt
from rules.match import Plan
from rules.prompts.annotation import AnnotationRecipe, find_annotated
from rules.prompts.box import FractionBox, MillimetreBox, PixelBox, clipped_box, find_box
from rules.prompts.outcome import AnnotatedPrompt, AnnotationOrigin, Found, NoneFound
from rules.prompts.threshold import ThresholdRecipe, find_boxes
from rules.rule import Target


@dataclass(frozen=True, kw_only=True)
class PromptContext:
    """What recipes may look at."""

    volume: Volume
    annotations: tuple[PlacedAnnotation, ...] = ()
    """Of the study, those that lie on the volume."""


@dataclass(frozen=True, kw_only=True)
class PromptedObject:
    """One object to segment; `object_id` counts from 1 and every prompt carries it."""

    target: Target
    object_id: int
    label: str
    prompts: tuple[Prompt, ...]
    origin: AnnotationOrigin | None = None
    """The annotation that the prompt came from, if one did."""


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
    """Return the prompts of all targets of a plan, by their recipes."""
    return _numbered([(target, _find(target, context)) for target in plan.targets])


def with_boxes(plan: Plan, boxes: Sequence[BoxPrompt], context: PromptContext) -> GeneratedPrompts:
    """Return the prompts that a person drew instead: the n-th box belongs to the n-th target, clipped to the image.

    Raises ValueError for more boxes than targets. A target without a box is missing.
    """
    if len(boxes) > len(plan.targets):
        raise ValueError(f"boxes: expected at most one a target of rule {plan.rule.name!r} ({len(plan.targets)}), got {len(boxes)}")
    drawn: list[Found] = [_single(_clipped(box, context.volume)) for box in boxes]
    drawn += [NoneFound(reason="no box was given for this target")] * (len(plan.targets) - len(boxes))
    return _numbered(list(zip(plan.targets, drawn, strict=True)))


def _find(target: Target, context: PromptContext) -> Found:
    return FINDERS[type(target.prompt)](target, context)


def _box(target: Target, context: PromptContext) -> Found:
    recipe = target.prompt
    if not isinstance(recipe, PixelBox | FractionBox | MillimetreBox):
        raise TypeError(f"prompt: expected a box recipe, got {type(recipe).__name__}")
    return _single(find_box(recipe, context.volume))


def _threshold(target: Target, context: PromptContext) -> Found:
    recipe = target.prompt
    if not isinstance(recipe, ThresholdRecipe):
        raise TypeError(f"prompt: expected a threshold recipe, got {type(recipe).__name__}")
    return find_boxes(recipe, context.volume)


def _annotation(target: Target, context: PromptContext) -> Found:
    recipe = target.prompt
    if not isinstance(recipe, AnnotationRecipe):
        raise TypeError(f"prompt: expected an annotation recipe, got {type(recipe).__name__}")
    return find_annotated(recipe, context.volume, context.annotations)


FINDERS: Mapping[type, Callable[[Target, PromptContext], Found]] = {
    PixelBox: _box,
    FractionBox: _box,
    MillimetreBox: _box,
    ThresholdRecipe: _threshold,
    AnnotationRecipe: _annotation,
}
"""The recipe of each form of `prompt`."""


def _single(found: BoxPrompt | NoneFound) -> Found:
    return found if isinstance(found, NoneFound) else (found,)


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
            label = target.label if len(answer) == 1 else f"{target.label} {count}"
            drawn, origin = (one.prompt, one.origin) if isinstance(one, AnnotatedPrompt) else (one, None)
            prompt = dataclasses.replace(drawn, object_id=number)
            objects.append(PromptedObject(target=target, object_id=number, label=label, prompts=(prompt,), origin=origin))
    return GeneratedPrompts(objects=tuple(objects), missing=tuple(missing))
