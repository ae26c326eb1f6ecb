"""The book of series: which wait for more instances, and the one step from a complete series to its queued job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, exists, func, insert, or_, select, update

from daemon.database.book import Book
from daemon.database.job import Job, Priority, claim_order, job_of
from daemon.database.jobs import supersede
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, SERIES
from daemon.job_states import JobState
from daemon.series_states import OPEN_SERIES, SERIES_MOVES, SeriesEvent, SeriesState

__all__ = ["NOT_SELECTED", "SeriesBook", "SeriesState", "Terms", "WaitingSeries"]


@dataclass(frozen=True, kw_only=True)
class WaitingSeries:
    """A series that may still grow, and when it last did (aware, UTC)."""

    study_instance_uid: str
    series_instance_uid: str
    last_arrival: datetime
    state: SeriesState = SeriesState.WAITING
    calling_ae_title: str = ""
    called_ae_title: str = ""
    source_address: str = ""
    reason: str | None = None
    """Why it is held."""
    unexamined: bool = False
    """Whether other bytes came under a SOP Instance UID of it, and nobody has looked yet at what they change."""


NOT_SELECTED = "not-selected"
"""The code of a job whose series gave way to a better one of its study."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a queued job carries besides its priority."""

    off_peak: str | None = None
    """The window in which it may begin, as JSON of `rules.off_peak.OffPeak`."""
    selection: str | None = None
    """How its series stood among those of its study, as JSON (`daemon.contest`)."""
    supersedes: tuple[int, ...] = ()
    """Jobs over worse series of the study."""


