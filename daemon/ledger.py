"""The ledger: every acknowledged instance is accounted for, in exactly one place.

`received = in_results + skipped + refused + quarantined + waiting`, where each number comes from its own records: the received
from the book of instances, the rest from the jobs that hold them, the quarantine of conflicting contents, and the series that
still wait. What is in none of these places is unexplained; there must be nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Date, Row, and_, case, cast, exists, func, literal, select
from sqlalchemy.sql.functions import coalesce

from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, SERIES
from daemon.job_states import JobState
from daemon.series_states import OPEN_SERIES
from daemon.store import Store

PLACE_OF: Mapping[JobState, str] = MappingProxyType(
    {
        JobState.QUEUED: "waiting",
        JobState.RUNNING: "waiting",
        JobState.DELIVERING: "waiting",
        JobState.DELIVERED: "in_results",
        JobState.SKIPPED: "skipped",
        JobState.CANCELLED: "skipped",
        JobState.REFUSED: "refused",
        JobState.QUARANTINED: "quarantined",
    }
)
"""Where the instances of a job are, by its state. Those of a superseded job are where their later job, or their series, is; without
either, another series of their study took their place, and they count as skipped."""
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Numbers of instances (an instance is a SOP Instance UID with one content)."""

    received: int = 0
    in_results: int = 0
    """Their results are confirmed by every destination."""
    skipped: int = 0
    """No rule matched, there was nothing to deliver, another series of the study was better, or a person gave the job up."""
    refused: int = 0
    quarantined: int = 0
    """Of a quarantined job, or another image under a SOP Instance UID that was taken."""
    waiting: int = 0
    """For more of their series, for a worker, in work, or for delivery."""
    unexplained: int = 0
    """Received, but nowhere else on record, or counted twice: never anything but 0."""

    @property
    def balanced(self) -> bool:
        """Whether every instance is accounted for."""
        return self.unexplained == 0


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """The ledger of what one source sent on one day (UTC)."""

    day: date
    source: str
    """Calling AE title."""
    ledger: Ledger


def ledger(store: Store) -> Ledger:
    """Return the ledger of one moment. An instance in several jobs (a late arrival repeats its series) counts for the latest.

    A corrected instance, and one that came again in another encoding, is where the one is that stands for it.
    """
    return _sum(_rows(store, by_day=False))


def ledger_by_day(store: Store) -> tuple[LedgerLine, ...]:
    """Return the ledger by day and source, the latest day first."""
    lines: dict[tuple[date, str], list[Row[Any]]] = {}
    for row in _rows(store, by_day=True):
        lines.setdefault((row.day, row.source), []).append(row)
    ordered = sorted(lines.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1]))
    return tuple(LedgerLine(day=day, source=source, ledger=_sum(rows)) for (day, source), rows in ordered)


def _sum(rows: Iterable[Row[Any]]) -> Ledger:
    received, places = 0, Counter[str]()
    for row in rows:
        if row.place is None:
            received += row.instances
        else:
            places[row.place] += row.instances
    explained = sum(count for place, count in places.items() if place != UNEXPLAINED)
    return Ledger(received=received, **{**places, UNEXPLAINED: abs(received - explained)})


def _rows(store: Store, *, by_day: bool) -> list[Row[Any]]:
    """Rows of (day, source, place, number of instances); the place of those received is None."""
    with store.database.reading_one_state() as connection:
        key = [_day(connection).label("day"), INSTANCE.c.calling_ae_title.label("source")] if by_day else []
        received = select(*key, literal(None).label("place"), func.count().label("instances")).select_from(INSTANCE)
        placed = _placed(key)
        return [*connection.execute(received.group_by(*key)).all(), *connection.execute(placed).all()]


def _day(connection: Connection) -> ColumnElement[date]:
    if connection.dialect.name == "sqlite":  # which keeps moments as text
        return func.date(INSTANCE.c.received_at, type_=Date)
    return cast(INSTANCE.c.received_at, Date)


def _placed(key: list[Any]) -> Any:
    """Count the instances by place: through the one that stands for each, its latest job, and the state of its series."""
    standing = INSTANCE.alias("standing")
    latest = select(JOB_INSTANCE.c.instance_id, func.max(JOB_INSTANCE.c.job_id).label("job_id"))
    latest_job = latest.group_by(JOB_INSTANCE.c.instance_id).subquery()
    of_series = and_(
        SERIES.c.study_instance_uid == standing.c.study_instance_uid, SERIES.c.series_instance_uid == standing.c.series_instance_uid
    )
    is_open = exists().where(of_series, SERIES.c.state.in_([state.value for state in OPEN_SERIES]))
    by_state = [(JOB.c.state == state.value, place) for state, place in PLACE_OF.items()]
    gave_way = (JOB.c.state == JobState.SUPERSEDED.value) & JOB.c.superseded_by.is_not(None)
    quarantined = standing.c.quarantined.is_(True)
    place = case((quarantined, "quarantined"), *by_state, (is_open, "waiting"), (gave_way, "skipped"), else_=UNEXPLAINED).label("place")
    joined = INSTANCE.join(standing, standing.c.id == coalesce(INSTANCE.c.superseded_by, INSTANCE.c.id))
    joined = joined.outerjoin(latest_job, latest_job.c.instance_id == standing.c.id).outerjoin(JOB, JOB.c.id == latest_job.c.job_id)
    return select(*key, place, func.count().label("instances")).select_from(joined).group_by(*key, place)
