"""The book of corrections: other bytes under a SOP Instance UID that was taken, and what became of them.

Such an instance is quarantined when it arrives. An examination (`daemon.corrections`) or a person then says what it is:
the same image in other words takes no place of its own, a corrected header takes the place of what came first, and other
pixels stay quarantined beside it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update

from daemon.database.book import Book
from daemon.database.errors import UnknownInstance
from daemon.database.jobs import supersede
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE
from daemon.database.series import open_series_of, standing, unexamined
from daemon.job_states import OPEN


class ConflictVerdict(enum.StrEnum):
    """What other bytes under a taken SOP Instance UID are."""

    EXAMINING = "examining"
    """An examination began; found a second time, it ended its examiner."""
    SAME_IMAGE = "same-image"
    """Only the encoding differs: what came first stands for it."""
    HEADER_CORRECTED = "header-corrected"
    """Same pixels in the same place, other header: it takes the place of what came first."""
    PIXELS_CHANGED = "pixels-changed"
    """Another image under a taken UID: it stays quarantined."""
    UNREADABLE = "unreadable"
    """It cannot be compared: it stays quarantined."""
    RELEASED = "released"
    """A person says that it takes the place of what came first."""


ACCEPTED = frozenset({ConflictVerdict.HEADER_CORRECTED, ConflictVerdict.RELEASED})


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A quarantined instance, and the one that stands under its SOP Instance UID now."""

    id: int
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    calling_ae_title: str
    received_at: datetime
    path: Path
    verdict: ConflictVerdict | None
    standing_path: Path


class CorrectionBook(Book):
    """Lists quarantined instances and keeps what an examination or a person says of them."""

    def conflicts(self, *, only_unexamined: bool = False, limit: int | None = None) -> tuple[Conflict, ...]:
        """Return the quarantined instances, in the order of their arrival."""
        first = INSTANCE.alias("first")
        same_uid = (first.c.sop_instance_uid == INSTANCE.c.sop_instance_uid) & first.c.quarantined.is_(False)
        query = select(INSTANCE, first.c.path.label("standing_path")).join(first, same_uid & first.c.superseded_by.is_(None))
        query = query.where(INSTANCE.c.quarantined.is_(True)).order_by(INSTANCE.c.id).limit(limit)
        with self.database.reading() as connection:
            rows = connection.execute(query.where(unexamined()) if only_unexamined else query).all()
        return tuple(_conflict(row) for row in rows)

    def conclude(self, conflict_id: int, verdict: ConflictVerdict) -> bool:
        """Keep what a quarantined instance is, and let that take effect; False if it was settled meanwhile.

        An accepted one takes the place of what came first: open jobs over that are superseded, and what they have not
        delivered never leaves; the series of both wait again, and the next job is over what stands now.

        Raises:
            UnknownInstance: no instance has this id.
        """
        now = self.clock()
        with self.database.writing_alone() as connection:
            new = connection.execute(select(INSTANCE).where(INSTANCE.c.id == conflict_id)).one_or_none()
            if new is None:
                raise UnknownInstance(f"expected the id of an instance, got {conflict_id}; `medsam2d quarantine list` shows them")
            if not new.quarantined:
                return False
            here = INSTANCE.c.id == conflict_id
            connection.execute(update(INSTANCE).where(here).values(verdict=verdict.value))
            same_uid = select(INSTANCE).where(INSTANCE.c.sop_instance_uid == new.sop_instance_uid, standing())
            old = connection.execute(same_uid.order_by(INSTANCE.c.id).limit(1)).one()
            if verdict is ConflictVerdict.SAME_IMAGE:
                connection.execute(update(INSTANCE).where(here).values(quarantined=False, superseded_by=old.id))
            if verdict in ACCEPTED:
                _replace(connection, old, new, now)
        return True


def _replace(connection: Connection, old: Row[Any], new: Row[Any], now: datetime) -> None:
    connection.execute(update(INSTANCE).where(INSTANCE.c.superseded_by == old.id).values(superseded_by=new.id))
    connection.execute(update(INSTANCE).where(INSTANCE.c.id == old.id).values(superseded_by=new.id))
    connection.execute(update(INSTANCE).where(INSTANCE.c.id == new.id).values(quarantined=False))
    for job_id in _open_jobs(connection, old.id):
        supersede(connection, job_id, now, by=None)
    for row in (old, new):
        sender = {"calling_ae_title": new.calling_ae_title, "called_ae_title": new.called_ae_title, "source_address": new.peer_address}
        arrived = {"last_arrival": now, **sender}
        open_series_of(connection, row.study_instance_uid, row.series_instance_uid, arrived)


def _open_jobs(connection: Connection, instance_id: int) -> Sequence[int]:
    holding = select(JOB_INSTANCE.c.job_id).where(JOB_INSTANCE.c.instance_id == instance_id)
    open_states = [state.value for state in OPEN]
    return connection.scalars(select(JOB.c.id).where(JOB.c.id.in_(holding), JOB.c.state.in_(open_states))).all()


def _conflict(row: Row[Any]) -> Conflict:
    return Conflict(
        id=row.id,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        calling_ae_title=row.calling_ae_title,
        received_at=row.received_at,
        path=Path(row.path),
        verdict=ConflictVerdict(row.verdict) if row.verdict else None,
        standing_path=Path(row.standing_path),
    )