class SeriesBook(Book):
    """Lists the series that wait, holds and completes them."""

    def waiting_series(self, states: Iterable[SeriesState] = (SeriesState.WAITING,)) -> tuple[WaitingSeries, ...]:
        """Return every series that waits, the longest quiet first."""
        columns = (SERIES.c.study_instance_uid, SERIES.c.series_instance_uid, SERIES.c.last_arrival, SERIES.c.state, SERIES.c.reason)
        titles = (SERIES.c.calling_ae_title, SERIES.c.called_ae_title, SERIES.c.source_address)
        conflict = exists().where(_instances_of_row(), INSTANCE.c.quarantined.is_(True), unexamined())
        query = select(*columns, *titles, conflict.label("unexamined")).order_by(SERIES.c.last_arrival)
        with self.database.reading() as connection:
            rows = connection.execute(query.where(SERIES.c.state.in_([state.value for state in states]))).all()
        return tuple(WaitingSeries(**{**row._mapping, "state": SeriesState(row.state), "unexamined": bool(row.unexamined)}) for row in rows)

    def series_paths(self, waiting: WaitingSeries) -> tuple[Path, ...]:
        """Return the files of the instances that stand for a series now, in the order of their arrival."""
        query = select(INSTANCE.c.path).where(_standing_in(waiting)).order_by(INSTANCE.c.id)
        with self.database.reading() as connection:
            return tuple(Path(path) for path in connection.scalars(query))

    def study_paths(self, series: Job | WaitingSeries) -> tuple[Path, ...]:
        """Return the files of the other series of a study, of the instances that stand there now, in the order of their arrival."""
        same_study = INSTANCE.c.study_instance_uid == series.study_instance_uid
        others = same_study & (INSTANCE.c.series_instance_uid != series.series_instance_uid)
        query = select(INSTANCE.c.path).where(others, standing(), INSTANCE.c.removed_at.is_(None)).order_by(INSTANCE.c.id)
        with self.database.reading() as connection:
            return tuple(Path(path) for path in connection.scalars(query))

    def series_of_study(self, study_instance_uid: str) -> int:
        """Return how many series of a study have come."""
        with self.database.reading() as connection:
            return connection.scalar(select(func.count()).where(SERIES.c.study_instance_uid == study_instance_uid)) or 0

    def hold_series(self, waiting: WaitingSeries, reason: str) -> bool:
        """Put a quiet series on hold, with the reason; False if it has changed since `waiting` was read."""
        with self.database.writing() as connection:
            return _move(connection, waiting, SeriesEvent.PROVE_SHORT, reason)

    def complete_series(
        self, waiting: WaitingSeries, priority: Priority = Priority.ROUTINE, partial_reason: str | None = None, terms: Terms | None = None
    ) -> Job | None:
        """Declare a series complete (or partial, with the reason) and queue a job for its content, in one transaction; return the job.

        None if the series changed since `waiting` was read, or if this very content had its job already. Earlier jobs over
        fewer, or since corrected, instances that are still open are superseded, and so are those that `terms` names.
        """
        event = SeriesEvent.PROVE_WHOLE if partial_reason is None else SeriesEvent.RUN_PARTIAL
        terms = terms or Terms()
        with self.database.writing() as connection:
            if not _move(connection, waiting, event, partial_reason):
                return None
            now = self.clock()
            values: dict[str, object] = {
                "priority": priority.value,
                "claim_order": claim_order(now, priority),
                "run_at": self.may_begin(terms.off_peak, now),
                "off_peak": terms.off_peak,
                "selection": terms.selection,
                "partial_reason": partial_reason,
            }
            job = _queue(connection, waiting, now, values)
            if job is not None:
                for earlier in terms.supersedes:
                    supersede(connection, earlier, now, by=job.id)
            return job

    def discard_series(self, waiting: WaitingSeries, reason: str) -> Job | None:
        """Declare that a part is not processed: its job is SKIPPED from the start, with the reason; see `complete_series`."""
        return self._close(waiting, SeriesEvent.DISCARD, "incomplete", reason, {"partial_reason": reason})

    def pass_over_series(self, waiting: WaitingSeries, reason: str, selection: str) -> Job | None:
        """Declare that another series of the study serves their rule better: its job is SKIPPED from the start; see `complete_series`."""
        return self._close(waiting, SeriesEvent.PASS_OVER, NOT_SELECTED, reason, {"selection": selection})

    def chosen_of_study(self, study_instance_uid: str) -> tuple[Job, ...]:
        """Return the jobs over series of a study that were chosen among others, and that stand, the oldest first."""
        same_study = (JOB.c.study_instance_uid == study_instance_uid) & JOB.c.selection.is_not(None) & JOB.c.superseded_by.is_(None)
        given_up = JOB.c.state.in_((JobState.CANCELLED.value, JobState.SUPERSEDED.value))
        passed_over = (JOB.c.state == JobState.SKIPPED.value) & (JOB.c.error_code == NOT_SELECTED)
        with self.database.reading() as connection:
            rows = connection.execute(select(JOB).where(same_study, ~given_up, ~passed_over).order_by(JOB.c.id)).all()
        return tuple(job_of(row) for row in rows)

    def _close(self, waiting: WaitingSeries, event: SeriesEvent, code: str, reason: str, values: dict[str, object]) -> Job | None:
        """Close a series without processing it: its job is SKIPPED from the start."""
        with self.database.writing() as connection:
            if not _move(connection, waiting, event, reason):
                return None
            now = self.clock()
            ended = {"state": JobState.SKIPPED.value, "error_code": code, "error_message": reason}
            routine = {"priority": Priority.ROUTINE.value, "claim_order": claim_order(now, Priority.ROUTINE), "run_at": now}
            return _queue(connection, waiting, now, {**routine, **ended, **values})


