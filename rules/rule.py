"""Rules: which series are segmented, what their targets are, how each is prompted, and where results go.

A rule file is a mapping with one key, `rules`: a list. Rules are data, never expressions. Every field's docstring below is
its description in the JSON Schema that editors complete from (`json_schema()`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from rules.concepts import CategoryCode, LateralityCode, RegionCode, TypeCode
from rules.condition import Condition
from rules.off_peak import OffPeak
from rules.outputs import Outputs
from rules.places import Places
from rules.predicates import Predicate, condition_predicate
from rules.prompts.annotation import AnnotationRecipe
from rules.prompts.atlas import AtlasRecipe
from rules.prompts.body import BodyRecipe
from rules.prompts.box import BoxRecipe
from rules.prompts.prior import PriorRecipe
from rules.prompts.relative import RelativeRecipe
from rules.prompts.threshold import ThresholdRecipe
from rules.scalars import Flag, Integer, Number, Section, Text, integer
from rules.selection import Selection

Label: TypeAlias = Annotated[str, Field(min_length=1, max_length=60)]
"""Segment Label is at most 64 characters (PS3.5, LO); a number is added where one target gives several objects."""


class Window(Section):
    """The intensities that the model sees as black (`low`) and white (`high`)."""

    kind: Literal["value", "percentile"] = "value"
    """value: in the volume's unit (HU for CT). percentile: 0 to 100 of the volume's voxels, for MR."""
    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.low >= self.high:
            raise ValueError(f"expected low < high, got {self.low:g} and {self.high:g}")
        if self.kind == "percentile" and not 0 <= self.low < self.high <= 100:
            raise ValueError(f"expected percentiles from 0 to 100, got {self.low:g} and {self.high:g}")
        return self


class QualityLimits(Section):
    """What a result must be like to be delivered; a result beyond a limit is withheld."""

    minimum_volume_ml: Annotated[Number, Field(ge=0)] | None = None
    maximum_volume_ml: Annotated[Number, Field(gt=0)] | None = None
    minimum_iou: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Least median of the IoU that the model predicts for its own masks."""
    minimum_score: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Least quality score: the mean of what the model says of itself, slice-to-slice change and agreement (docs/prompts.md)."""
    minimum_agreement: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Least Dice with the second look; needs `second_look: true`."""
    minimum_mean: Number | None = None
    """Least mean intensity inside the mask, in the volume's unit (HU for CT, SUV for PET)."""
    maximum_mean: Number | None = None
    """Largest mean intensity inside the mask."""
    whole: Flag = False
    """Withhold, rather than flag, a mask that touches the volume's edge: how large the object is cannot be known."""

    @model_validator(mode="after")
    def _ordered(self) -> QualityLimits:
        low, high = self.minimum_volume_ml, self.maximum_volume_ml
        if low is not None and high is not None and low > high:
            raise ValueError(f"expected minimum_volume_ml <= maximum_volume_ml, got {low:g} and {high:g}")
        if self.minimum_mean is not None and self.maximum_mean is not None and self.minimum_mean > self.maximum_mean:
            raise ValueError(f"expected minimum_mean <= maximum_mean, got {self.minimum_mean:g} and {self.maximum_mean:g}")
        return self


def _stop(value: object) -> object:
    return None if value == "never" else integer(value)


def _color(value: object) -> object:
    if not isinstance(value, str):
        return value
    if len(value) != 7 or value[0] != "#" or not set(value[1:]) <= set("0123456789abcdefABCDEF"):
        raise ValueError(f"expected a colour in quotes as '#rrggbb', got {value!r}")
    return tuple(bytes.fromhex(value[1:]))


Color: TypeAlias = Annotated[
    tuple[int, int, int], BeforeValidator(_color), WithJsonSchema({"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"})
]
StopAfter: TypeAlias = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_stop),
    WithJsonSchema({"anyOf": [{"const": "never"}, {"type": "integer", "minimum": 1}]}),
]
Recipe: TypeAlias = Annotated[
    BoxRecipe | ThresholdRecipe | BodyRecipe | AtlasRecipe | AnnotationRecipe | PriorRecipe | RelativeRecipe, Field(discriminator="kind")
]


