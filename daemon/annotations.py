"""Annotations as inputs: which instances of a study a rule may be prompted by, read and placed on the series' volume."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from daemon.request import SeriesRequest
from daemon.version import MODEL_NAME
from dicom_io.annotations.annotation import RejectedItem
from dicom_io.annotations.collect import is_annotation_class, read_annotations
from dicom_io.annotations.placement import PlacedAnnotations, place_all
from dicom_io.errors import AnnotationElsewhere, NotDicom
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.volume import Volume
from rules.match import Plan
from rules.prompts.annotation import AnnotationRecipe
from rules.rule import RuleSet, Target

LOG = logging.getLogger("medsam2d.annotations")


def is_annotation_object(header: InstanceHeader) -> bool:
    """Whether an instance can hold annotations: an input beside the images, never a series to be segmented."""
    return is_annotation_class(header.sop_class_uid)


def is_own_result(header: InstanceHeader) -> bool:
    """Whether this software wrote an instance; a result never prompts the next one in its own study."""
    return str(header.dataset.get("ManufacturerModelName") or "").strip() == MODEL_NAME


def wants_annotations(plan: Plan) -> bool:
    """Whether any target of a plan is prompted by annotations; only then is it worth reading them."""
    return _any_annotated(plan.targets)


def may_want_annotations(ruleset: RuleSet) -> bool:
    """Whether any enabled rule has a target that is prompted by annotations; only then is it worth reading a study's other series."""
    return any(_any_annotated(rule.targets) for rule in ruleset.rules if rule.enabled)


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
    objects = [header for header in request.study if is_annotation_object(header) and not is_own_result(header)]
    images = [*request.series.headers, *(header for header in request.study if not is_annotation_object(header))]
    placed = place_all(read_annotations(objects, images), volume, request.series.series_instance_uid)
    unusable = tuple(item for item in placed.rejected if item.code != AnnotationElsewhere.code)
    return PlacedAnnotations(placed=placed.placed, rejected=unusable)


def in_words(rejected: Iterable[RejectedItem]) -> tuple[str, ...]:
    """Return a line an item that could not be used; nothing that a person typed stands in it."""
    return tuple(f"annotation {item.sop_instance_uid}, {item.item}: [{item.code}] {item.reason}" for item in rejected)


def _any_annotated(targets: Iterable[Target]) -> bool:
    return any(isinstance(target.prompt, AnnotationRecipe) for target in targets)
