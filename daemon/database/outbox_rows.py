"""The rows of the outbox: their states, their alternative forms, and the one place that writes them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from daemon.database.claims import UNOWNED
from daemon.database.errors import LeaseLost
from daemon.database.schema import JOB, OUTBOX
from daemon.job_states import JobEvent, JobState, after


class OutboxState(enum.StrEnum):
    """Where a result stands with one destination."""

    PENDING = "PENDING"
    """To be sent."""
    SPARE = "SPARE"
    """A form that takes the place of a preferred one if the destination refuses that."""
    STORED = "STORED"
    """The destination answered that it is stored; the confirmation (commitment or query) is awaited."""
    DELIVERED = "DELIVERED"
    """The destination confirmed it."""
    LEFT_OUT = "LEFT_OUT"
    """Not sent: another form was, or the destination does not take this optional object."""
    QUARANTINED = "QUARANTINED"
    """The destination will never take it as it is; a person must release or cancel it."""
    CANCELLED = "CANCELLED"
    SHADOW = "SHADOW"
    """Made by a rule in shadow: kept, and sent to nobody."""


WAITING_STATES = (OutboxState.PENDING.value, OutboxState.STORED.value)
"""Due for the delivery process, now or later."""
UNSETTLED_STATES = (*WAITING_STATES, OutboxState.QUARANTINED.value)
"""A job with one of these is not delivered."""
SETTLED_STATES = (OutboxState.DELIVERED.value, OutboxState.LEFT_OUT.value, OutboxState.CANCELLED.value, OutboxState.SHADOW.value)
"""The destination gets nothing more of it. A SPARE is not settled: it may still be sent."""
KEPT_STATES = (OutboxState.STORED.value, OutboxState.DELIVERED.value)
"""What a repeated run of the job does not send again."""


@dataclass(frozen=True, kw_only=True)
class OutboxItem:
    """One result for one destination; the file at `path` is durable, and `sha256` is that of its bytes."""

    destination: str
    path: Path
    sop_instance_uid: str
    sha256: str
    form_of: str = ""
    """Items of one job and destination with the same text are forms of one result (a LABELMAP and a BINARY SEG, say), of
    which the destination gets the first that it takes; empty: the item stands alone."""
    preference: int = 0
    """The form with the smallest number is tried first."""
    optional: bool = False
    """A destination that does not take it (an SR, a picture) is left without it, with the reason."""
    shadow: bool = False
    """It is kept and sent to nobody."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A claimed item of the outbox: this process alone may send it now."""

    id: int
    job_id: int
    study_instance_uid: str
    destination: str
    path: Path
    sop_instance_uid: str
    sha256: str
    state: OutboxState
    """PENDING: to be sent. STORED: sent, its confirmation is due."""
    attempt: int
    """Tries that failed before."""
    form_of: str
    optional: bool
    transaction_uid: str | None
    """The newest storage commitment transaction that named it."""
    requested_at: datetime | None
    """When the destination took that request; a claimed item that has one waited for its report in vain."""
    stored_at: datetime | None
    token: str


@dataclass(frozen=True, kw_only=True)
class OpenDelivery:
    """An item of the outbox as people see it."""

    id: int
    job_id: int
    destination: str
    sop_instance_uid: str
    state: str
    attempt: int
    due_at: datetime
    error_code: str | None
    error_message: str | None


def select_deliveries() -> Select[Any]:
    """The query whose rows `delivery_of` reads."""
    return select(OUTBOX, JOB.c.study_instance_uid).join(JOB, JOB.c.id == OUTBOX.c.job_id)


def delivery_of(row: Row[Any]) -> Delivery:
    """Return the item in a row of `select_deliveries`."""
    return Delivery(
        id=row.id,
        job_id=row.job_id,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination,
        path=Path(row.path),
        sop_instance_uid=row.sop_instance_uid,
        sha256=row.sha256,
        state=OutboxState(row.state),
        attempt=row.attempt,
        form_of=row.form_of,
        optional=row.optional,
        transaction_uid=row.transaction_uid,
        requested_at=row.requested_at,
        stored_at=row.stored_at,
        token=row.owner or "",
    )


def put_rows(connection: Connection, job_id: int, results: Sequence[OutboxItem], now: datetime) -> None:
    """Add results to a job's outbox. One that is there already waits again, unless its destination has it."""
    for item in results:
        same = (OUTBOX.c.job_id == job_id) & (OUTBOX.c.destination == item.destination)
        same &= OUTBOX.c.sop_instance_uid == item.sop_instance_uid
        waiting = {
            "path": str(item.path),
            "sha256": item.sha256,
            "state": _first_state(item, results).value,
            "attempt": 0,
            "due_at": now,
            "updated_at": now,
            "form_of": item.form_of,
            "preference": item.preference,
            "optional": item.optional,
        }
        state = connection.scalar(select(OUTBOX.c.state).where(same))
        if state is None:
            key = {"job_id": job_id, "destination": item.destination, "sop_instance_uid": item.sop_instance_uid}
            connection.execute(insert(OUTBOX).values(**key, **waiting, created_at=now))
        elif state not in KEPT_STATES and not _has_other_form(connection, job_id, item):
            connection.execute(update(OUTBOX).where(same).values(**waiting, error_code=None, error_message=None, **UNOWNED))


