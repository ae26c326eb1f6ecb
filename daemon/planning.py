"""Which volumes of a series are segmented, and by which rule: each is matched with the attributes of its own first slice.

So a rule can ask for one echo or one phase (`AcquisitionNumber: "2"`), say what becomes of gaps, and take all volumes or one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemon.refusals import IMAGE_FAULTS, Refusal
from daemon.request import SeriesRequest
from daemon.written import WrittenObject
from dicom_io.errors import NoSuv, TooManyVolumes
from dicom_io.series import with_gap_policy
from dicom_io.slice_stack import Refused, SliceStack
from dicom_io.suv import SUV_BW
from dicom_io.volume import Volume
from rules.match import NoMatch, Plan, match, shadow_plans
from rules.predicates import Attributes
from rules.prompts.threshold import ThresholdRecipe
from rules.rule import RuleSet, Target

MOST_VOLUMES = 16
"""Hundreds of time points are a study of function: nobody wants a segmentation of each, and it would take a day."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """No segmentation, and why, a line a reason."""

    reasons: tuple[str, ...]
    written: tuple[WrittenObject, ...] = ()
    """A report that says so, where the rule asks for one."""
    shadow: bool = False
    """Whether the rule is in shadow: what is written is sent to nobody."""
    rule: str = ""
    """The rule that matched; empty where none did, or it passed this volume over for another one."""
    withheld: int = 0
    """Targets whose mask was not good enough to deliver."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A volume to be read and segmented."""

    stack: SliceStack
    plan: Plan


def plan_volumes(request: SeriesRequest, ruleset: RuleSet) -> tuple[Planned | Skipped | Refusal, ...]:
    """Return what is to become of each volume of a series, and of the instances that are none, the volumes to be segmented first.

    Raises the reason why the series holds no volume, where no rule could have a say in it.
    """
    series = request.series
    if not series.stacks and not any(part.part or isinstance(part.error, IMAGE_FAULTS) for part in series.refused):
        raise series.refusal
    outcomes = [outcome for _, outcome in plan_parts(request, ruleset)]
    return tuple(sorted(outcomes, key=lambda outcome: not isinstance(outcome, Planned)))


def plan_parts(request: SeriesRequest, ruleset: RuleSet) -> tuple[tuple[SliceStack | Refused, Planned | Skipped | Refusal], ...]:
    """Return each volume of a series, and the instances that are none, with what is to become of it.

    A volume stands there once more for every rule in shadow that matches it.
    """
    parts: tuple[SliceStack | Refused, ...] = (*request.series.stacks, *request.series.refused)
    judged = [(part, item) for part in parts for item in _planned(request, part, ruleset)]
    chosen = _chosen([item for _, item in judged if isinstance(item, Planned)])
    outcomes = [(part, next(chosen[item.plan.rule.name]) if isinstance(item, Planned) else item) for part, item in judged]
    return tuple((part, outcome) for part, outcome in outcomes if outcome is not None)


def matched_parts(request: SeriesRequest, ruleset: RuleSet) -> list[tuple[Plan, Attributes]]:
    """Return the plans of the volumes, and of the parts that are no volume yet, that a rule matches, with what they were matched by.

    Rules in shadow have a say only where no other rule applies.
    """
    parts: tuple[SliceStack | Refused, ...] = (*request.series.stacks, *request.series.refused)
    described: list[Attributes] = [request.attributes_of(part) for part in parts]
    judged = ((match(attributes, ruleset), attributes) for attributes in described)
    live = [(plan, attributes) for plan, attributes in judged if isinstance(plan, Plan)]
    return live or [(plan, attributes) for attributes in described for plan in shadow_plans(attributes, ruleset)]


def wrong_unit(plan: Plan, volume: Volume, stack: SliceStack) -> NoSuv | None:
    """Return why the rule's numbers cannot hold for a PET volume: they are SUV, and its values are not. None where they can."""
    if stack.headers[0].modality != "PT" or volume.unit == SUV_BW or not any(map(_is_absolute, plan.targets)):
        return None
    why = next((quirk for quirk in volume.quirks if quirk.startswith("no-suv-")), "no-suv")
    return NoSuv(
        f"rule {plan.rule.name!r} states intensities, which mean SUV for PET, but SUV cannot be computed ({why}; values are in "
        f"{volume.unit or 'an unstated unit'}); send the series with weight, dose and times, or use windows in percentiles and boxes"
    )


def _planned(request: SeriesRequest, part: SliceStack | Refused, ruleset: RuleSet) -> Iterator[Planned | Skipped | Refusal]:
    """What the rule that applies, and each rule in shadow, makes of a part."""
    is_final = isinstance(part, Refused) and part.part is None
    if isinstance(part, Refused) and is_final and not isinstance(part.error, IMAGE_FAULTS):
        yield Refusal(refused=part)
        return
    attributes = request.attributes_of(part)
    plan = match(attributes, ruleset)
    if isinstance(part, Refused) and is_final:
        yield Refusal(refused=part, plan=plan if isinstance(plan, Plan) else None)
        return
    if isinstance(plan, NoMatch):
        yield Skipped(reasons=tuple(f"{_prefix(part)}{reason}" for reason in plan.reasons))
    else:
        yield _by_rule(part, plan)
    yield from (_by_rule(part, shadow) for shadow in shadow_plans(attributes, ruleset))


def _by_rule(part: SliceStack | Refused, plan: Plan) -> Planned | Refusal:
    judged = with_gap_policy(part, plan.rule.gaps) if isinstance(part, Refused) else part
    return Refusal(refused=judged, plan=plan) if isinstance(judged, Refused) else Planned(stack=judged, plan=plan)


def _prefix(part: SliceStack | Refused) -> str:
    return f"{part.split}: " if isinstance(part, SliceStack) and part.split else ""


def _chosen(planned: Sequence[Planned]) -> dict[str, Iterator[Planned | Skipped | Refusal | None]]:
    """By rule: what becomes of each volume that it matches, in their order; None for those of which the first one speaks."""
    by_rule: dict[str, list[Planned]] = {}
    for item in planned:
        by_rule.setdefault(item.plan.rule.name, []).append(item)
    return {name: iter(_of_rule(name, items)) for name, items in by_rule.items()}


def _of_rule(name: str, items: Sequence[Planned]) -> list[Planned | Skipped | Refusal | None]:
    wanted = _wanted(items)
    if len(wanted) > MOST_VOLUMES:
        return [_too_many(name, items), *[None] * (len(items) - 1)]
    left = f"rule {name!r} takes only one volume of a series ({items[0].plan.rule.volumes})"
    return [item if item in wanted else Skipped(reasons=(f"{item.stack.split}: {left}",)) for item in items]


def _wanted(items: Sequence[Planned]) -> Sequence[Planned]:
    choice = items[0].plan.rule.volumes
    if choice == "all":
        return items
    return [items[0] if choice == "first" else max(items, key=lambda item: len(item.stack.frames))]


def _too_many(name: str, items: Sequence[Planned]) -> Refusal:
    error = TooManyVolumes(
        f"the series holds {len(items)} volumes for rule {name!r}; expected at most {MOST_VOLUMES}; "
        "set `volumes: first` or `largest`, or ask for one of them in `match`"
    )
    return Refusal(refused=items[0].stack.refused(error), plan=items[0].plan)


def _is_absolute(target: Target) -> bool:
    return target.window.kind == "value" or isinstance(target.prompt, ThresholdRecipe)
