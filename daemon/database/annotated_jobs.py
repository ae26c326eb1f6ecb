"""The book of annotated jobs: which annotation objects a job has read, and the job that runs again over those that came after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from daemon.database.book import Book
from daemon.database.claims import change_owned
from daemon.database.errors import InputsRemoved
from daemon.database.job import Job, Priority, claim_order, job_of
from daemon.database.schema import INSTANCE, JOB, JOB_ANNOTATION, JOB_INSTANCE, SERIES
from daemon.database.series import WaitingSeries, content_sha256, queue_content
from daemon.job_states import JobState
from daemon.series_states import OPEN_SERIES

HAS_READ = (JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED)
"""States of a job that may have read its study; one that is queued will read what has come by then."""
KEPT_TERMS = ("off_peak", "selection", "partial_reason")


class AnnotatedJobBook(Book):
    """Keeps what jobs read of their study, and queues them anew over more."""

    def note_annotations(self, job: Job, paths: Iterable[Path]) -> None:
        """Keep which annotation objects (their files) a running job has read, in place of those of an earlier attempt. Raises LeaseLost."""
        read = select(INSTANCE.c.id).where(INSTANCE.c.path.in_([str(path) for path in paths]))
        with self.database.writing() as connection:
            change_owned(connection, job, updated_at=self.clock())
            connection.execute(delete(JOB_ANNOTATION).where(JOB_ANNOTATION.c.job_id == job.id))
            found = connection.scalars(read).all()
            if found:
                connection.execute(insert(JOB_ANNOTATION), [{"job_id": job.id, "instance_id": instance_id} for instance_id in found])

    def without_annotations(self, annotations: Job) -> tuple[Job, ...]:
        """Return the jobs over a study's other series that stand and have not read all instances of `annotations`, the oldest first.

        Jobs that are open or delivered, and those that a worker skipped; what is in shadow, or gave way to a better series, is left alone.
        """
        same_study = JOB.c.study_instance_uid == annotations.study_instance_uid
        others = same_study & (JOB.c.series_instance_uid != annotations.series_instance_uid)
        skipped = (JOB.c.state == JobState.SKIPPED.value) & (JOB.c.error_code == "skipped")
        stands = (JOB.c.state.in_([state.value for state in HAS_READ]) | skipped) & JOB.c.superseded_by.is_(None)
        with self.database.reading() as connection:
            jobs = [job_of(row) for row in connection.execute(select(JOB).where(others, stands).order_by(JOB.c.id))]
            return tuple(job for job in jobs if _unread(connection, job.id, annotations.id))

    def queue_with_annotations(self, earlier: Job, annotations: Job) -> Job | None:
        """Queue a job over the instances of `earlier`, which it supersedes, now that those of `annotations` are there; return it.

        Its content is that of the series with the annotations: None where there was a job over just that, where `earlier`
        stands no longer, or where its series waits for more instances (whose job will read the annotations).

        Raises:
            InputsRemoved: retention has removed instances of the series.
        """
        now = self.clock()
        with self.database.writing_alone() as connection:
            row = connection.execute(select(JOB).where(JOB.c.id == earlier.id)).one()
            if row.superseded_by is not None or row.state != earlier.state.value or _is_open(connection, earlier):
                return None
            instances = _instances(connection, JOB_INSTANCE, earlier.id)
            removed = sum(instance.removed_at is not None for instance in instances)
            if removed:
                raise InputsRemoved(f"job {earlier.id}: retention has removed {removed} of its instances; send the series again")
            drawn = [*_instances(connection, JOB_ANNOTATION, earlier.id), *_instances(connection, JOB_INSTANCE, annotations.id)]
            content = content_sha256({(one.sop_instance_uid, one.sha256) for one in (*instances, *drawn)})
            values = {
                "priority": row.priority,
                "claim_order": claim_order(now, Priority(row.priority)),
                "run_at": self.may_begin(row.off_peak, now),
                **{name: getattr(row, name) for name in KEPT_TERMS},
            }
            series = WaitingSeries(
                study_instance_uid=earlier.study_instance_uid,
                series_instance_uid=earlier.series_instance_uid,
                last_arrival=now,
                calling_ae_title=earlier.calling_ae_title,
                called_ae_title=earlier.called_ae_title,
                source_address=earlier.source_address,
            )
            return queue_content(connection, series, [one.id for one in instances], content, now, values)


def _unread(connection: Connection, job_id: int, annotation_job_id: int) -> bool:
    read = select(JOB_ANNOTATION.c.instance_id).where(JOB_ANNOTATION.c.job_id == job_id)
    new = select(func.count()).where(JOB_INSTANCE.c.job_id == annotation_job_id, JOB_INSTANCE.c.instance_id.not_in(read))
    return bool(connection.scalar(new))


def _instances(connection: Connection, table: Any, job_id: int) -> Sequence[Row[Any]]:
    query = select(INSTANCE).join(table, table.c.instance_id == INSTANCE.c.id).where(table.c.job_id == job_id)
    return connection.execute(query.order_by(INSTANCE.c.id)).all()


def _is_open(connection: Connection, job: Job) -> bool:
    same = (SERIES.c.study_instance_uid == job.study_instance_uid) & (SERIES.c.series_instance_uid == job.series_instance_uid)
    waits = SERIES.c.state.in_([state.value for state in OPEN_SERIES])
    return bool(connection.scalar(select(func.count()).select_from(SERIES).where(same, waits)))