class Target(Section):
    """One thing to segment."""

    label: Label
    """The segment's label in the PACS."""
    category: CategoryCode
    """Segmented property category, for example AnatomicalStructure."""
    type: TypeCode
    """Segmented property type, for example {value: "10200004", scheme: SCT, meaning: Liver}."""
    laterality: LateralityCode | None = None
    """right, left, bilateral or unilateral."""
    region: RegionCode | None = None
    """Anatomic region, where the type alone does not say it (a lesion)."""
    window: Window
    prompt: Recipe
    """How the object is found: `kind: box`, `threshold`, `body`, `atlas`, `annotation`, `prior` or `relative`."""
    weights: Text | None = None
    """Name of the weights; absent: the rule's, else the worker's default."""
    stop_after_empty_frames: StopAfter = 3
    """Propagation ends after so many slices without the object; `never` visits every slice."""
    maximum_reach_mm: Annotated[Number, Field(gt=0)] | None = None
    """Propagation goes no farther from the prompted slice, to either side; absent: to the ends of the volume or the stop rule."""
    refine: Flag = False
    """Segment once more, with the first result's box on its best slice as one more prompt."""
    second_look: Flag = False
    """Segment once more from slightly moved prompts, to see how firmly the result stands: doubles the model's time."""
    limits: QualityLimits = QualityLimits()
    largest_component: Flag = False
    """Keep only the largest connected part of the mask."""
    color: Color | None = None
    """Recommended display colour as '#rrggbb'."""

    @model_validator(mode="after")
    def _looked_at(self) -> Target:
        if self.limits.minimum_agreement is not None and not self.second_look:
            raise ValueError("expected second_look: true beside limits.minimum_agreement, got false")
        return self


class Completeness(Section):
    """What a series, or its study, must have before it is processed, and what follows where it does not come."""

    instances: Annotated[Integer, Field(ge=1)] | None = None
    """The series has at least so many instances."""
    study_series: Annotated[Integer, Field(ge=1)] | None = None
    """The series is processed only once its study is complete, with at least so many series; 1 waits for those that come."""
    quiet_seconds: Annotated[Number, Field(gt=0, le=86_400)] | None = None
    """No instance of the series for so long; absent: `arrivals.quiet_seconds`."""
    wait_seconds: Annotated[Number, Field(gt=0, le=604_800)] | None = None
    """What is missing is waited for so long after the last instance; absent: `arrivals.incomplete_seconds`."""
    on_partial: Literal["run", "hold", "discard"] | None = None
    """What follows then. run: its results say that they are partial. hold: it waits on. discard: no result.
    Absent: `arrivals.incomplete`."""


