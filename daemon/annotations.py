"""Annotations as inputs: which instances of a study a rule may be prompted by, read and placed on the series' volume."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from daemon.annotation_objects import foreign_annotations, is_annotation_object
from daemon.request import SeriesRequest
from dicom_io.annotations.annotation import RejectedItem
from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import PlacedAnnotations, place_all
from dicom_io.errors import AnnotationElsewhere, NotDicom
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.volume import Volume
from rules.condition import asked_keys
from rules.match import Plan
from rules.prompts.annotation import AnnotationRecipe
from rules.rule import Rule, RuleSet

LOG = logging.getLogger("medsam2d.annotations")


def wants_annotations(plan: Plan) -> bool:
    """Whether any target of a plan is prompted by annotations; only then is it worth placing them."""
    return _any_annotated(plan.rule)


def depends_on_annotations(plan: Plan) -> bool:
    """Whether annotations change what comes of a plan: its targets are prompted by them, or its rule asks for them."""
    return _any_annotated(plan.rule) or _asks_for_annotations(plan.rule)


def places_by_frame_of_reference(plan: Plan) -> bool:
    """Whether any target of a plan is prompted also by what was drawn on other series of the frame of reference."""
    recipes = (target.prompt for target in plan.rule.targets)
    return any(isinstance(recipe, AnnotationRecipe) and recipe.drawn_on == "frame-of-reference" for recipe in recipes)


def may_want_annotations(ruleset: RuleSet) -> bool:
    """Whether annotations matter to any enabled rule; only then is it worth reading a study's other series."""
    return any(_any_annotated(rule) for rule in ruleset.rules if rule.enabled) or asks_for_annotations(ruleset)


def asks_for_annotations(ruleset: RuleSet) -> bool:
    """Whether any enabled rule matches by `has_annotations`."""
    return any(_asks_for_annotations(rule) for rule in ruleset.rules if rule.enabled)


def read_study(paths: Iterable[Path]) -> tuple[InstanceHeader, ...]:
    """Return the headers of a study's other instances; what cannot be read is no reason to do without the rest."""
    headers = []
    for path in paths:
        try:
            headers.append(read_header(path))
        except (NotDicom, OSError) as error:
            LOG.warning("%s: not readable as an input of its study: %s", path.name, type(error).__name__)
    return tuple(headers)


def annotations_for(plan: Plan, volume: Volume, request: SeriesRequest) -> PlacedAnnotations:
    """Return the study's annotations that lie on the volume; none where no target asks for them.

    Objects and items that cannot be used are named, except those that belong to other series.
    """
    if not wants_annotations(plan):
        return PlacedAnnotations()
    objects = foreign_annotations(request.study)
    images = [*request.series.headers, *(header for header in request.study if not is_annotation_object(header))]
    placed = place_all(read_annotations(objects, images), volume, request.series.series_instance_uid)
    unusable = tuple(item for item in placed.rejected if item.code != AnnotationElsewhere.code)
    return PlacedAnnotations(placed=placed.placed, rejected=unusable)


def in_words(rejected: Iterable[RejectedItem]) -> tuple[str, ...]:
    """Return a line an item that could not be used; nothing that a person typed stands in it."""
    return tuple(f"annotation {item.sop_instance_uid}, {item.item}: [{item.code}] {item.reason}" for item in rejected)


def _any_annotated(rule: Rule) -> bool:
    return any(isinstance(target.prompt, AnnotationRecipe) for target in rule.targets)


def _asks_for_annotations(rule: Rule) -> bool:
    return "has_annotations" in asked_keys(rule.match)
