"""The book of other studies: what else was received and made, for rules that look at a patient's earlier studies.

The store keeps no patient's attributes: whose study it is stands in the files alone, of which one a series is enough to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import func, select

from daemon.database.book import Book
from daemon.database.job import Job
from daemon.database.schema import INSTANCE, JOB, OUTBOX
from daemon.database.series import standing


class OtherStudiesBook(Book):
    """Lists studies and their files."""

    def other_studies(self, job: Job) -> Mapping[str, tuple[Path, ...]]:
        """Return the Study Instance UIDs of all studies but the job's, each with a file of each of its series that stands there now."""
        kept = (INSTANCE.c.study_instance_uid != job.study_instance_uid) & standing() & INSTANCE.c.removed_at.is_(None)
        newest = select(func.max(INSTANCE.c.id)).where(kept).group_by(INSTANCE.c.study_instance_uid, INSTANCE.c.series_instance_uid)
        query = select(INSTANCE.c.study_instance_uid, INSTANCE.c.path).where(INSTANCE.c.id.in_(newest))
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
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
