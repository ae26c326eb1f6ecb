"""The journey of one series.

A C-STORE's bytes go to the spool; when a series is complete the rules name its targets; its instances become a volume, each
target becomes prompts; the model propagates each prompt through the slices into masks; the masks become a SEG and an
SR, which are checked, delivered and audited.

This file is the middle of that sentence, from the complete series to the checked objects: no thread, no retry, no path handling.
Those live one level out, in `daemon.worker` (jobs) and `daemon.commands.segment` (folders).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from daemon.inference import SegmentedObjects, segment_objects
from daemon.planning import Planned, Skipped, plan_volumes, wrong_unit
from daemon.prompting import prompt_volume
from daemon.provenance import Provenance
from daemon.refusal_report import with_report
from daemon.refusals import Refusal
from daemon.request import SeriesRequest
from daemon.review import write_review
from daemon.tools import Tools
from daemon.writing import Findings, write_results
from daemon.written import WrittenObject
from dicom_io.slice_stack import Refused
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_or_refuse
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
    shadow: bool = False
    """Whether the rule is in shadow: what is written is sent to nobody."""


def segment_series(request: SeriesRequest, tools: Tools) -> Iterator[Skipped | Refusal | Segmented]:
    """Take every volume of a complete series to its checked objects, or say why there is no segmentation; one at a time: each is large.

    Refusals come last. Raises `dicom_io.errors.RejectedInput` for a series that no rule could want and `daemon.gate.GateFailure` if an
    object that was written does not say what was meant (a bug: it never leaves the house).
    """
    refusals: list[Refusal] = []
    for item in plan_volumes(request, tools.ruleset):
        outcome = segment_volume(request, item, tools) if isinstance(item, Planned) else item
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        else:
            yield outcome
    for refusal in refusals:
        yield with_report(refusal, request, tools.result)


def segment_volume(request: SeriesRequest, planned: Planned, tools: Tools) -> Skipped | Refusal | Segmented:
    """Take one volume to its checked objects, or say why there is no segmentation."""
    plan = planned.plan
    with tools.stage("read"):
        volume = read_or_refuse(planned.stack)
    if isinstance(volume, Refused):
        return Refusal(refused=volume, plan=plan)
    no_suv = wrong_unit(plan, volume, planned.stack)
    if no_suv is not None:
        return Refusal(refused=planned.stack.refused(no_suv), plan=plan)
    with tools.stage("prompt"):
        found = prompt_volume(request, plan, volume, tools.ruleset)
    prompted, missing = found.prompts, found.missing
    with tools.stage("segment"):
        objects = segment_objects(volume, prompted, tools)
    verdicts = judge(prompted.objects, objects.results, volume, objects.second_looks)
    kept = objects.keep(verdict.object_id for verdict in verdicts if verdict.delivers)
    findings = Findings(request=request, plan=plan, volume=volume, prompted=prompted, objects=kept, verdicts=verdicts)
    with tools.stage("write"):
        results = write_results(findings, tools.result)
        withheld = objects.keep(verdict.object_id for verdict in verdicts if not verdict.delivers)
        review = write_review(replace(findings, objects=withheld), tools.result, first=len(results.written))
    written = (*results.written, *review)
    if not kept.results:
        reasons = tuple(reason for verdict in verdicts for reason in verdict.reasons) + missing
        return Skipped(reasons=reasons, written=written, shadow=plan.rule.shadow, rule=plan.rule.name, withheld=len(verdicts))
    return Segmented(
        written=written,
        provenance=results.provenance,
        verdicts=verdicts,
        volume=volume,
        objects=kept,
        missing=missing,
        shadow=plan.rule.shadow,
    )
