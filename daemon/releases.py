"""Letting go on what was put aside: the change in the store and its audit record, by whichever way a person asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.audit import Audit
from daemon.errors import ConfigError
from daemon.person import Person
from daemon.store import Conflict, ConflictVerdict, Job, JobState, Store


def release_job(store: Store, audit: Audit, job_id: int, person: Person) -> Job:
    """Let a quarantined, refused, skipped or cancelled job be tried again. Raises UnknownJob, IllegalMove or InputsRemoved."""
    job = store.release(job_id)
    audit.job_released(job, person)
    return job


def release_instances(store: Store, audit: Audit, conflicts: Iterable[Conflict], person: Person) -> int:
    """Let quarantined instances take the place of those that came first; return of how many that was so."""
    released = 0
    for conflict in conflicts:
        if store.conclude(conflict.id, ConflictVerdict.RELEASED):
            audit.conflict_examined(conflict, ConflictVerdict.RELEASED, person)
            released += 1
    return released


def release_results(store: Store, audit: Audit, destination: str | None, person: Person) -> int:
    """Send again what a destination (or every one: None) refused for good; return how many results that are."""
    count = store.release_deliveries(destination)
    audit.deliveries_released(destination, count, person)
    return count


def quarantined_job(store: Store, job_id: int) -> Job:
    """Return a job that is quarantined. Raises UnknownJob, or ConfigError where it is in another state."""
    job = store.job(job_id)
    if job.state is not JobState.QUARANTINED:
        raise ConfigError(f"job {job_id}: expected a quarantined job, got one that is {job.state.value}; see `medsam2d jobs`")
    return job


def quarantined_instance(store: Store, number: int) -> Conflict:
    """Return an instance that is quarantined. Raises ConfigError where none has this number."""
    found = next((conflict for conflict in store.conflicts() if conflict.id == number), None)
    if found is None:
        raise ConfigError(f"instance:{number}: no instance of this number is quarantined; `medsam2d quarantine list` shows them")
    return found
