"""An explanation: what the rules make of every series of a study, condition by condition, and the prompts that they would give.

No model runs. Recipes look at the image, at annotations, priors, atlases and the prompts of targets before them, so that every
prompt is the one that a job would begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from daemon.folder_study import Contest, Groups, Sender, contests, is_input_alone, request_for
from daemon.intensity_window import window_bounds
from daemon.planning import Planned, plan_parts, wrong_unit
from daemon.prompt_picture import DrawnObject, draw_prompts
from daemon.prompting import Prompted, prompt_volume
from daemon.refusals import Refusal
from daemon.request import SeriesRequest
from dicom_io.errors import RejectedInput
from dicom_io.geometry import spacing_mm
from dicom_io.instance import InstanceHeader
from dicom_io.slice_stack import Refused, SliceStack
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_or_refuse
from model.prompt import BoxPrompt, MaskPrompt, Prompt
from rules.facts import FACTS
from rules.judgement import Finding, findings
from rules.predicates import Attributes
from rules.prompts.generate import PromptedObject
from rules.rule import Rule, RuleSet

MOST_PICTURES = 12
"""Of one volume: a rule with many objects on many slices would make a sheet that nobody scrolls through."""
APPLIES, APPLIES_IN_SHADOW = "applies", "applies in shadow"
NETWORK = ("calling_ae_title", "called_ae_title", "source_address")


@dataclass(frozen=True, kw_only=True)
class ExplainedRule:
    """One rule held against one volume."""

    name: str
    outcome: str
    """applies, applies in shadow, is not reached (an earlier rule applies), does not match, or is not enabled."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class ExplainedObject:
    """One object that would be segmented: how it was found, and where it is prompted."""

    object_id: int
    label: str
    recipe: str
    prompts: tuple[str, ...]
    """Each in words."""
    slices: tuple[int, ...]
    """The prompted slices, counted from 1, the most important first."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A slice with prompts, for the sheet."""

    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class ExplainedVolume:
    """One volume of a series, or a part that is none."""

    name: str
    """What tells it from the others of its series; empty for the only one."""
    grid: str
    attributes: Mapping[str, str]
    """The facts, and how it was sent."""
    rules: tuple[ExplainedRule, ...]
    rule: str | None
    """The rule that applies."""
    outcome: str
    """What becomes of it, in one line."""
    objects: tuple[ExplainedObject, ...] = ()
    missing: tuple[str, ...] = ()
    """Targets without a prompt, and what could not be used, with the reason."""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExplainedSeries:
    """One series and everything that the rules make of it."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    instances: int
    description: str
    """Series Description: free text, shown only to those who may see who the patient is."""
    outcome: str
    volumes: tuple[ExplainedVolume, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Every series of a folder or study, and the contests among them."""

    series: tuple[ExplainedSeries, ...]
    contests: tuple[Contest, ...]
    rules: int


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How far an explanation goes."""

    prompts: bool = True
    """Whether pixels are read and prompts made."""
    identify: bool = False
    """Whether values that may identify the patient are shown."""


def explain(groups: Groups, senders: Mapping[str, Sender], ruleset: RuleSet, depth: Depth) -> Explanation:
    """Explain every series in `groups`; `senders` says by series how each was sent.

    Raises AtlasUnusable where a rule that applies names an atlas that is not there.
    """
    requests = {uid: _request(headers, groups, senders[uid]) for uid, headers in groups.items() if not is_input_alone(headers)}
    held = contests([request for request in requests.values() if isinstance(request, SeriesRequest)], ruleset)
    explained = []
    for uid, headers in groups.items():
        request = requests.get(uid)
        if isinstance(request, SeriesRequest):
            explained.append(_series(request, ruleset, depth, held))
            continue
        outcome = "annotation objects: an input for series whose rule asks for them" if request is None else f"refused: {request}"
        explained.append(
            ExplainedSeries(
                series_instance_uid=uid,
                study_instance_uid=headers[0].study_instance_uid,
                modality=headers[0].modality,
                instances=len(headers),
                description="",
                outcome=outcome,
            )
        )
    return Explanation(series=tuple(explained), contests=held, rules=len(ruleset.rules))


def _request(headers: Sequence[InstanceHeader], groups: Groups, sender: Sender) -> SeriesRequest | RejectedInput:
    try:
        return request_for(headers, groups, sender)
    except RejectedInput as error:
        return error


def _series(request: SeriesRequest, ruleset: RuleSet, depth: Depth, held: Sequence[Contest]) -> ExplainedSeries:
    series = request.series
    passed_over = next((reason for contest in held if (reason := contest.reason_against(series.series_instance_uid))), None)
    volumes = tuple(_volumes(request, ruleset, depth, passed_over))
    rules = ", ".join(dict.fromkeys(volume.rule for volume in volumes if volume.rule))
    outcome = passed_over or (f"rule {rules}" if rules else "no rule applies")
    if not volumes:
        outcome = f"refused: [{series.refusal.code}] {series.refusal}"
    return ExplainedSeries(
        series_instance_uid=series.series_instance_uid,
        study_instance_uid=series.study_instance_uid,
        modality=series.modality,
        instances=len(series.headers),
        description=str(series.headers[0].dataset.get("SeriesDescription") or "") if depth.identify else "",
        outcome=outcome,
        volumes=volumes,
    )


def _volumes(request: SeriesRequest, ruleset: RuleSet, depth: Depth, passed_over: str | None) -> Iterator[ExplainedVolume]:
    for part, outcome in plan_parts(request, ruleset):
        attributes = request.attributes_of(part)
        judged = tuple(_judged(attributes, ruleset, identify=depth.identify))
        applies = next((one.name for one in judged if one.outcome == APPLIES), None)
        rule = outcome.plan.rule.name if isinstance(outcome, Planned) else applies
        described = ExplainedVolume(
            name=part.split if isinstance(part, SliceStack) else "",
            grid=_grid(part),
            attributes={key: str(attributes[key]) for key in (*FACTS, *NETWORK) if attributes.get(key)},
            rules=judged,
            rule=rule,
            outcome="",
        )
        if not isinstance(outcome, Planned):
            yield _with(described, outcome="; ".join(outcome.reasons) if rule or isinstance(outcome, Refusal) else "no rule applies")
        elif passed_over is not None and not outcome.plan.rule.shadow:
            yield _with(described, outcome=passed_over)
        elif not depth.prompts:
            yield _with(described, outcome="would be segmented")
        else:
            yield _prompted(described, request, outcome, ruleset)


def _judged(attributes: Attributes, ruleset: RuleSet, *, identify: bool) -> Iterator[ExplainedRule]:
    taken = False
    for rule in ruleset.rules:
        found = tuple(findings(rule.match, attributes, identify=identify))
        matches = all(finding.holds for finding in found)
        yield ExplainedRule(name=rule.name, outcome=_outcome(rule, matches=matches, taken=taken), findings=found)
        taken = taken or (matches and rule.is_live)


def _outcome(rule: Rule, *, matches: bool, taken: bool) -> str:
    if not rule.enabled:
        return "is not enabled"
    if not matches:
        return "does not match"
    if rule.shadow:
        return APPLIES_IN_SHADOW
    return "is not reached: an earlier rule applies" if taken else APPLIES


def _prompted(described: ExplainedVolume, request: SeriesRequest, planned: Planned, ruleset: RuleSet) -> ExplainedVolume:
    volume = read_or_refuse(planned.stack)
    if isinstance(volume, Refused):
        return _with(described, outcome=f"refused: {volume.reason}")
    no_suv = wrong_unit(planned.plan, volume, planned.stack)
    if no_suv is not None:
        return _with(described, outcome=f"refused: [{no_suv.code}] {no_suv}")
    found = prompt_volume(request, planned.plan, volume, ruleset)
    objects = found.prompts.objects
    shadow = ", in shadow: sent to nobody" if planned.plan.rule.shadow else ""
    return _with(
        described,
        outcome=f"{len(objects)} object(s) would be segmented{shadow}" if objects else f"nothing would be segmented{shadow}",
        objects=tuple(_object(item, len(volume.voxels)) for item in objects),
        missing=found.missing,
        pictures=tuple(_pictures(volume, found)),
    )


def _with(described: ExplainedVolume, **values: object) -> ExplainedVolume:
    return ExplainedVolume(**{**vars(described), **values})


def _grid(part: SliceStack | Refused) -> str:
    if isinstance(part, Refused):
        return f"{len(part.headers)} instances that are no volume"
    dk, dj, di = spacing_mm(part.affine)
    rows, columns = part.shape
    return f"{len(part.frames)} slices of {rows} x {columns}, {dk:.2f} x {dj:.2f} x {di:.2f} mm"


def _object(item: PromptedObject, slices: int) -> ExplainedObject:
    return ExplainedObject(
        object_id=item.object_id,
        label=item.label,
        recipe=item.target.prompt.kind,
        slices=tuple(dict.fromkeys(prompt.frame + 1 for prompt in item.prompts)),
        prompts=tuple(f"{_in_words(prompt)} on slice {prompt.frame + 1} of {slices}" for prompt in item.prompts),
    )


def _in_words(prompt: Prompt) -> str:
    if isinstance(prompt, BoxPrompt):
        return f"box, columns {prompt.left:.1f} to {prompt.right:.1f}, rows {prompt.top:.1f} to {prompt.bottom:.1f}"
    if isinstance(prompt, MaskPrompt):
        return f"mask of {int(prompt.mask.sum())} pixels"
    inside = sum(prompt.labels)
    return f"{inside} point(s) inside, {len(prompt.labels) - inside} outside"


def _pictures(volume: Volume, found: Prompted) -> Iterator[Picture]:
    """One picture a prompted slice and intensity window, in the order of the slices."""
    places: dict[tuple[int, tuple[float, float]], dict[int, list[Prompt]]] = {}
    labels = {item.object_id: item.label for item in found.prompts.objects}
    for item in found.prompts.objects:
        window = window_bounds(volume, item.target)
        for prompt in item.prompts:
            places.setdefault((prompt.frame, window), {}).setdefault(item.object_id, []).append(prompt)
    for (frame, window), drawn in sorted(places.items())[:MOST_PICTURES]:
        objects = [DrawnObject(object_id=number, prompts=tuple(prompts)) for number, prompts in drawn.items()]
        names = ", ".join(labels[number] for number in drawn)
        yield Picture(
            caption=f"slice {frame + 1} of {len(volume.voxels)}: {names}",
            png=draw_prompts(volume.voxels[frame], window, volume.spacing_mm[1:], objects),
        )