class Rule(Section):
    """Series that meet `match` get `targets`; results go to `destinations`."""

    name: Annotated[str, Field(pattern=r"^[^\s\\](?:[^\r\n\t\\]*[^\s\\])?$", max_length=40)]
    """One line without backslash; unique among all rules, and the start of the result's series description."""
    description: str = ""
    enabled: Flag = True
    match: Condition
    select: Selection | None = None
    """Of several series of one study that match, the best one alone; absent: every one. It is chosen when the study is complete."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=100)]
    destinations: tuple[Text, ...]
    """Names from the configuration's `destinations`; an empty list `[]` keeps results in the results folder."""
    review: tuple[Text, ...] = ()
    """Names from the configuration's `destinations`, none of the rule's own: they get what is withheld,
    marked as such, for people to look at."""
    weights: Text | None = None
    """Name of the weights for targets that name none."""
    priority: Literal["stat", "urgent", "routine", "reprocess"] = "routine"
    """stat goes before everything; routine jobs that waited for eight hours go before new urgent ones."""
    off_peak: OffPeak | None = None
    """Jobs begin only in this window; absent: at any time. A header that asks for more than routine goes at once."""
    shadow: Flag = False
    """true: results are made, kept and audited, and delivered to nobody. Such a rule takes no series from the others: it is tried
    beside the one that applies."""
    completeness: Completeness = Completeness()
    gaps: Literal["refuse", "longest_run", "bridge"] = "refuse"
    """Where slices are missing. refuse: no result. longest_run: the longest run of evenly spaced slices. bridge: missing slices
    are interpolated for the model; results are written on the slices that were sent alone."""
    volumes: Literal["all", "largest", "first"] = "all"
    """Which volumes of a series that holds several (phases, echoes) and match: all, the one with most slices, or the first."""

    outputs: Outputs = Outputs()
    """Which objects the results are written as."""

    @model_validator(mode="after")
    def _distinct_labels(self) -> Rule:
        labels = [target.label for target in self.targets]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"expected a different label for each target, got {', '.join(map(repr, twice))} more than once")
        return self

    @model_validator(mode="after")
    def _not_both_urgent_and_later(self) -> Rule:
        if self.off_peak is not None and self.priority in ("stat", "urgent"):
            raise ValueError(f"expected priority routine or reprocess beside off_peak, got {self.priority}; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _review_elsewhere(self) -> Rule:
        both = sorted(set(self.review) & set(self.destinations))
        if both:
            raise ValueError(f"expected review destinations other than the rule's own, got {', '.join(map(repr, both))} in both")
        return self

    @model_validator(mode="after")
    def _measured_from_earlier_ones(self) -> Rule:
        for number, target in enumerate(self.targets):
            before = [other.label for other in self.targets[:number]]
            if isinstance(target.prompt, RelativeRecipe) and target.prompt.to not in before:
                known = ", ".join(map(repr, before)) or "none"
                raise ValueError(
                    f"target {target.label!r}: to: expected the label of a target before this one ({known}), got {target.prompt.to!r}"
                )
        return self

    @property
    def is_live(self) -> bool:
        """Whether it takes series: it is enabled and not in shadow."""
        return self.enabled and not self.shadow

    @property
    def resolved_targets(self) -> tuple[Target, ...]:
        """The targets, each with the rule's weights where it names none."""
        return tuple(target.model_copy(update={"weights": target.weights or self.weights}) for target in self.targets)


class RuleFile(Section):
    """The document of a rule file."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class RuleSource:
    """Where a rule stands: the places of its file, and its index in it."""

    places: Places
    index: int


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """All rules in the order in which they are tried."""

    rules: tuple[Rule, ...]
    sources: Mapping[str, RuleSource] = field(default_factory=dict)
    """By rule name; empty for rules that no file stands behind."""

    @cached_property
    def predicates(self) -> tuple[tuple[Rule, Predicate], ...]:
        """The live rules in order, each with its conditions compiled."""
        return tuple((rule, condition_predicate(rule.match)) for rule in self.rules if rule.is_live)

    @cached_property
    def shadow_predicates(self) -> tuple[tuple[Rule, Predicate], ...]:
        """The enabled rules in shadow in order, each with its conditions compiled."""
        return tuple((rule, condition_predicate(rule.match)) for rule in self.rules if rule.enabled and rule.shadow)


NOT_HASHED = {"description", "enabled", "destinations", "review", "outputs", "priority", "completeness", "select", "off_peak", "shadow"}
"""What changes no series' masks: editing these recomputes nothing."""


def rule_hash(rule: Rule) -> str:
    """Return the SHA-256 of a rule's canonical JSON: sorted keys, no spaces, settings that equal their default left out.

    Leaving defaults out keeps the hash when a later version adds a setting, so that an upgrade alone recomputes nothing.
    """
    data = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=NOT_HASHED)
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a rule file, for editors."""
    return RuleFile.model_json_schema()
