"""What becomes of a test study in the live installation, read off the store: each step when it is seen, and at the end why it went so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from daemon.clock import Clock
from daemon.database.outbox_rows import WAITING_STATES
from daemon.job_states import OPEN, JobState
from daemon.live_test.forecast import Forecast
from daemon.store import Job, OutboxState, SeriesState, Store
from daemon.summary import summary

POLL_SECONDS = 0.5

STEPS: Mapping[JobState, str] = MappingProxyType(
    {
        JobState.QUEUED: "it waits for a worker",
        JobState.RUNNING: "a worker has it",
        JobState.DELIVERING: "its results are made and checked",
        JobState.DELIVERED: "its results are where they belong",
        JobState.SKIPPED: "it was skipped",
        JobState.REFUSED: "it was refused",
        JobState.QUARANTINED: "it was put aside",
        JobState.CANCELLED: "a person gave it up",
        JobState.SUPERSEDED: "a later job takes its place",
    }
)
CURES: Mapping[JobState, str] = MappingProxyType(
    {
        JobState.SKIPPED: "where no rule matched, the service has other rules than those on disk: `systemctl reload medsam2d` reads them "
        "anew; where a mask was withheld, these weights do not find the phantom well enough for this rule",
        JobState.REFUSED: "docs/troubleshooting.md explains the code",
        JobState.QUARANTINED: "`medsam2d jobs show N` says more; `medsam2d doctor` packs what support needs",
        JobState.CANCELLED: "`medsam2d jobs retry N` lets it run again",
        JobState.SUPERSEDED: "`medsam2d jobs list` shows the later one",
    }
)
"""What helps where a job ended without a result."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that happened to the test study."""

    at: datetime
    what: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the test ended."""

    good: bool
    words: str
    cure: str = ""


def steps_of(
    store: Store, study_instance_uid: str, clock: Clock, give_up: Callable[[], bool], sleep: Callable[[float], None]
) -> Iterator[Step]:
    """Yield each step once, until the study's job has ended or cannot go on by itself, or `give_up` says that the time is up."""
    seen: set[tuple[object, ...]] = set()
    while True:
        jobs = store.jobs_of_study(study_instance_uid)
        for key, step in (found for job in jobs for found in _news(store, job, clock())):
            if key not in seen:
                seen.add(key)
                yield step
        if (jobs and _has_ended(store, jobs[-1])) or give_up():
            return
        sleep(POLL_SECONDS)


def ending_of(store: Store, study_instance_uid: str, expected: Forecast, now: datetime) -> Ending:
    """Say how it ended, or where it stands, and what helps."""
    jobs = store.jobs_of_study(study_instance_uid)
    if not jobs:
        return _not_complete(store, study_instance_uid, expected, now)
    job = jobs[-1]
    strangers = sorted({entry.destination for entry in store.deliveries_of(job)} - set(expected.destinations))
    if strangers:
        cure = (
            "the service has other rules than those on disk: look for the test there, and `systemctl reload medsam2d` reads the rules anew"
        )
        return Ending(good=False, words=f"results went to {', '.join(strangers)}, which the rules on disk do not name", cure=cure)
    if job.state is JobState.DELIVERED:
        return Ending(
            good=True, words=f"delivered in {(job.updated_at - job.created_at).total_seconds():.0f} s after its series was complete"
        )
    if job.state not in OPEN:
        return Ending(
            good=False, words=f"job {job.id} is {job.state.value}: {_reason(job)}", cure=CURES[job.state].replace(" N`", f" {job.id}`")
        )
    return _still_open(store, job)


def _news(store: Store, job: Job, now: datetime) -> Iterator[tuple[tuple[object, ...], Step]]:
    yield (job.id,), Step(at=job.created_at, what=f"job {job.id}: its series is complete")
    why = f" ({_reason(job)})" if job.error_code else ""
    # Before the first change that anybody saw, a job has been where it was since it was made.
    yield (job.id, job.state, job.error_code), Step(at=job.updated_at, what=f"job {job.id}: {STEPS[job.state]}{why}")
    for entry in store.deliveries_of(job):
        if entry.state not in (OutboxState.SPARE, OutboxState.PENDING):
            what = f"{entry.sop_instance_uid} to {entry.destination}: {entry.state.value.lower()}"
            yield (job.id, entry.destination, entry.sop_instance_uid, entry.state), Step(at=now, what=what)


def _has_ended(store: Store, job: Job) -> bool:
    if job.state not in OPEN:
        return True
    states = {entry.state for entry in store.deliveries_of(job)}
    return job.state is JobState.DELIVERING and OutboxState.QUARANTINED in states and not states & set(map(OutboxState, WAITING_STATES))


def _not_complete(store: Store, study_instance_uid: str, expected: Forecast, now: datetime) -> Ending:
    series = next((one for one in store.waiting_series(SeriesState) if one.study_instance_uid == study_instance_uid), None)
    if series is None:
        return Ending(
            good=False,
            words="the listener took the study, but this store does not have it",
            cure="this configuration is not that of the service that listens there: give the one in `systemctl cat medsam2d`",
        )
    waited = (now - series.last_arrival).total_seconds()
    if waited < expected.quiet_seconds:
        words = f"its series counts as complete {expected.quiet_seconds:g} s after its last instance, {waited:.0f} s have passed"
        return Ending(good=False, words=words, cure="give it more time with --timeout")
    return Ending(
        good=False,
        words=f"its series is {series.state.value} since {waited:.0f} s, with no job",
        cure="`medsam2d status` says what is held and why; `completeness` of the rule may ask for more than the test has",
    )


def _still_open(store: Store, job: Job) -> Ending:
    if job.state is JobState.RUNNING:
        return Ending(good=False, words=f"a worker still has job {job.id}", cure="give it more time with --timeout")
    if job.state is JobState.QUEUED:
        return _still_queued(store, job)
    waiting = [row for row in store.open_deliveries() if row.job_id == job.id]
    words = "; ".join(
        f"{row.destination}: {row.state}" + (f" [{row.error_code}] {row.error_message}" if row.error_code else "") for row in waiting
    )
    names = " and ".join(f"`medsam2d destinations probe {name}`" for name in sorted({row.destination for row in waiting}))
    return Ending(
        good=False, words=f"its results are made, and not delivered ({words})", cure=f"{names} says what the destination would take"
    )


def _still_queued(store: Store, job: Job) -> Ending:
    seen = summary(store, errors=0)
    if seen.drained_since is not None:
        words = f"job {job.id} waits, since the service is drained since {seen.drained_since:%Y-%m-%d %H:%M:%S}Z"
        return Ending(good=False, words=words, cure="`medsam2d drain --off` lets jobs begin")
    if job.error_code:
        return Ending(
            good=False,
            words=f"job {job.id} could not go on and is tried again: {_reason(job)}",
            cure="docs/troubleshooting.md explains the code",
        )
    if job.off_peak is not None:
        return Ending(
            good=False, words=f"job {job.id} may begin only off peak ({job.off_peak})", cure="send the test by a rule without `off_peak`"
        )
    ahead = seen.jobs.get(JobState.QUEUED.value, 1) - 1
    running = seen.jobs.get(JobState.RUNNING.value, 0)
    return Ending(
        good=False,
        words=f"job {job.id} waits for a worker ({running} jobs run, {ahead} others wait)",
        cure="is the service's worker up? `systemctl status medsam2d`; behind other jobs give it more time with --timeout",
    )


def _reason(job: Job) -> str:
    lines = (job.error_message or "").strip().splitlines()
    return f"[{job.error_code}] {lines[-1] if lines else ''}".strip()
