"""What the pages show, as plain values: read from the store, free of HTML, and of anything that names a patient."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from daemon.contest import standing_of
from daemon.database.job import job_of
from daemon.database.schema import JOB
from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.result_pictures import ResultPicture, ResultPictures
from daemon.store import Job, Store
from daemon.summary import summary

LATEST_JOBS = 50
TONES: Mapping[JobState, str] = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "active",
    JobState.DELIVERING: "active",
    JobState.DELIVERED: "good",
    JobState.SKIPPED: "quiet",
    JobState.CANCELLED: "quiet",
    JobState.SUPERSEDED: "quiet",
    JobState.REFUSED: "warning",
    JobState.QUARANTINED: "bad",
}
"""How a state is coloured; its name stands beside the colour."""
TRACEBACK = "bug-"
"""A fault of ours is kept with its traceback, whose words may quote a patient's header: a page shows its code alone."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that a person should look at."""

    tone: str
    text: str


@dataclass(frozen=True, kw_only=True)
class JobLine:
    """A job in a list."""

    id: int
    state: str
    tone: str
    series: str
    source: str
    queued: str
    took: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RuleLine:
    """What a rule did in the last day."""

    name: str
    volumes: int
    withheld: int
    median: str
    """From the last image to delivered results, in words; empty where nothing was delivered."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The first page."""

    alarms: tuple[Alarm, ...]
    states: tuple[tuple[str, str, int], ...]
    """(state, tone, number of jobs), every state."""
    arriving: int
    held: Mapping[str, int]
    outbox: tuple[tuple[str, int, int], ...]
    """(destination, waiting, quarantined), every destination of the configuration."""
    rules: tuple[RuleLine, ...]
    """In the order in which they are tried."""
    ledger: Mapping[str, int]
    balanced: bool
    disks: tuple[tuple[str, int, str], ...]
    """(folder, percent used, free space in words)."""
    jobs: tuple[JobLine, ...]


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """One job."""

    line: JobLine
    study: str
    priority: str
    attempts: int
    instances: int
    events: tuple[tuple[str, str], ...]
    """(when, what), the earliest first."""
    results: tuple[tuple[str, str, str], ...]
    """(destination, SOP Instance UID, state)."""
    pictures: tuple[ResultPicture, ...]


def overview(
    store: Store,
    now: datetime,
    destinations: Sequence[str],
    folders: Mapping[str, Path],
    rules: Sequence[str],
    faults: Mapping[str, str],
) -> Overview:
    """Return the first page; `rules`: the configured ones by name; `faults`: what the readiness checks found."""
    seen, accounts = summary(store, errors=0), ledger(store)
    waiting = store.waiting_by_destination()
    outbox = tuple((name, sum(found.values()) - found.get("QUARANTINED", 0), found.get("QUARANTINED", 0))
                   for name in sorted({*destinations, *waiting}) for found in (waiting.get(name, {}),))  # fmt: skip
    return Overview(
        alarms=tuple(_alarms(seen.jobs, outbox, seen.drained_since, faults, balanced=accounts.balanced)),
        states=tuple((state.value.lower(), TONES[state], seen.jobs.get(state.value, 0)) for state in JobState),
        arriving=seen.series_waiting,
        held=seen.series_held,
        outbox=outbox,
        rules=_rules(store, now - timedelta(days=1), rules),
        ledger={name.replace("_", " "): count for name, count in asdict(accounts).items()},
        balanced=accounts.balanced,
        disks=tuple(_disk(name, folder) for name, folder in folders.items() if folder.is_dir()),
        jobs=latest_jobs(store, now, LATEST_JOBS),
    )