def settle(connection: Connection, job_id: int, now: datetime) -> bool:
    """Make a job DELIVERED if nothing of it waits any longer; return whether that happened."""
    # Lock the job first: two last items that are confirmed at once must not each overlook the other.
    connection.execute(select(JOB.c.id).where(JOB.c.id == job_id).with_for_update())
    waiting = select(func.count()).where(OUTBOX.c.job_id == job_id, OUTBOX.c.state.in_(UNSETTLED_STATES))
    if connection.scalar(waiting):
        return False
    state = after(JobState.DELIVERING, JobEvent.DELIVER)
    delivering = (JOB.c.id == job_id) & (JOB.c.state == JobState.DELIVERING.value)
    return connection.execute(update(JOB).where(delivering).values(state=state.value, updated_at=now)).rowcount == 1


def next_form(connection: Connection, delivery: Delivery, now: datetime) -> bool:
    """Let the best spare form of a refused item take its place; return whether there is one."""
    if not delivery.form_of:
        return False
    spares = select(OUTBOX.c.id).where(forms_of(delivery), OUTBOX.c.state == OutboxState.SPARE.value)
    best = connection.scalar(spares.order_by(OUTBOX.c.preference, OUTBOX.c.id).limit(1))
    if best is None:
        return False
    preferences = select(OUTBOX.c.id, OUTBOX.c.preference).where(OUTBOX.c.id.in_((delivery.id, best)))
    preference = {row.id: row.preference for row in connection.execute(preferences)}
    # A report refers to the form that is sent with it: what waits beside the refused form changes its form too.
    beside = (OUTBOX.c.job_id == delivery.job_id) & (OUTBOX.c.destination == delivery.destination) & (OUTBOX.c.form_of != "")
    waiting = beside & (OUTBOX.c.state == OutboxState.PENDING.value) & (OUTBOX.c.preference == preference[delivery.id])
    others = waiting & (OUTBOX.c.form_of != delivery.form_of)
    changing = set(connection.scalars(select(OUTBOX.c.form_of).where(others)))
    replaced = {"error_code": "other-form-sent", "error_message": "its companion was refused in this form"}
    connection.execute(update(OUTBOX).where(others).values(state=OutboxState.LEFT_OUT.value, updated_at=now, **replaced, **UNOWNED))
    takes_place = beside & (OUTBOX.c.state == OutboxState.SPARE.value) & (OUTBOX.c.preference == preference[best])
    companions = takes_place & OUTBOX.c.form_of.in_(changing)
    values = {"state": OutboxState.PENDING.value, "due_at": now, "updated_at": now}
    connection.execute(update(OUTBOX).where((OUTBOX.c.id == best) | companions).values(**values))
    return True


def spare_forms(connection: Connection, delivery: Delivery, now: datetime) -> None:
    """Leave out the spare forms of an item that its destination has."""
    if delivery.form_of:
        reason = {"error_code": "other-form-delivered", "error_message": f"the destination has {delivery.sop_instance_uid} instead"}
        spares = forms_of(delivery) & (OUTBOX.c.state == OutboxState.SPARE.value)
        connection.execute(update(OUTBOX).where(spares).values(state=OutboxState.LEFT_OUT.value, updated_at=now, **reason))


def change(connection: Connection, delivery: Delivery, **values: object) -> None:
    """Change the row of a claimed item, if the claim is still ours. Raises LeaseLost."""
    ours = (OUTBOX.c.id == delivery.id) & (OUTBOX.c.owner == delivery.token)
    if connection.execute(update(OUTBOX).where(ours).values(**values)).rowcount != 1:
        raise LeaseLost(
            f"job {delivery.job_id}, {delivery.sop_instance_uid} to {delivery.destination}: cancelled, settled or taken over meanwhile"
        )


def _has_other_form(connection: Connection, job_id: int, item: OutboxItem) -> bool:
    """Tell whether the destination has another form of a result already, from an earlier run of the job."""
    forms = (OUTBOX.c.job_id == job_id) & (OUTBOX.c.destination == item.destination) & (OUTBOX.c.form_of == item.form_of)
    kept = select(OUTBOX.c.id).where(forms, OUTBOX.c.state.in_(KEPT_STATES)).limit(1)
    return bool(item.form_of) and connection.scalar(kept) is not None


def _first_state(item: OutboxItem, results: Sequence[OutboxItem]) -> OutboxState:
    if item.shadow:
        return OutboxState.SHADOW
    return OutboxState.SPARE if _is_spare(item, results) else OutboxState.PENDING


def _is_spare(item: OutboxItem, results: Sequence[OutboxItem]) -> bool:
    forms = [other for other in results if other.form_of == item.form_of and other.destination == item.destination]
    return bool(item.form_of) and item != min(forms, key=lambda form: form.preference)


def forms_of(delivery: Delivery) -> ColumnElement[bool]:
    """The rows of all forms of an item's result, the item among them."""
    return (OUTBOX.c.job_id == delivery.job_id) & (OUTBOX.c.destination == delivery.destination) & (OUTBOX.c.form_of == delivery.form_of)
