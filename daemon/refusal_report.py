"""The report of a refusal: where a rule asks for reports, one says that its targets were not looked for, and why."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pydicom.uid import ComprehensiveSRStorage

from daemon.config import ResultSettings
from daemon.gate import pass_gate
from daemon.predecessors import superseded_reports
from daemon.provenance import identify, trace_refusal, tracking_uid
from daemon.refusals import Refusal
from daemon.request import SeriesRequest
from daemon.written import ObjectKind, WrittenObject
from dicom_io.errors import InvalidResult, RejectedInput
from dicom_io.report import write_report
from dicom_io.report_check import check_report
from dicom_io.report_types import Outcome, ReportContent, ReportedTarget
from dicom_io.segmentation_source import SourceHeaders, read_instance_headers
from rules.match import Plan


def with_report(refusal: Refusal, request: SeriesRequest, settings: ResultSettings) -> Refusal:
    """Write the report of a refusal where its rule asks for one; the same where it does not, or where the headers allow none.

    Raises `daemon.gate.GateFailure`.
    """
    plan = refusal.plan
    if plan is None or "sr" not in plan.rule.outputs.objects:
        return refusal
    try:
        headers = read_instance_headers(list(dict.fromkeys(header.path for header in refusal.refused.headers)))
    except (RejectedInput, InvalidResult):
        return refusal  # not even a header that patient and study could be carried from
    return replace(refusal, written=(_report(refusal, plan, request, settings, headers),))


def _report(refusal: Refusal, plan: Plan, request: SeriesRequest, settings: ResultSettings, headers: SourceHeaders) -> WrittenObject:
    series_uid = request.series.series_instance_uid
    content = ReportContent(
        targets=tuple(
            ReportedTarget(
                label=target.label,
                category=target.category,
                type=target.type,
                laterality=target.laterality,
                region=target.region,
                tracking_uid=tracking_uid(settings, series_uid, plan, target.label, "0"),
                outcome=Outcome.REFUSED,
                reasons=refusal.reasons,
            )
            for target in plan.targets
        ),
        unit="",
        modality=request.series.modality,
        predecessors=superseded_reports(request, str(headers.first.StudyInstanceUID)),
    )
    provenance = trace_refusal(request, plan, refusal.reasons, headers)
    identity = identify(provenance, request, settings, 0, "AI_REPORT", repr(content))
    check = partial(check_report, content=content, headers=headers)
    return pass_gate(ObjectKind.SR, write_report(content, identity, headers), identity, ComprehensiveSRStorage, plan.destinations, check)
