"""The outbox: every result waits here for every destination, until the destination confirms it or a person cancels it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from daemon.database.book import Book
from daemon.database.claims import UNOWNED, ownership
from daemon.database.errors import LeaseLost
from daemon.database.identity import WorkerIdentity
from daemon.database.job import Job
from daemon.database.schema import JOB, OUTBOX
from daemon.job_states import JobEvent, JobState, after


class OutboxState(enum.StrEnum):
    """Where a result stands with one destination."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, kw_only=True)
class OutboxItem:
    """One result for one destination; the file at `path` is durable, and `sha256` is that of its bytes."""

    destination: str
    path: Path
    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A claimed item of the outbox: this process alone may send it now."""

    id: int
    job_id: int
    destination: str
    path: Path
    sop_instance_uid: str
    sha256: str
    attempt: int
    """Tries that failed before."""
    token: str


@dataclass(frozen=True, kw_only=True)
class OutboxEntry:
    """Where one result stands with one destination."""

    destination: str
    sop_instance_uid: str
    state: OutboxState


class OutboxBook(Book):
    """Hands out what is due for a destination, and keeps the outcome."""

    def due_destinations(self) -> tuple[str, ...]:
        """Return the names of the destinations for which something is due, in alphabetical order."""
        with self.database.reading() as connection:
            query = select(OUTBOX.c.destination).where(_due(self.clock())).distinct().order_by(OUTBOX.c.destination)
            return tuple(connection.scalars(query))

    def claim_deliveries(self, worker: WorkerIdentity, destination: str, limit: int = 100) -> tuple[Delivery, ...]:
        """Take up to `limit` items that are due for `destination`, the oldest first; empty if another process was quicker."""
        now = self.clock()
        claim = ownership(worker, now + timedelta(seconds=self.settings.delivery_lease_seconds))
        due = select(OUTBOX.c.id).where(_due(now), OUTBOX.c.destination == destination).order_by(OUTBOX.c.id).limit(limit)
        with self.database.writing() as connection:
            ids = list(connection.scalars(due.with_for_update(skip_locked=True)))
            connection.execute(update(OUTBOX).where(OUTBOX.c.id.in_(ids)).values(**claim))
            rows = connection.execute(select(OUTBOX).where(OUTBOX.c.id.in_(ids)).order_by(OUTBOX.c.id)).all()
        return tuple(
            Delivery(
                id=row.id,
                job_id=row.job_id,
                destination=row.destination,
                path=Path(row.path),
                sop_instance_uid=row.sop_instance_uid,
                sha256=row.sha256,
                attempt=row.attempt,
                token=row.owner,
            )
            for row in rows
        )

    def delivered(self, delivery: Delivery) -> bool:
        """The destination confirmed it. Returns whether that was the job's last one, which makes the job DELIVERED. Raises LeaseLost."""
        now = self.clock()
        values = {"state": OutboxState.DELIVERED.value, "error_code": None, "error_message": None}
        with self.database.writing() as connection:
            _change(connection, delivery, updated_at=now, **values, **UNOWNED)
            return settle(connection, delivery.job_id, now)

    def postpone(self, delivery: Delivery, code: str, message: str) -> datetime:
        """It could not be sent: again after a backoff, for ever. Returns when it is due. Raises LeaseLost."""
        now = self.clock()
        tries = delivery.attempt + 1
        due = now + self.settings.delivery_backoff.delay(tries, f"{delivery.job_id} {delivery.destination}")
        with self.database.writing() as connection:
            _change(connection, delivery, attempt=tries, due_at=due, updated_at=now, error_code=code, error_message=message, **UNOWNED)
        return due

    def deliveries_of(self, job: Job) -> tuple[OutboxEntry, ...]:
        """Return the results of a job, for each destination, and where they stand."""
        columns = (OUTBOX.c.destination, OUTBOX.c.sop_instance_uid, OUTBOX.c.state)
        with self.database.reading() as connection:
            rows = connection.execute(select(*columns).where(OUTBOX.c.job_id == job.id).order_by(OUTBOX.c.id)).all()
        return tuple(OutboxEntry(**{**row._mapping, "state": OutboxState(row.state)}) for row in rows)

    def next_delivery_at(self) -> datetime | None:
        """Return when the next item is due, None if nothing waits; the delivery process sleeps until then."""
        with self.database.reading() as connection:
            due: datetime | None = connection.scalar(select(func.min(OUTBOX.c.due_at)).where(OUTBOX.c.state == OutboxState.PENDING.value))
            return due


def put_rows(connection: Connection, job_id: int, results: Sequence[OutboxItem], now: datetime) -> None:
    """Add results to a job's outbox. One that is there already waits again, unless it was delivered."""
    for item in results:
        same = (OUTBOX.c.job_id == job_id) & (OUTBOX.c.destination == item.destination)
        same &= OUTBOX.c.sop_instance_uid == item.sop_instance_uid
        waiting = {
            "path": str(item.path),
            "sha256": item.sha256,
            "state": OutboxState.PENDING.value,
            "attempt": 0,
            "due_at": now,
            "updated_at": now,
        }
        state = connection.scalar(select(OUTBOX.c.state).where(same))
        if state is None:
            key = {"job_id": job_id, "destination": item.destination, "sop_instance_uid": item.sop_instance_uid}
            connection.execute(insert(OUTBOX).values(**key, **waiting, created_at=now))
        elif state != OutboxState.DELIVERED.value:
            connection.execute(update(OUTBOX).where(same).values(**waiting, error_code=None, error_message=None, **UNOWNED))


def cancel_rows(connection: Connection, job_id: int, now: datetime) -> None:
    """Cancel what a job still has waiting."""
    waiting = (OUTBOX.c.job_id == job_id) & (OUTBOX.c.state == OutboxState.PENDING.value)
    connection.execute(update(OUTBOX).where(waiting).values(state=OutboxState.CANCELLED.value, updated_at=now, **UNOWNED))


def settle(connection: Connection, job_id: int, now: datetime) -> bool:
    """Make a job DELIVERED if nothing of it waits any longer; return whether that happened."""
    # Lock the job first: two last items that are confirmed at once must not each overlook the other.
    connection.execute(select(JOB.c.id).where(JOB.c.id == job_id).with_for_update())
    waiting = select(func.count()).where(OUTBOX.c.job_id == job_id, OUTBOX.c.state == OutboxState.PENDING.value)
    if connection.scalar(waiting):
        return False
    state = after(JobState.DELIVERING, JobEvent.DELIVER)
    delivering = (JOB.c.id == job_id) & (JOB.c.state == JobState.DELIVERING.value)
    return connection.execute(update(JOB).where(delivering).values(state=state.value, updated_at=now)).rowcount == 1


def _due(now: datetime) -> ColumnElement[bool]:
    free = or_(OUTBOX.c.owner.is_(None), OUTBOX.c.lease_until < now)
    return (OUTBOX.c.state == OutboxState.PENDING.value) & (OUTBOX.c.due_at <= now) & free


def _change(connection: Connection, delivery: Delivery, **values: object) -> None:
    ours = (OUTBOX.c.id == delivery.id) & (OUTBOX.c.owner == delivery.token)
    if connection.execute(update(OUTBOX).where(ours).values(**values)).rowcount != 1:
        raise LeaseLost(f"job {delivery.job_id}, {delivery.sop_instance_uid} to {delivery.destination}: cancelled or taken over meanwhile")
