"""Prompting: what the recipes of a plan make of a volume and of what is known around it, before any model runs."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.annotations import annotations_for, in_words
from daemon.atlases import atlases_for
from daemon.errors import ConfigError
from daemon.priors import priors_for
from daemon.request import SeriesRequest
from dicom_io.volume import Volume
from rules.match import Plan
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate, with_boxes
from rules.rule import RuleSet


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """The prompts of a volume, and in words what has none and what could not be used."""

    prompts: GeneratedPrompts
    missing: tuple[str, ...]


def prompt_volume(request: SeriesRequest, plan: Plan, volume: Volume, ruleset: RuleSet) -> Prompted:
    """Return the prompts of every target: the boxes that a person drew, else what the recipes find.

    Raises ConfigError for more boxes than targets, AtlasUnusable for an atlas that is not there.
    """
    if len(request.boxes) > len(plan.targets):
        raise ConfigError(
            f"{len(request.boxes)} boxes were drawn, but rule {plan.rule.name!r} has {len(plan.targets)} targets; give at most one each"
        )
    annotations, priors = annotations_for(plan, volume, request), priors_for(plan, request)
    context = PromptContext(volume=volume, annotations=annotations.placed, priors=priors.found, atlases=atlases_for(plan, ruleset))
    prompts = with_boxes(plan, request.boxes, context) if request.boxes else generate(plan, context)
    without = tuple(f"{missing.target.label}: {missing.reason}" for missing in prompts.missing)
    return Prompted(prompts=prompts, missing=without + in_words(annotations.rejected + priors.rejected))
