"""The book of other studies: what else was received and made, for rules that look at a patient's earlier studies.

The store keeps no patient's attributes: whose study it is stands in the files alone, of which one a series is enough to tell.
What was told is kept as the number of a bucket (`daemon.priors.patient_bucket`), so that the next look reads only what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, FromClause, exists, func, select, update

from daemon.database.book import Book
from daemon.database.job import Job
from daemon.database.schema import INSTANCE, JOB, OUTBOX, SERIES
from daemon.database.series import standing


@dataclass(frozen=True, kw_only=True)
class UntoldSeries:
    """A series of which the store does not know yet whose it is, by the newest instance that stands there."""

    instance_id: int
    path: Path | None
    """None where its file has been removed."""


class OtherStudiesBook(Book):
    """Lists studies and their files."""

    def untold_series(self, limit: int) -> tuple[UntoldSeries, ...]:
        """Return up to `limit` of the series that are in no bucket, or whose instance that told was corrected since."""
        told = INSTANCE.alias("told")
        in_bucket = exists().where(
            _of_series(told), told.c.quarantined.is_(False), told.c.superseded_by.is_(None), told.c.patient_bucket.is_not(None)
        )
        holds_any = exists().where(_of_series(INSTANCE), standing())
        newest = select(func.max(INSTANCE.c.id)).where(_of_series(INSTANCE), standing()).correlate(SERIES).scalar_subquery()
        untold = select(newest).select_from(SERIES).where(~in_bucket, holds_any).limit(limit)
        query = select(INSTANCE.c.id, INSTANCE.c.path, INSTANCE.c.removed_at).where(INSTANCE.c.id.in_(untold))
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(UntoldSeries(instance_id=row.id, path=None if row.removed_at is not None else Path(row.path)) for row in rows)

    def put_in_buckets(self, buckets: Mapping[int, int]) -> None:
        """Keep the bucket of instances, by their ids in the store; each stands for its series."""
        ids_by_bucket: dict[int, list[int]] = {}
        for instance_id, bucket in buckets.items():
            ids_by_bucket.setdefault(bucket, []).append(instance_id)
        with self.database.writing() as connection:
            for bucket, ids in ids_by_bucket.items():
                connection.execute(update(INSTANCE).where(INSTANCE.c.id.in_(ids)).values(patient_bucket=bucket))

    def other_studies(self, job: Job, bucket: int) -> Mapping[str, tuple[Path, ...]]:
        """Return the Study Instance UIDs of the bucket's studies but the job's, each with a file of each of its series there."""
        others = (INSTANCE.c.patient_bucket == bucket) & (INSTANCE.c.study_instance_uid != job.study_instance_uid)
        query = select(INSTANCE.c.study_instance_uid, INSTANCE.c.path).where(others, standing(), INSTANCE.c.removed_at.is_(None))
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(INSTANCE.c.id)).all()
        found: dict[str, tuple[Path, ...]] = {}
        for row in rows:
            found[row.study_instance_uid] = (*found.get(row.study_instance_uid, ()), Path(row.path))
        return found

    def files_of_study(self, study_instance_uid: str) -> tuple[Path, ...]:
        """Return the files of a study's standing instances, and of what was made of it and not replaced since; the oldest first."""
        received = select(INSTANCE.c.path).where(INSTANCE.c.study_instance_uid == study_instance_uid, standing())
        made = select(OUTBOX.c.path).join(JOB, JOB.c.id == OUTBOX.c.job_id)
        made = made.where(JOB.c.study_instance_uid == study_instance_uid, JOB.c.superseded_by.is_(None))
        with self.database.reading() as connection:
            paths = connection.scalars(received.where(INSTANCE.c.removed_at.is_(None)).order_by(INSTANCE.c.id)).all()
            results = connection.scalars(made.order_by(OUTBOX.c.id)).all()
        return tuple(Path(path) for path in dict.fromkeys((*paths, *results)))


def _of_series(instances: FromClause) -> ColumnElement[bool]:
    same_study = instances.c.study_instance_uid == SERIES.c.study_instance_uid
    return same_study & (instances.c.series_instance_uid == SERIES.c.series_instance_uid)