def content_sha256(instances: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 that names a content: (SOP Instance UID, SHA-256 of the bytes) of every instance, in any order."""
    lines = sorted(f"{uid} {sha256}\n" for uid, sha256 in instances)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def standing() -> ColumnElement[bool]:
    """The instances that count: accepted, and not replaced by a correction."""
    return INSTANCE.c.quarantined.is_(False) & INSTANCE.c.superseded_by.is_(None)


def unexamined() -> ColumnElement[bool]:
    """Of quarantined instances, those of which nobody knows yet what they change."""
    return INSTANCE.c.verdict.is_(None) | (INSTANCE.c.verdict == "examining")


def open_series_of(connection: Connection, study_instance_uid: str, series_instance_uid: str, arrived: dict[str, object]) -> None:
    """Let a series wait (again) for more; `arrived` has its last arrival and AE titles."""
    row = (SERIES.c.study_instance_uid == study_instance_uid) & (SERIES.c.series_instance_uid == series_instance_uid)
    values = {**arrived, "state": SeriesState.WAITING.value, "reason": None}
    if connection.execute(update(SERIES).where(row).values(**values)).rowcount == 0:
        uids = {"study_instance_uid": study_instance_uid, "series_instance_uid": series_instance_uid}
        connection.execute(insert(SERIES).values(**uids, **values))


def _move(connection: Connection, waiting: WaitingSeries, event: SeriesEvent, reason: str | None) -> bool:
    """Move a series on if it is as it was when `waiting` was read."""
    row = (SERIES.c.study_instance_uid == waiting.study_instance_uid) & (SERIES.c.series_instance_uid == waiting.series_instance_uid)
    unchanged = row & SERIES.c.state.in_([state.value for state in OPEN_SERIES]) & (SERIES.c.state == waiting.state.value)
    unchanged &= SERIES.c.last_arrival == waiting.last_arrival
    values = {"state": SERIES_MOVES[waiting.state, event].value, "reason": reason}
    return connection.execute(update(SERIES).where(unchanged).values(**values)).rowcount == 1


def _queue(connection: Connection, waiting: WaitingSeries, now: datetime, values: dict[str, object]) -> Job | None:
    columns = (INSTANCE.c.id, INSTANCE.c.sop_instance_uid, INSTANCE.c.sha256)
    instances = connection.execute(select(*columns).where(_standing_in(waiting))).all()
    content = content_sha256((row.sop_instance_uid, row.sha256) for row in instances)
    return queue_content(connection, waiting, [row.id for row in instances], content, now, values)


def queue_content(
    connection: Connection, series: WaitingSeries, instance_ids: Sequence[int], content: str, now: datetime, values: dict[str, object]
) -> Job | None:
    """Insert a job over instances of a series, whose content has the hash `content`, and supersede earlier jobs over them.

    None if this very content had its job already.
    """
    if not instance_ids or _has_job(connection, series, content):
        return None
    job_id = _insert_job(connection, series, content, now, values)
    connection.execute(insert(JOB_INSTANCE), [{"job_id": job_id, "instance_id": instance_id} for instance_id in instance_ids])
    for earlier in _earlier_jobs(connection, job_id):
        supersede(connection, earlier, now, by=job_id)
    return job_of(connection.execute(select(JOB).where(JOB.c.id == job_id)).one())


def _standing_in(waiting: WaitingSeries) -> ColumnElement[bool]:
    same = (INSTANCE.c.study_instance_uid == waiting.study_instance_uid) & (INSTANCE.c.series_instance_uid == waiting.series_instance_uid)
    return same & standing()


def _instances_of_row() -> ColumnElement[bool]:
    return (SERIES.c.study_instance_uid == INSTANCE.c.study_instance_uid) & (SERIES.c.series_instance_uid == INSTANCE.c.series_instance_uid)


def _has_job(connection: Connection, waiting: WaitingSeries, content: str) -> bool:
    same = select(func.count()).where(
        JOB.c.study_instance_uid == waiting.study_instance_uid,
        JOB.c.series_instance_uid == waiting.series_instance_uid,
        JOB.c.content_sha256 == content,
    )
    return bool(connection.scalar(same))


def _earlier_jobs(connection: Connection, job_id: int) -> Sequence[int]:
    """The jobs that hold an instance of this job, or one that an instance of this job corrected."""
    ours = select(JOB_INSTANCE.c.instance_id).where(JOB_INSTANCE.c.job_id == job_id)
    corrected = select(INSTANCE.c.id).where(INSTANCE.c.superseded_by.in_(ours))
    holding = select(JOB_INSTANCE.c.job_id).where(or_(JOB_INSTANCE.c.instance_id.in_(ours), JOB_INSTANCE.c.instance_id.in_(corrected)))
    return connection.scalars(select(JOB.c.id).where(JOB.c.id < job_id, JOB.c.id.in_(holding)).order_by(JOB.c.id)).all()


def _insert_job(connection: Connection, series: WaitingSeries, content: str, now: datetime, values: dict[str, object]) -> int:
    row = {
        "study_instance_uid": series.study_instance_uid,
        "series_instance_uid": series.series_instance_uid,
        "content_sha256": content,
        "state": JobState.QUEUED.value,
        "attempt": 0,
        "failures": 0,
        "postponements": 0,
        "created_at": now,
        "updated_at": now,
        "calling_ae_title": series.calling_ae_title,
        "called_ae_title": series.called_ae_title,
        "source_address": series.source_address,
        **values,
    }
    return int(connection.execute(insert(JOB).values(**row).returning(JOB.c.id)).scalar_one())
