"""The ledger: every acknowledged instance is accounted for, in exactly one place.

`received = in_results + skipped + refused + quarantined + cancelled + waiting`, where each number comes from its own records:
the received from the book of instances, the rest from the jobs that hold them, the quarantine of conflicting contents, and
the series that still wait. An instance that the jobs forgot, or hold twice, breaks the balance.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, func, select

from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, SERIES
from daemon.database.series import SeriesState
from daemon.job_states import JobState
from daemon.store import Store

PLACE_OF = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "waiting",
    JobState.DELIVERING: "waiting",
    JobState.DELIVERED: "in_results",
    JobState.SKIPPED: "skipped",
    JobState.REFUSED: "refused",
    JobState.QUARANTINED: "quarantined",
    JobState.CANCELLED: "cancelled",
}


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Numbers of instances (an instance is a SOP Instance UID with one content)."""

    received: int
    in_results: int = 0
    """Their results are confirmed by every destination."""
    skipped: int = 0
    refused: int = 0
    quarantined: int = 0
    """Of a quarantined job, or other bytes under a SOP Instance UID that was taken."""
    cancelled: int = 0
    """Of a job that a person gave up."""
    waiting: int = 0
    """For more of their series, for a worker, in work, or for delivery."""

    @property
    def balanced(self) -> bool:
        """Whether every instance is accounted for."""
        return self.received == self.in_results + self.skipped + self.refused + self.quarantined + self.cancelled + self.waiting


def ledger(store: Store) -> Ledger:
    """Return the ledger of one moment. An instance in several jobs (a late arrival repeats its series) counts for the latest."""
    with store.database.reading() as connection:
        places = dict.fromkeys(PLACE_OF.values(), 0)
        for state, count in _in_jobs(connection):
            places[PLACE_OF[state]] += count
        places["quarantined"] += connection.scalar(select(func.count()).where(INSTANCE.c.quarantined.is_(True))) or 0
        places["waiting"] += _in_open_series(connection)
        received = connection.scalar(select(func.count()).select_from(INSTANCE)) or 0
    return Ledger(received=received, **places)


def _in_jobs(connection: Connection) -> list[tuple[JobState, int]]:
    by_instance = select(JOB_INSTANCE.c.instance_id, func.max(JOB_INSTANCE.c.job_id).label("job_id"))
    latest = by_instance.group_by(JOB_INSTANCE.c.instance_id).subquery()
    query = select(JOB.c.state, func.count()).join(latest, latest.c.job_id == JOB.c.id).group_by(JOB.c.state)
    return [(JobState(row.state), row.count_1) for row in connection.execute(query)]


def _in_open_series(connection: Connection) -> int:
    of_series = and_(
        SERIES.c.study_instance_uid == INSTANCE.c.study_instance_uid, SERIES.c.series_instance_uid == INSTANCE.c.series_instance_uid
    )
    has_job = exists().where(JOB_INSTANCE.c.instance_id == INSTANCE.c.id)
    waiting = exists().where(of_series, SERIES.c.state == SeriesState.WAITING.value)
    return connection.scalar(select(func.count()).select_from(INSTANCE).where(INSTANCE.c.quarantined.is_(False), waiting, ~has_job)) or 0
