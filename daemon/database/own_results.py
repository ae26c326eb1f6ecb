"""The book of results that came back: their rows are there for the ledger, and their job is SKIPPED from the start."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from daemon.database.book import Book
from daemon.database.instances import insert_instance, judge
from daemon.database.job import Priority, claim_order
from daemon.database.retention import seen_again
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE
from daemon.database.series import content_sha256
from daemon.job_states import JobState
from daemon.spool import Recording, SpooledInstance


class OwnResultBook(Book):
    """Records results of ours that an archive sent back; safe to repeat."""

    def record_own_result(self, instance: SpooledInstance, reason: str) -> Recording:
        """Commit the row of a result whose file is durable, accounted for as skipped; it opens no series.

        Raises:
            StoreBusy, StoreFull, StoreUnavailable: nothing was recorded; do not acknowledge.
        """
        with self.database.writing() as connection:
            known = connection.scalars(select(INSTANCE.c.sha256).where(INSTANCE.c.sop_instance_uid == instance.sop_instance_uid)).all()
            recording = judge(instance.sha256, set(known))
            if recording is Recording.DUPLICATE:
                seen_again(connection, instance)
            else:
                insert_instance(connection, instance, recording)
            if recording is Recording.NEW:
                self._skip(connection, instance, reason)
        return recording

    def _skip(self, connection: Connection, instance: SpooledInstance, reason: str) -> None:
        now = self.clock()
        values = {
            "study_instance_uid": instance.study_instance_uid,
            "series_instance_uid": instance.series_instance_uid,
            "content_sha256": content_sha256([(instance.sop_instance_uid, instance.sha256)]),
            "state": JobState.SKIPPED.value,
            "priority": Priority.ROUTINE.value,
            "claim_order": claim_order(now, Priority.ROUTINE),
            "attempt": 0,
            "failures": 0,
            "postponements": 0,
            "run_at": now,
            "created_at": now,
            "updated_at": now,
            "calling_ae_title": instance.calling_ae_title,
            "called_ae_title": instance.called_ae_title,
            "source_address": instance.peer_address,
            "error_code": "own-result",
            "error_message": f"a result that came back is never segmented: {reason}",
        }
        job_id = connection.execute(insert(JOB).values(**values).returning(JOB.c.id)).scalar_one()
        instance_id = connection.scalar(select(INSTANCE.c.id).where(INSTANCE.c.sop_instance_uid == instance.sop_instance_uid))
        connection.execute(insert(JOB_INSTANCE).values(job_id=job_id, instance_id=instance_id))
