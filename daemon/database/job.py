"""A job: one complete series on its way to results."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from daemon.job_states import JobState


class Priority(enum.IntEnum):
    """How urgent a job is; within one priority the older goes first, and `PATIENCE` keeps the others from starving."""

    STAT = 0
    URGENT = 1
    ROUTINE = 5
    REPROCESS = 9


PATIENCE: Mapping[Priority, timedelta] = MappingProxyType(
    {
        Priority.STAT: -timedelta(days=36500),  # before everything else, however long that has waited
        Priority.URGENT: timedelta(0),
        Priority.ROUTINE: timedelta(hours=8),
        Priority.REPROCESS: timedelta(days=3),
    }
)
"""How long a job of this priority lets later, more urgent ones pass: it is claimed as if it had come so much later."""


def claim_order(created_at: datetime, priority: Priority) -> datetime:
    """Return the moment that decides when a queued job is claimed: the earliest goes first."""
    return created_at + PATIENCE[priority]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the store had it when it was read."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    state: JobState
    attempt: int
    """How often it was claimed; 1 during the first run."""
    failures: int
    """Failures and deaths that count towards quarantine, since it was created or released."""
    priority: Priority
    error_code: str | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime
    run_at: datetime
    """Not claimed before this moment."""
    token: str | None
    """The fencing token of the present claim: whoever writes must hold it."""
    calling_ae_title: str
    called_ae_title: str
    source_address: str = ""
    """Where the last instance of its series came from; empty for a file of the inbox."""
    off_peak: str | None = None
    """The window in which it may begin, as JSON of `rules.off_peak.OffPeak`; None: at any time."""
    selection: str | None = None
    """How its series stood among those of its study, as JSON (`daemon.contest`); None where its rule takes every series."""
    partial_reason: str | None = None
    """Why its series counted as complete although something is missing; None for a whole one."""
    superseded_by: int | None = None
    """The later job over more, or corrected, instances of it, or over a better series of its study."""


def job_of(row: Row[Any]) -> Job:
    """Return the job in a row of the table `job`."""
    return Job(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        state=JobState(row.state),
        attempt=row.attempt,
        failures=row.failures,
        priority=Priority(row.priority),
        error_code=row.error_code,
        error_message=row.error_message,
        created_at=row.created_at,
        updated_at=row.updated_at,
        run_at=row.run_at,
        token=row.owner,
        calling_ae_title=row.calling_ae_title,
        called_ae_title=row.called_ae_title,
        source_address=row.source_address,
        off_peak=row.off_peak,
        selection=row.selection,
        partial_reason=row.partial_reason,
        superseded_by=row.superseded_by,
    )