def latest_jobs(store: Store, now: datetime, limit: int, state: JobState | None = None) -> tuple[JobLine, ...]:
    """Return the latest jobs, those that changed last first."""
    query = select(JOB).order_by(JOB.c.updated_at.desc(), JOB.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(JOB.c.state == state.value)
    with store.database.reading() as connection:
        return tuple(_line(job_of(row), now) for row in connection.execute(query))


def job_page(store: Store, job_id: int, now: datetime, pictures: ResultPictures | None) -> JobPage:
    """Return the page of a job. Raises `daemon.store.UnknownJob`."""
    job = store.job(job_id)
    return JobPage(
        line=_line(job, now),
        study=job.study_instance_uid,
        priority=job.priority.name.lower(),
        attempts=job.attempt,
        instances=len(store.instance_paths(job)),
        events=tuple(_events(job)),
        results=tuple((entry.destination, entry.sop_instance_uid, entry.state.value.lower()) for entry in store.deliveries_of(job)),
        pictures=() if pictures is None else pictures.of(job_id),
    )


def _events(job: Job) -> list[tuple[str, str]]:
    standing = standing_of(job)
    events = [(moment_text(job.created_at), "its series was complete" + (f", but {job.partial_reason}" if job.partial_reason else ""))]
    if standing is not None:
        events.append((moment_text(job.created_at), f"rule {standing.rule}: {standing.words}"))
    if job.attempt:
        events.append(("", f"claimed by a worker {job.attempt} time(s), {job.failures} failure(s)"))
    events.append((moment_text(job.updated_at), f"{job.state.value.lower()}{': ' if reason_text(job) else ''}{reason_text(job)}"))
    if job.superseded_by is not None:
        events.append(("", f"superseded by job {job.superseded_by}"))
    return events


def _line(job: Job, now: datetime) -> JobLine:
    end = now if TONES[job.state] in ("waiting", "active") else job.updated_at
    return JobLine(
        id=job.id,
        state=job.state.value.lower(),
        tone=TONES[job.state],
        series=job.series_instance_uid,
        source=job.calling_ae_title,
        queued=moment_text(job.created_at),
        took=_span(end - job.created_at),
        reason=reason_text(job),
    )


def reason_text(job: Job) -> str:
    """Return why a job did not go on, without a traceback's words; empty for one that did."""
    if not job.error_code:
        return ""
    if job.error_code.startswith(TRACEBACK):
        return f"[{job.error_code}] a fault of the software: see `medsam2d jobs show {job.id}`"
    return f"[{job.error_code}] {job.error_message or ''}".strip()


def _alarms(
    jobs: Mapping[str, int], outbox: Sequence[tuple[str, int, int]], drained: datetime | None, faults: Mapping[str, str], *, balanced: bool
) -> list[Alarm]:
    quarantined = jobs.get(JobState.QUARANTINED.value, 0)
    found = [Alarm(tone="bad", text=f"{name}: {words}") for name, words in faults.items()]
    if not balanced:
        found.append(Alarm(tone="bad", text="The ledger is not balanced: report this as a bug."))
    if quarantined:
        found.append(Alarm(tone="bad", text=f"{quarantined} job(s) are put aside and wait for a person."))
    found += [
        Alarm(tone="bad", text=f"{refused} result(s) are refused by {name}: the quarantine says why.")
        for name, _, refused in outbox
        if refused
    ]
    if drained is not None:
        found.append(Alarm(tone="warning", text=f"Drained since {moment_text(drained)}: no job begins until `medsam2d drain --off`."))
    return found


def _rules(store: Store, since: datetime, names: Sequence[str]) -> tuple[RuleLine, ...]:
    outcomes, took = store.outcomes_by_rule(since), store.seconds_by_rule(since)
    return tuple(
        RuleLine(
            name=name,
            volumes=outcomes[name].volumes if name in outcomes else 0,
            withheld=outcomes[name].withheld if name in outcomes else 0,
            median=_span(timedelta(seconds=statistics.median(took[name]))) if name in took else "",
        )
        for name in names
    )


def _disk(name: str, folder: Path) -> tuple[str, int, str]:
    usage = shutil.disk_usage(folder)
    return name, round(100 * (usage.total - usage.free) / usage.total), f"{usage.free / 2**30:.1f} GiB free"


def moment_text(moment: datetime) -> str:
    """Return a moment as every page writes it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _span(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    return f"{minutes} min" if minutes < 120 else f"{hours} h" if hours < 48 else f"{hours // 24} d"
