"""The outbox: every result waits here for every destination, until the destination confirms it or a person cancels it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, or_, select, true, update

from daemon.database.book import Book
from daemon.database.claims import UNOWNED, ownership
from daemon.database.identity import WorkerIdentity
from daemon.database.job import Job
from daemon.database.outbox_rows import (
    SETTLED_STATES,
    UNSETTLED_STATES,
    WAITING_STATES,
    Delivery,
    OpenDelivery,
    OutboxItem,
    OutboxState,
    change,
    delivery_of,
    forms_of,
    next_form,
    put_rows,
    select_deliveries,
    settle,
    spare_forms,
)
from daemon.database.schema import CAPABILITY, OUTBOX

__all__ = ["Delivery", "OutboxBook", "OutboxEntry", "OutboxItem", "OutboxState", "cancel_rows", "put_rows", "settle"]


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
        """Take up to `limit` items that are due for `destination`, the oldest first; empty if another process was quicker.

        PENDING items are to be sent; STORED ones were, and their confirmation is due.
        """
        now = self.clock()
        claim = ownership(worker, now + timedelta(seconds=self.settings.delivery_lease_seconds))
        due = select(OUTBOX.c.id).where(_due(now), OUTBOX.c.destination == destination).order_by(OUTBOX.c.id).limit(limit)
        with self.database.writing() as connection:
            ids = list(connection.scalars(due.with_for_update(skip_locked=True)))
            connection.execute(update(OUTBOX).where(OUTBOX.c.id.in_(ids)).values(**claim))
            rows = connection.execute(select_deliveries().where(OUTBOX.c.id.in_(ids)).order_by(OUTBOX.c.id)).all()
        return tuple(delivery_of(row) for row in rows)

    def prolong(self, delivery: Delivery) -> None:
        """Prolong the claim that `delivery` belongs to, before its bytes go out. Raises LeaseLost: do not send it."""
        until = self.clock() + timedelta(seconds=self.settings.delivery_lease_seconds)
        with self.database.writing() as connection:
            change(connection, delivery, lease_until=until)
            connection.execute(update(OUTBOX).where(OUTBOX.c.owner == delivery.token).values(lease_until=until))

    def stored(self, delivery: Delivery) -> None:
        """The destination answered that it is stored; it is DELIVERED once that is confirmed. The claim stays. Raises LeaseLost."""
        now = self.clock()
        values = {"state": OutboxState.STORED.value, "stored_at": now, "transaction_uid": None, "requested_at": None}
        with self.database.writing() as connection:
            change(connection, delivery, updated_at=now, error_code=None, error_message=None, **values)

    def delivered(self, delivery: Delivery) -> bool:
        """The destination confirmed it. Returns whether that was the job's last one, which makes the job DELIVERED. Raises LeaseLost."""
        now = self.clock()
        values = {"state": OutboxState.DELIVERED.value, "error_code": None, "error_message": None}
        with self.database.writing() as connection:
            change(connection, delivery, updated_at=now, **values, **UNOWNED)
            spare_forms(connection, delivery, now)
            return settle(connection, delivery.job_id, now)

    def postpone(self, delivery: Delivery, code: str, message: str) -> datetime:
        """It could not be sent, or not be confirmed: again after a backoff, for ever. Returns when it is due. Raises LeaseLost."""
        now = self.clock()
        tries = delivery.attempt + 1
        due = now + self.settings.delivery_backoff.delay(tries, f"{delivery.job_id} {delivery.destination}")
        with self.database.writing() as connection:
            change(connection, delivery, attempt=tries, due_at=due, updated_at=now, error_code=code, error_message=message, **UNOWNED)
        return due

    def deliveries_of(self, job: Job) -> tuple[OutboxEntry, ...]:
        """Return the results of a job, for each destination, and where they stand."""
        columns = (OUTBOX.c.destination, OUTBOX.c.sop_instance_uid, OUTBOX.c.state)
        with self.database.reading() as connection:
            rows = connection.execute(select(*columns).where(OUTBOX.c.job_id == job.id).order_by(OUTBOX.c.id)).all()
        return tuple(OutboxEntry(**{**row._mapping, "state": OutboxState(row.state)}) for row in rows)

    def send_again(self, delivery: Delivery, code: str, message: str) -> datetime:
        """The destination does not have what it said it stored: it is sent again after a backoff. Raises LeaseLost."""
        with self.database.writing() as connection:
            change(connection, delivery, state=OutboxState.PENDING.value)
        return self.postpone(delivery, code, message)

    def return_unsent(self, delivery: Delivery) -> None:
        """Return what was claimed and not tried, because this process stops. Raises LeaseLost."""
        with self.database.writing() as connection:
            change(connection, delivery, **UNOWNED)

    def refused(self, delivery: Delivery, code: str, message: str) -> OutboxState:
        """The destination will never take it as it is: its next form takes its place, if there is one.

        Else an optional item is LEFT_OUT, and any other is QUARANTINED until a person releases or cancels it.
        Returns the item's new state. Raises LeaseLost.
        """
        now = self.clock()
        with self.database.writing() as connection:
            replaced = next_form(connection, delivery, now)
            state = OutboxState.LEFT_OUT if replaced or delivery.optional else OutboxState.QUARANTINED
            change(connection, delivery, state=state.value, updated_at=now, error_code=code, error_message=message, **UNOWNED)
            settle(connection, delivery.job_id, now)
        return state

    def has_spare(self, delivery: Delivery) -> bool:
        """Tell whether another form of the item could take its place."""
        spare = forms_of(delivery) & (OUTBOX.c.state == OutboxState.SPARE.value)
        with self.database.reading() as connection:
            return bool(delivery.form_of) and connection.scalar(select(OUTBOX.c.id).where(spare).limit(1)) is not None

    def release_deliveries(self, destination: str | None = None) -> int:
        """A person wants what is quarantined (for one destination, or for all) sent again; return how many items that are.

        What the destination refused before is forgotten: it is asked anew.
        """
        now = self.clock()
        ours = true() if destination is None else OUTBOX.c.destination == destination
        theirs = true() if destination is None else CAPABILITY.c.destination == destination
        quarantined = OUTBOX.c.state == OutboxState.QUARANTINED.value
        fresh = {"state": OutboxState.PENDING.value, "attempt": 0, "due_at": now, "updated_at": now, "error_code": None}
        with self.database.writing() as connection:
            connection.execute(CAPABILITY.delete().where(CAPABILITY.c.accepted.is_(False), theirs))
            return connection.execute(update(OUTBOX).where(quarantined, ours).values(**fresh, **UNOWNED)).rowcount

    def waiting_by_destination(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many items are not settled: destination -> state -> number."""
        query = select(OUTBOX.c.destination, OUTBOX.c.state, func.count()).where(OUTBOX.c.state.in_(UNSETTLED_STATES))
        found: dict[str, dict[str, int]] = {}
        with self.database.reading() as connection:
            for destination, state, count in connection.execute(query.group_by(OUTBOX.c.destination, OUTBOX.c.state)):
                found.setdefault(destination, {})[state] = count
        return found

    def open_deliveries(self, state: OutboxState | None = None) -> tuple[OpenDelivery, ...]:
        """Return the items in `state`, or all that are not settled, the oldest first."""
        chosen = OUTBOX.c.state.in_(UNSETTLED_STATES) if state is None else OUTBOX.c.state == state.value
        columns = [OUTBOX.c[name] for name in OpenDelivery.__dataclass_fields__]
        with self.database.reading() as connection:
            rows = connection.execute(select(*columns).where(chosen).order_by(OUTBOX.c.id))
            return tuple(OpenDelivery(**row._mapping) for row in rows)

    def next_delivery_at(self) -> datetime | None:
        """Return when the next item is due, None if nothing waits; the delivery process sleeps until then."""
        with self.database.reading() as connection:
            query = select(func.min(OUTBOX.c.due_at)).where(OUTBOX.c.state.in_(WAITING_STATES))
            due: datetime | None = connection.scalar(query)
            return due

    def is_result(self, sop_instance_uid: str) -> bool:
        """Tell whether an instance is one that we made and put into the outbox."""
        with self.database.reading() as connection:
            query = select(OUTBOX.c.id).where(OUTBOX.c.sop_instance_uid == sop_instance_uid).limit(1)
            return connection.scalar(query) is not None


def cancel_rows(connection: Connection, job_id: int, now: datetime) -> None:
    """Cancel whatever of a job is not settled: what waits, its spare forms, what waits for a confirmation, what is quarantined."""
    open_rows = (OUTBOX.c.job_id == job_id) & OUTBOX.c.state.not_in(SETTLED_STATES)
    connection.execute(update(OUTBOX).where(open_rows).values(state=OutboxState.CANCELLED.value, updated_at=now, **UNOWNED))


def _due(now: datetime) -> ColumnElement[bool]:
    free = or_(OUTBOX.c.owner.is_(None), OUTBOX.c.lease_until < now)
    return OUTBOX.c.state.in_(WAITING_STATES) & (OUTBOX.c.due_at <= now) & free
