"""The summary that `medsam2d status` shows: what is where, what has waited longest, and what went wrong last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from daemon.database.outbox_rows import UNSETTLED_STATES
from daemon.database.schema import JOB, OUTBOX, SERIES, SWITCH
from daemon.database.series import SeriesState
from daemon.database.switches import DRAIN
from daemon.job_states import OPEN, JobState
from daemon.store import Store


@dataclass(frozen=True, kw_only=True)
class LastError:
    """Why a job, or the delivery of its results to `destination`, did not go on."""

    job_id: int
    destination: str | None
    code: str
    message: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The store at one moment."""

    jobs: Mapping[str, int]
    """Number of jobs a state; states without jobs are absent."""
    series_waiting: int
    series_held: Mapping[str, int]
    """Number of held series a reason."""
    drained_since: datetime | None
    """Since when a person lets no job begin."""
    oldest_waiting: datetime | None
    """When the oldest job that has work ahead was queued."""
    outbox: Mapping[str, int]
    """Number of results that wait, a destination."""
    shadow: int
    """Number of jobs whose results were made in shadow, and sent to nobody."""
    last_errors: tuple[LastError, ...]
    """The latest first. Skipping a series is no error."""


def summary(store: Store, errors: int = 10) -> Summary:
    """Return the store's summary with at most `errors` errors."""
    open_states = [state.value for state in OPEN]
    pending = OUTBOX.c.state.in_(UNSETTLED_STATES)
    by_state = select(JOB.c.state, func.count()).group_by(JOB.c.state).order_by(JOB.c.state)
    by_destination = select(OUTBOX.c.destination, func.count()).where(pending).group_by(OUTBOX.c.destination)
    held = select(SERIES.c.reason, func.count()).where(SERIES.c.state == SeriesState.HELD.value).group_by(SERIES.c.reason)
    with store.database.reading() as connection:
        return Summary(
            jobs={row[0]: row[1] for row in connection.execute(by_state)},
            series_waiting=connection.scalar(select(func.count()).where(SERIES.c.state == SeriesState.WAITING.value)) or 0,
            series_held={row[0] or "": row[1] for row in connection.execute(held.order_by(SERIES.c.reason))},
            drained_since=connection.scalar(select(SWITCH.c.since).where(SWITCH.c.name == DRAIN)),
            oldest_waiting=connection.scalar(select(func.min(JOB.c.created_at)).where(JOB.c.state.in_(open_states))),
            outbox={row[0]: row[1] for row in connection.execute(by_destination.order_by(OUTBOX.c.destination))},
            shadow=connection.scalar(select(func.count()).where(JOB.c.error_code == "shadow", JOB.c.state == JobState.SKIPPED.value)) or 0,
            last_errors=_last_errors(connection, errors),
        )


def _last_errors(connection: Connection, limit: int) -> tuple[LastError, ...]:
    of_jobs = select(JOB.c.id, JOB.c.error_code, JOB.c.error_message, JOB.c.updated_at)
    of_jobs = of_jobs.where(JOB.c.error_code.is_not(None), JOB.c.state != JobState.SKIPPED.value)
    of_outbox = select(OUTBOX.c.job_id, OUTBOX.c.destination, OUTBOX.c.error_code, OUTBOX.c.error_message, OUTBOX.c.updated_at)
    of_outbox = of_outbox.where(OUTBOX.c.error_code.is_not(None), OUTBOX.c.state.in_(UNSETTLED_STATES))
    jobs = connection.execute(of_jobs.order_by(JOB.c.updated_at.desc()).limit(limit))
    outbox = connection.execute(of_outbox.order_by(OUTBOX.c.updated_at.desc()).limit(limit))
    found = [LastError(job_id=row[0], destination=None, code=row[1], message=row[2], at=row[3]) for row in jobs]
    found += [LastError(job_id=row[0], destination=row[1], code=row[2], message=row[3], at=row[4]) for row in outbox]
    return tuple(sorted(found, key=lambda error: error.at, reverse=True)[:limit])
