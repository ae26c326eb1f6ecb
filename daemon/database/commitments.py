"""The book of storage commitments: which transaction named which results, and what its report settled.

A transaction is on record before it is requested, since its report may come, to another process, before the answer to the
request does. A promise counts whenever it comes; a failure counts only for the newest transaction of a result.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, insert, select, update

from daemon.database.book import Book
from daemon.database.claims import UNOWNED
from daemon.database.outbox_rows import Delivery, OutboxState, change, delivery_of, next_form, select_deliveries, settle, spare_forms
from daemon.database.schema import CAPABILITY, COMMITMENT, OUTBOX


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a report led to."""

    destination: str
    delivered: tuple[Delivery, ...] = ()
    failed: tuple[tuple[Delivery, OutboxState], ...] = ()
    """Each with its new state: PENDING (sent again), LEFT_OUT or QUARANTINED."""


class CommitmentBook(Book):
    """Keeps transactions, reports, and what destinations accept."""

    def begin_commitment(self, deliveries: Sequence[Delivery]) -> str:
        """Put a new transaction over STORED items of one destination on record and return its UID. Raises LeaseLost."""
        now = self.clock()
        # A UUID as a UID (PS3.5 section B.2): nobody can guess it, so that whoever names it was told it.
        transaction_uid = f"2.25.{secrets.randbits(128)}"
        with self.database.writing() as connection:
            values = {"transaction_uid": transaction_uid, "destination": deliveries[0].destination, "created_at": now}
            connection.execute(insert(COMMITMENT).values(**values))
            for delivery in deliveries:
                overdue: dict[str, object] = {}
                if delivery.requested_at is not None:
                    message = f"no storage commitment report since {delivery.requested_at:%Y-%m-%d %H:%M:%S}Z; asked again"
                    overdue = {"attempt": delivery.attempt + 1, "error_code": "commitment-overdue", "error_message": message}
                change(connection, delivery, transaction_uid=transaction_uid, requested_at=None, updated_at=now, **overdue)
        return transaction_uid

    def commitment_requested(self, transaction_uid: str, timeout_seconds: float) -> int:
        """The destination took the request: its report is awaited until the time is up. Returns how many items still wait for it."""
        now = self.clock()
        waiting = (OUTBOX.c.transaction_uid == transaction_uid) & (OUTBOX.c.state == OutboxState.STORED.value)
        values = {"requested_at": now, "due_at": now + timedelta(seconds=timeout_seconds), "updated_at": now}
        with self.database.writing() as connection:
            return connection.execute(update(OUTBOX).where(waiting).values(**values, **UNOWNED)).rowcount

    def settle_report(
        self, transaction_uid: str, committed: frozenset[str], failed: Mapping[str, tuple[OutboxState, str, str]]
    ) -> Settled | None:
        """Keep a report: SOP Instance UIDs that are committed, and for those that failed the state they go to, code and message.

        None where no transaction of ours has this UID. A report that comes twice changes nothing the second time.
        """
        now = self.clock()
        delivered: list[Delivery] = []
        refused: list[tuple[Delivery, OutboxState]] = []
        with self.database.writing() as connection:
            destination = connection.scalar(select(COMMITMENT.c.destination).where(COMMITMENT.c.transaction_uid == transaction_uid))
            if destination is None:
                return None
            waiting = (OUTBOX.c.destination == destination) & (OUTBOX.c.state == OutboxState.STORED.value)
            for row in connection.execute(select_deliveries().where(waiting, OUTBOX.c.sop_instance_uid.in_(committed))).all():
                done = {"state": OutboxState.DELIVERED.value, "error_code": None, "error_message": None, "updated_at": now}
                connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id).values(**done, **UNOWNED))
                delivered.append(delivery_of(row))
            newest = waiting & (OUTBOX.c.transaction_uid == transaction_uid)
            for row in connection.execute(select_deliveries().where(newest, OUTBOX.c.sop_instance_uid.in_(failed))).all():
                refused.append(self._fail(connection, delivery_of(row), *failed[row.sop_instance_uid]))
            for delivery in delivered:
                spare_forms(connection, delivery, now)
            for job_id in sorted({delivery.job_id for delivery in (*delivered, *(item for item, _ in refused))}):
                settle(connection, job_id, now)
        return Settled(destination=destination, delivered=tuple(delivered), failed=tuple(refused))

    def _fail(
        self, connection: Connection, delivery: Delivery, state: OutboxState, code: str, message: str
    ) -> tuple[Delivery, OutboxState]:
        now = self.clock()
        if state is OutboxState.QUARANTINED and (next_form(connection, delivery, now) or delivery.optional):
            state = OutboxState.LEFT_OUT
        tries = delivery.attempt + 1
        due = now + self.settings.delivery_backoff.delay(tries, f"{delivery.job_id} {delivery.destination}")
        values = {"state": state.value, "attempt": tries, "due_at": due, "error_code": code, "error_message": message, "updated_at": now}
        connection.execute(update(OUTBOX).where(OUTBOX.c.id == delivery.id).values(**values, **UNOWNED))
        return delivery, state

    def keep_capability(self, destination: str, accepted: Mapping[tuple[str, str], bool]) -> None:
        """Remember what a destination accepts: (SOP Class UID, Transfer Syntax UID) -> yes or no."""
        now = self.clock()
        with self.database.writing() as connection:
            for (sop_class, syntax), answer in accepted.items():
                key = {"destination": destination, "sop_class_uid": sop_class, "transfer_syntax_uid": syntax}
                row = (CAPABILITY.c.destination == destination) & (CAPABILITY.c.sop_class_uid == sop_class)
                row &= CAPABILITY.c.transfer_syntax_uid == syntax
                if connection.execute(update(CAPABILITY).where(row).values(accepted=answer, seen_at=now)).rowcount == 0:
                    connection.execute(insert(CAPABILITY).values(**key, accepted=answer, seen_at=now))

    def capability(self, destination: str, within: timedelta) -> Mapping[tuple[str, str], bool]:
        """Return what a destination was seen to accept or refuse `within` the last time."""
        recent = (CAPABILITY.c.destination == destination) & (CAPABILITY.c.seen_at > (self.clock() - within))
        columns = (CAPABILITY.c.sop_class_uid, CAPABILITY.c.transfer_syntax_uid, CAPABILITY.c.accepted)
        with self.database.reading() as connection:
            return {(row[0], row[1]): bool(row[2]) for row in connection.execute(select(*columns).where(recent))}
