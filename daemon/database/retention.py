"""The book of retention: which files may go, because everything that they led to has been delivered or settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, literal_column, null, or_, select, update

from daemon.database.book import Book
from daemon.database.outbox_rows import SETTLED_STATES
from daemon.database.prepared import Prepared
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, OUTBOX, SERIES
from daemon.job_states import JobState
from daemon.series_states import OPEN_SERIES
from daemon.spool import SpooledInstance

UNSETTLED = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.QUARANTINED})
"""A job in one of these may still need its instances."""


@dataclass(frozen=True, kw_only=True)
class Removable:
    """An instance whose file nothing needs any longer."""

    id: int
    path: Path
    bytes: int


class RetentionBook(Book):
    """Says what may be removed, and keeps what was."""

    def removable_instances(self, received_before: datetime, limit: int) -> tuple[Removable, ...]:
        """Return up to `limit` instances that came before a moment and whose every job is settled, the oldest first.

        Never one that waits for its series, for a job, or for a delivery, and never a quarantined one.
        """
        columns = (INSTANCE.c.id, INSTANCE.c.path, INSTANCE.c.bytes)
        of_instance = JOB_INSTANCE.c.instance_id == INSTANCE.c.id
        led_to_job = exists().where(of_instance)
        still_needed = exists().where(of_instance, JOB.c.id == JOB_INSTANCE.c.job_id, JOB.c.state.in_([state.value for state in UNSETTLED]))
        query = select(*columns).where(INSTANCE.c.removed_at.is_(None), INSTANCE.c.received_at < received_before)
        query = query.where(INSTANCE.c.quarantined.is_(False), or_(led_to_job, INSTANCE.c.superseded_by.is_not(None)))
        # A report of a skipped series is delivered after its job has ended.
        undelivered = exists().where(of_instance, OUTBOX.c.job_id == JOB_INSTANCE.c.job_id, OUTBOX.c.state.not_in(SETTLED_STATES))
        query = query.where(~still_needed, ~undelivered, ~exists().where(_open_series_of_instance()))
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(INSTANCE.c.received_at, INSTANCE.c.id).limit(limit)).all()
        return tuple(Removable(id=row.id, path=Path(row.path), bytes=row.bytes) for row in rows)

    def instances_removed(self, ids: Sequence[int]) -> None:
        """Note that the files of these instances are gone; their rows stay for ever."""
        with self.database.writing() as connection:
            connection.execute(update(INSTANCE).where(INSTANCE.c.id.in_(ids)).values(removed_at=self.clock()))

    def unsettled_results(self, paths: Sequence[Path]) -> frozenset[Path]:
        """Return those of the result files that a destination still waits for, or that were made for no destination at all."""
        names = [str(path) for path in paths]
        known = select(OUTBOX.c.path, OUTBOX.c.state).where(OUTBOX.c.path.in_(names))
        with self.database.reading() as connection:
            rows = connection.execute(known).all()
        waiting = {row.path for row in rows if row.state not in SETTLED_STATES}
        return frozenset(path for path in paths if str(path) in waiting or str(path) not in {row.path for row in rows})


SEEN_AGAIN = Prepared(
    update(INSTANCE)
    .where(INSTANCE.c.sop_instance_uid == bindparam("uid"), INSTANCE.c.sha256 == bindparam("hash"))
    .values(
        removed_at=null(),
        path=bindparam("file"),
        repeats=func.coalesce(INSTANCE.c.repeats, literal_column("0")) + literal_column("1"),
    )
)


def seen_again(connection: Connection, instance: SpooledInstance) -> None:
    """A known instance came again, which is counted. Where its file was gone or damaged, the spool holds it anew: that is its file now."""
    SEEN_AGAIN.change(connection, {"uid": instance.sop_instance_uid, "hash": instance.sha256, "file": str(instance.path)})


def _open_series_of_instance() -> ColumnElement[bool]:
    same = (SERIES.c.study_instance_uid == INSTANCE.c.study_instance_uid) & (SERIES.c.series_instance_uid == INSTANCE.c.series_instance_uid)
    return same & SERIES.c.state.in_([state.value for state in OPEN_SERIES])
