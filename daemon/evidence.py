"""The evidence: what headers, rules and the sender's archive say about whether a series is whole, and how urgent it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daemon.annotations import asks_for_annotations, read_study
from daemon.contest import Contestant, contestant_of
from daemon.planning import matched_parts
from daemon.request import SeriesRequest
from daemon.store import Priority, Store, WaitingSeries
from dicom_io.errors import DicomError, NotDicom, RejectedInput
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.missing_slices import missing_slices
from dicom_io.series import judge_series
from dicom_io.values import READING_ERRORS
from rules.match import Plan
from rules.off_peak import OffPeak
from rules.predicates import Attributes
from rules.rule import Completeness, RuleSet

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
    quiet_seconds: float | None = None
    """What the rule says instead of `arrivals.quiet_seconds`."""
    wait_seconds: float | None = None
    """What the rule says instead of `arrivals.incomplete_seconds`."""
    on_partial: Literal["run", "hold", "discard"] | None = None
    """What the rule says instead of `arrivals.incomplete`."""
    off_peak: OffPeak | None = None
    """The window in which its job may begin."""
    contestant: Contestant | None = None
    """What the series takes part with where its rule takes only the best one of a study."""


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


def gather(
    paths: Sequence[Path], waiting: WaitingSeries, ruleset: RuleSet, count: Count | None, study: Sequence[InstanceHeader] = ()
) -> Evidence:
    """Read the headers of a series, match it, and ask its source where one is configured (`count`).

    `study`: the study's other instances, where a rule asks whether something was drawn on the series.
    """
    headers = _readable(paths)
    plans = _plans(headers, waiting, ruleset, study)
    plan = plans[0][0] if plans else None
    expected, failed = _asked(waiting, count)
    completeness = plan.rule.completeness if plan else Completeness()
    contestant = contestant_of(plans)
    priority = _priority(headers, plan)
    planes = [header.plane for header in headers if header.plane is not None]
    return Evidence(
        instances=len(paths),
        expected_by_rule=completeness.instances,
        expected_by_source=expected,
        source_failed=failed,
        missing_slices=missing_slices(planes) if plan and len(planes) == len(headers) else 0,
        identities=len({tuple(str(header.dataset.get(keyword) or "") for keyword in IDENTITY) for header in headers}) or 1,
        # The best of a study can be told only once the study is there.
        study_series=completeness.study_series or (1 if contestant else None),
        priority=priority,
        quiet_seconds=completeness.quiet_seconds,
        wait_seconds=completeness.wait_seconds,
        on_partial=completeness.on_partial,
        off_peak=plan.rule.off_peak if plan and priority >= Priority.ROUTINE else None,
        contestant=contestant,
    )


def gatherer(
    store: Store, ruleset: Callable[[], RuleSet], count_of: Callable[[WaitingSeries], Count | None]
) -> Callable[[WaitingSeries], Evidence]:
    """Return the function that gathers the evidence of a series in `store`, by the rules that hold when it is called.

    Headers that cannot be judged are the worker's to refuse with their reason: here they are no evidence against the series,
    and never end the process that receives.
    """

    def of_series(waiting: WaitingSeries) -> Evidence:
        paths, rules = store.series_paths(waiting), ruleset()
        try:
            study = read_study(store.study_paths(waiting)) if asks_for_annotations(rules) else ()
            return gather(paths, waiting, rules, count_of(waiting), study)
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


def _plans(
    headers: Sequence[InstanceHeader], waiting: WaitingSeries, ruleset: RuleSet, study: Sequence[InstanceHeader]
) -> list[tuple[Plan, Attributes]]:
    """The plans of the volumes, and of the parts that are no volume yet, that a rule matches, with what they were matched by."""
    if not headers:
        return []
    try:
        series = judge_series(headers)
    except RejectedInput:
        return []  # the worker refuses it with this reason
    request = SeriesRequest(
        series=series,
        created=waiting.last_arrival,
        calling_ae_title=waiting.calling_ae_title,
        called_ae_title=waiting.called_ae_title,
        source_address=waiting.source_address,
        study=tuple(study),
    )
    return matched_parts(request, ruleset)


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
