"""The journey of one series.

A C-STORE's bytes go to the spool; when a series is complete the rules name its targets; its instances become a volume, each
target becomes prompts; the model propagates each prompt through the slices into masks; the masks become a SEG and an
SR, which are checked, delivered and audited.

This file is the middle of that sentence, from the complete series to the checked objects: no thread, no retry, no path handling.
Those live one level out, in `daemon.worker` (jobs) and `daemon.commands.segment` (folders).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemon.annotations import annotations_for, in_words
from daemon.atlases import atlases_for
from daemon.errors import ConfigError
from daemon.inference import SegmentedObjects, segment_objects
from daemon.planning import Planned, Skipped, plan_volumes, wrong_unit
from daemon.priors import priors_for
from daemon.provenance import Provenance
from daemon.request import SeriesRequest
from daemon.tools import Tools
from daemon.writing import Findings, write_results
from daemon.written import WrittenObject
from dicom_io.slice_stack import Refused
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_or_refuse
from model.prompt import BoxPrompt
from rules.match import Plan
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate, with_boxes
from rules.quality import Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """Checked objects, ready to be delivered."""

    written: tuple[WrittenObject, ...]
    """In the order of delivery: a SEG comes before the report that refers to it."""
    provenance: Provenance
    verdicts: tuple[Verdict, ...]
    volume: Volume
    objects: SegmentedObjects
    missing: tuple[str, ...]


def segment_series(request: SeriesRequest, tools: Tools) -> Iterator[Skipped | Refused | Segmented]:
    """Take every volume of a complete series to its checked objects, or say why there is no segmentation; one at a time: each is large.

    Raises `dicom_io.errors.RejectedInput` for a series of which nothing can ever be processed and `daemon.gate.GateFailure` if an
    object that was written does not say what was meant (a bug: it never leaves the house).
    """
    refused: list[Refused] = []
    others = False
    for item in plan_volumes(request, tools.ruleset):
        outcome = segment_volume(request, item, tools) if isinstance(item, Planned) else item
        if isinstance(outcome, Refused):
            refused.append(outcome)
        else:
            others = True
            yield outcome
    if refused and not others:
        raise refused[0].error
    yield from refused


def segment_volume(request: SeriesRequest, planned: Planned, tools: Tools) -> Skipped | Refused | Segmented:
    """Take one volume to its checked objects, or say why there is no segmentation."""
    plan = planned.plan
    with tools.stage("read"):
        volume = read_or_refuse(planned.stack)
    if isinstance(volume, Refused):
        return volume
    no_suv = wrong_unit(plan, volume, planned.stack)
    if no_suv is not None:
        return planned.stack.refused(no_suv)
    with tools.stage("prompt"):
        annotations, priors = annotations_for(plan, volume, request), priors_for(plan, request)
        context = PromptContext(
            volume=volume, annotations=annotations.placed, priors=priors.found, atlases=atlases_for(plan, tools.ruleset)
        )
        prompted = _prompts(plan, context, request.boxes)
    missing = _missing(prompted) + in_words(annotations.rejected + priors.rejected)
    with tools.stage("segment"):
        objects = segment_objects(volume, prompted, tools)
    verdicts = judge(prompted.objects, objects.results, volume, objects.second_looks)
    kept = objects.keep(verdict.object_id for verdict in verdicts if verdict.delivers)
    findings = Findings(request=request, plan=plan, volume=volume, prompted=prompted, objects=kept, verdicts=verdicts)
    with tools.stage("write"):
        results = write_results(findings, tools.result)
    if not kept.results:
        reasons = tuple(reason for verdict in verdicts for reason in verdict.reasons) + missing
        return Skipped(reasons=reasons, written=results.written)
    return Segmented(
        written=results.written,
        provenance=results.provenance,
        verdicts=verdicts,
        volume=volume,
        objects=kept,
        missing=missing,
    )


def _prompts(plan: Plan, context: PromptContext, boxes: Sequence[BoxPrompt]) -> GeneratedPrompts:
    if len(boxes) > len(plan.targets):
        raise ConfigError(
            f"{len(boxes)} boxes were drawn, but rule {plan.rule.name!r} has {len(plan.targets)} targets; give at most one each"
        )
    if boxes:
        return with_boxes(plan, boxes, context)
    return generate(plan, context)


def _missing(prompted: GeneratedPrompts) -> tuple[str, ...]:
    return tuple(f"{missing.target.label}: {missing.reason}" for missing in prompted.missing)
