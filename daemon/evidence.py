"""The evidence: what headers, rules and the sender's archive say about whether a series is whole, and how urgent it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.request import SeriesRequest
from daemon.store import Priority, Store, WaitingSeries
from dicom_io.errors import DicomError, NotDicom, RejectedInput
from dicom_io.instance import READING_ERRORS, InstanceHeader, read_header
from dicom_io.missing_slices import missing_slices
from dicom_io.series import judge_series
from dicom_io.slice_stack import Refused, SliceStack
from rules.match import Plan, match
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.evidence")

PRIORITY_OF_HEADER = {"STAT": Priority.STAT, "HIGH": Priority.URGENT}
"""Values of Requested Procedure Priority (0040,1003) and Study Priority ID (0032,000C) that make a job more urgent than its rule does."""
IDENTITY = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber")
"""What all instances of a series must share; a correction changes it one instance after the other."""

Count = Callable[[WaitingSeries], int | None]
"""Asks the sender's archive how many instances a series has; None where it does not know. Raises `dicom_io.errors.PeerError`."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a quiet series."""

    instances: int
    expected_by_rule: int | None = None
    expected_by_source: int | None = None
    source_failed: bool = False
    """The sender's archive could not be asked."""
    missing_slices: int = 0
    identities: int = 1
    """How many different patients or studies its headers name."""
    study_series: int | None = None
    """The rule waits for the study, and for at least so many series of it."""
    priority: Priority = Priority.ROUTINE


def shortfall(evidence: Evidence) -> str | None:
    """Return what is missing, in words without anything of the patient; None for a whole series."""
    found = evidence.instances
    checks = (
        (evidence.expected_by_source is not None and found < evidence.expected_by_source,
         f"{found} of {evidence.expected_by_source} instances that the source counts"),
        (evidence.expected_by_rule is not None and found < evidence.expected_by_rule,
         f"{found} of {evidence.expected_by_rule} instances that the rule expects"),
        (evidence.missing_slices > 0, f"{evidence.missing_slices} slices are missing between those that came"),
        (evidence.identities > 1, f"the instances name {evidence.identities} patients or studies: a correction is not through"),
        (evidence.source_failed, "the source could not be asked for its count"),
    )  # fmt: skip
    reasons = [words for holds, words in checks if holds]
    return "; ".join(reasons) or None


def gather(paths: Sequence[Path], waiting: WaitingSeries, ruleset: RuleSet, count: Count | None) -> Evidence:
    """Read the headers of a series, match it, and ask its source where one is configured (`count`)."""
    headers = _readable(paths)
    plan = _plan(headers, waiting, ruleset)
    expected, failed = _asked(waiting, count)
    completeness = plan.rule.completeness if plan else None
    planes = [header.plane for header in headers if header.plane is not None]
    return Evidence(
        instances=len(paths),
        expected_by_rule=completeness.instances if completeness else None,
        expected_by_source=expected,
        source_failed=failed,
        missing_slices=missing_slices(planes) if plan and len(planes) == len(headers) else 0,
        identities=len({tuple(str(header.dataset.get(keyword) or "") for keyword in IDENTITY) for header in headers}) or 1,
        study_series=completeness.study_series if completeness else None,
        priority=_priority(headers, plan),
    )


def gatherer(
    store: Store, ruleset: Callable[[], RuleSet], count_of: Callable[[WaitingSeries], Count | None]
) -> Callable[[WaitingSeries], Evidence]:
    """Return the function that gathers the evidence of a series in `store`, by the rules that hold when it is called.

    Headers that cannot be judged are the worker's to refuse with their reason: here they are no evidence against the series,
    and never end the process that receives.
    """

    def of_series(waiting: WaitingSeries) -> Evidence:
        paths = store.series_paths(waiting)
        try:
            return gather(paths, waiting, ruleset(), count_of(waiting))
        except (*READING_ERRORS, IndexError, ZeroDivisionError) as error:
            LOG.warning("series %s: its headers cannot be judged (%s)", waiting.series_instance_uid, type(error).__name__)
            return Evidence(instances=len(paths))

    return of_series


def _readable(paths: Sequence[Path]) -> list[InstanceHeader]:
    headers = []
    for path in paths:
        try:
            headers.append(read_header(path))
        except (NotDicom, OSError) as error:
            LOG.warning("%s: not readable while its series was judged: %s", path.name, type(error).__name__)
    return headers


def _plan(headers: Sequence[InstanceHeader], waiting: WaitingSeries, ruleset: RuleSet) -> Plan | None:
    """The plan of the first volume that a rule matches, else of the first part that is no volume yet; None if nothing matches."""
    if not headers:
        return None
    calling, called = waiting.calling_ae_title, waiting.called_ae_title
    try:
        series = judge_series(headers)
    except RejectedInput:
        return None  # the worker refuses it with this reason
    request = SeriesRequest(series=series, created=waiting.last_arrival, calling_ae_title=calling, called_ae_title=called)
    parts: tuple[SliceStack | Refused, ...] = (*series.stacks, *series.refused)
    plans = (match(request.attributes_of(part), ruleset) for part in parts)
    return next((plan for plan in plans if isinstance(plan, Plan)), None)


def _asked(waiting: WaitingSeries, count: Count | None) -> tuple[int | None, bool]:
    if count is None:
        return None, False
    try:
        return count(waiting), False
    except DicomError as error:
        LOG.warning("the source of %s could not be asked how many instances a series has: %s", waiting.calling_ae_title, error)
        return None, True


def _priority(headers: Sequence[InstanceHeader], plan: Plan | None) -> Priority:
    """The more urgent of what the rule says and what the header says."""
    by_rule = Priority[plan.rule.priority.upper()] if plan else Priority.ROUTINE
    said = [str(headers[0].dataset.get(keyword) or "") for keyword in ("RequestedProcedurePriority", "StudyPriorityID")] if headers else []
    return min([by_rule, *(PRIORITY_OF_HEADER[text] for text in said if text in PRIORITY_OF_HEADER)])
