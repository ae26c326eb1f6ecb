"""Arrivals: when is a series complete? When nothing of it has arrived for a quiet period."""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.clock import Clock
from daemon.store import Job, Store


def is_quiet(last_arrival: datetime, now: datetime, quiet_seconds: float) -> bool:
    """Tell whether a series whose last instance came at `last_arrival` counts as complete."""
    return now >= quiet_at(last_arrival, quiet_seconds)


def quiet_at(last_arrival: datetime, quiet_seconds: float) -> datetime:
    """Return the moment at which a series is complete unless more arrives."""
    return last_arrival + timedelta(seconds=quiet_seconds)


def complete_quiet_series(store: Store, clock: Clock, quiet_seconds: float) -> tuple[Job, ...]:
    """Complete every series that is quiet and return the jobs that this queued.

    Each series is one transaction: complete and queued, or neither. A late instance opens its series again, and leads to a new
    job over all its instances; the same content never gets a second job.
    """
    now = clock()
    quiet = [series for series in store.waiting_series() if is_quiet(series.last_arrival, now, quiet_seconds)]
    jobs = [store.complete_series(series) for series in quiet]
    return tuple(job for job in jobs if job is not None)


def next_deadline(store: Store, quiet_seconds: float) -> datetime | None:
    """Return when the next series may be complete, None if none waits; an instance that arrives meanwhile may bring another."""
    waiting = store.waiting_series()
    return quiet_at(waiting[0].last_arrival, quiet_seconds) if waiting else None
