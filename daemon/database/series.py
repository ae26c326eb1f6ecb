"""The book of series: which wait for more instances, and the one step from a complete series to its queued job."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from daemon.database.book import Book
from daemon.database.job import Job, Priority, job_of
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, SERIES
from daemon.job_states import JobState


class SeriesState(enum.StrEnum):
    """Whether more instances are expected."""

    WAITING = "WAITING"
    COMPLETE = "COMPLETE"


@dataclass(frozen=True, kw_only=True)
class WaitingSeries:
    """A series that may still grow, and when it last did (aware, UTC)."""

    study_instance_uid: str
    series_instance_uid: str
    last_arrival: datetime


class SeriesBook(Book):
    """Lists the series that wait, and completes them."""

    def waiting_series(self) -> tuple[WaitingSeries, ...]:
        """Return every series that waits, the longest quiet first."""
        columns = (SERIES.c.study_instance_uid, SERIES.c.series_instance_uid, SERIES.c.last_arrival)
        query = select(*columns).where(SERIES.c.state == SeriesState.WAITING.value).order_by(SERIES.c.last_arrival)
        with self.database.reading() as connection:
            return tuple(WaitingSeries(**row._mapping) for row in connection.execute(query))

    def complete_series(self, waiting: WaitingSeries, priority: Priority = Priority.ROUTINE) -> Job | None:
        """Declare a series complete and queue a job for its content, in one transaction; return the job.

        None if an instance arrived since `waiting` was read, or if this very content had its job already.
        """
        now = self.clock()
        with self.database.writing() as connection:
            series = _close(connection, waiting)
            if series is None:
                return None
            instances = _accepted_instances(connection, waiting)
            content = content_sha256((row.sop_instance_uid, row.sha256) for row in instances)
            if _has_job(connection, waiting, content):
                return None
            job_id = _insert_job(connection, series, content, priority, now)
            connection.execute(insert(JOB_INSTANCE), [{"job_id": job_id, "instance_id": row.id} for row in instances])
            return job_of(connection.execute(select(JOB).where(JOB.c.id == job_id)).one())


def content_sha256(instances: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 that names a content: (SOP Instance UID, SHA-256 of the bytes) of every instance, in any order."""
    lines = sorted(f"{uid} {sha256}\n" for uid, sha256 in instances)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _close(connection: Connection, waiting: WaitingSeries) -> Row[Any] | None:
    row = (SERIES.c.study_instance_uid == waiting.study_instance_uid) & (SERIES.c.series_instance_uid == waiting.series_instance_uid)
    unchanged = row & (SERIES.c.state == SeriesState.WAITING.value) & (SERIES.c.last_arrival == waiting.last_arrival)
    if connection.execute(update(SERIES).where(unchanged).values(state=SeriesState.COMPLETE.value)).rowcount == 0:
        return None
    return connection.execute(select(SERIES).where(row)).one()


def _accepted_instances(connection: Connection, waiting: WaitingSeries) -> list[Row[Any]]:
    query = select(INSTANCE.c.id, INSTANCE.c.sop_instance_uid, INSTANCE.c.sha256).where(
        INSTANCE.c.study_instance_uid == waiting.study_instance_uid,
        INSTANCE.c.series_instance_uid == waiting.series_instance_uid,
        INSTANCE.c.quarantined.is_(False),
    )
    return list(connection.execute(query))


def _has_job(connection: Connection, waiting: WaitingSeries, content: str) -> bool:
    same = select(func.count()).where(
        JOB.c.study_instance_uid == waiting.study_instance_uid,
        JOB.c.series_instance_uid == waiting.series_instance_uid,
        JOB.c.content_sha256 == content,
    )
    return bool(connection.scalar(same))


def _insert_job(connection: Connection, series: Row[Any], content: str, priority: Priority, now: datetime) -> int:
    values = {
        "study_instance_uid": series.study_instance_uid,
        "series_instance_uid": series.series_instance_uid,
        "content_sha256": content,
        "state": JobState.QUEUED.value,
        "priority": priority.value,
        "attempt": 0,
        "failures": 0,
        "postponements": 0,
        "run_at": now,
        "created_at": now,
        "updated_at": now,
        "calling_ae_title": series.calling_ae_title,
        "called_ae_title": series.called_ae_title,
    }
    return int(connection.execute(insert(JOB).values(**values).returning(JOB.c.id)).scalar_one())
