"""The book of jobs: how each attempt ends, and what people may ask for.

Every end of an attempt is one transaction that asks for the claim's fencing token; `LeaseLost` says that nothing was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from daemon.database.book import Book
from daemon.database.claims import UNOWNED, change_owned
from daemon.database.errors import InputsRemoved, UnknownJob
from daemon.database.job import Job, job_of
from daemon.database.job_rules import RuleOutcome, put_rules
from daemon.database.outbox import OutboxItem, cancel_rows, put_rows, settle
from daemon.database.outbox_rows import KEPT_STATES
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, OUTBOX
from daemon.job_states import OPEN, JobEvent, JobState, after


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """An earlier result that a new one replaces; its file may be gone."""

    sop_instance_uid: str
    path: Path


class JobBook(Book):
    """Ends attempts, and reads, releases and cancels jobs."""

    def finish_with_results(self, job: Job, results: Sequence[OutboxItem], rules: Sequence[RuleOutcome] = ()) -> None:
        """Put the results (whose files are durable) into the outbox; the job is DELIVERING from here on.

        A result that a destination confirmed before, in an earlier run of this job, is not sent again. If nothing is left to
        send, the job is DELIVERED at once. `rules`: what it came to for each rule that matched; so for `skip` and `refuse`.
        """
        now = self.clock()
        with self.database.writing() as connection:
            _end(connection, job, JobEvent.FINISH, now, error_code=None, error_message=None)
            put_rows(connection, job.id, results, now)
            put_rules(connection, job.id, rules, now)
            settle(connection, job.id, now)

    def skip(
        self,
        job: Job,
        reasons: Sequence[str],
        results: Sequence[OutboxItem] = (),
        code: str = "skipped",
        rules: Sequence[RuleOutcome] = (),
    ) -> None:
        """Nothing is to be delivered but `results` (reports of what was not found); the reasons are kept for people.

        `code`: skipped where no rule matched or there is no segmentation, shadow where a rule in shadow made what is not sent.
        """
        now = self.clock()
        with self.database.writing() as connection:
            _end(connection, job, JobEvent.SKIP, now, error_code=code, error_message="; ".join(reasons))
            put_rows(connection, job.id, results, now)
            put_rules(connection, job.id, rules, now)

    def refuse(self, job: Job, code: str, message: str, results: Sequence[OutboxItem] = (), rules: Sequence[RuleOutcome] = ()) -> None:
        """The data can never be processed; a retry does not help. `results`: reports that say so, to be delivered."""
        now = self.clock()
        with self.database.writing() as connection:
            _end(connection, job, JobEvent.REFUSE, now, error_code=code, error_message=message)
            put_rows(connection, job.id, results, now)
            put_rules(connection, job.id, rules, now)

    def hand_back(self, job: Job) -> None:
        """Return an unfinished job to the queue because the worker stops in good order; it counts for nothing."""
        now = self.clock()
        with self.database.writing() as connection:
            _end(connection, job, JobEvent.HAND_BACK, now, run_at=now)

    def retry_later(self, job: Job, code: str, message: str) -> datetime:
        """A transient failure: back to the queue, due after a backoff; never counted. Returns when it is due."""
        now = self.clock()
        with self.database.writing() as connection:
            tries = _row(connection, job.id).postponements + 1
            due = now + self.settings.job_backoff.delay(tries, f"job {job.id}")
            _end(connection, job, JobEvent.POSTPONE, now, postponements=tries, run_at=due, error_code=code, error_message=message)
        return due

    def fail(self, job: Job, code: str, message: str, limit: int) -> JobState:
        """A counted failure: back to the queue with a backoff, or QUARANTINED at the `limit`-th. Returns the new state."""
        now = self.clock()
        with self.database.writing() as connection:
            failures = _row(connection, job.id).failures + 1
            event = JobEvent.EXHAUST if failures >= limit else JobEvent.FAIL
            due = now + self.settings.job_backoff.delay(failures, f"job {job.id}")
            _end(connection, job, event, now, failures=failures, run_at=due, error_code=code, error_message=message)
        return after(JobState.RUNNING, event)

    def release(self, job_id: int) -> Job:
        """A person wants a job that ended without results tried again, with all its attempts, and now: no off-peak window holds it.

        Raises UnknownJob, IllegalMove, or InputsRemoved where retention has removed what it would read.
        """
        now = self.clock()
        fresh = {"failures": 0, "postponements": 0, "run_at": now, "off_peak": None, "error_code": None, "error_message": None}
        with self.database.writing() as connection:
            _expect_inputs(connection, job_id)
            cancel_rows(connection, job_id, now)  # the next attempt says anew what the last one came to
            return _ask(connection, job_id, JobEvent.RELEASE, updated_at=now, **fresh)

    def cancel(self, job_id: int) -> Job:
        """A person gives a job up; what waits in its outbox is not sent. Raises UnknownJob, IllegalMove."""
        now = self.clock()
        with self.database.writing() as connection:
            cancelled = _ask(connection, job_id, JobEvent.CANCEL, updated_at=now, **UNOWNED)
            cancel_rows(connection, job_id, now)
            return cancelled

    def predecessors(self, job: Job) -> tuple[Predecessor, ...]:
        """Return the results of the jobs that this one supersedes, as far as any of them may have left the house, the oldest first."""
        # What waited for its confirmation when it was cancelled had been stored all the same.
        sent = OUTBOX.c.state.in_(KEPT_STATES) | OUTBOX.c.stored_at.is_not(None)
        query = select(OUTBOX.c.sop_instance_uid, OUTBOX.c.path).join(JOB, JOB.c.id == OUTBOX.c.job_id)
        query = query.where(JOB.c.superseded_by == job.id, sent).order_by(OUTBOX.c.job_id, OUTBOX.c.id)
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        found = {row.sop_instance_uid: row.path for row in rows}  # one result may have gone to several destinations
        return tuple(Predecessor(sop_instance_uid=uid, path=Path(path)) for uid, path in found.items())

    def job(self, job_id: int) -> Job:
        """Return a job as it is now. Raises UnknownJob."""
        with self.database.reading() as connection:
            return job_of(_row(connection, job_id))

    def jobs(self, state: JobState | None = None) -> tuple[Job, ...]:
        """Return all jobs, or those in `state`, the oldest first."""
        query = select(JOB).order_by(JOB.c.id)
        with self.database.reading() as connection:
            return tuple(job_of(row) for row in connection.execute(query if state is None else query.where(JOB.c.state == state.value)))

    def jobs_of_study(self, study_instance_uid: str) -> tuple[Job, ...]:
        """Return all jobs of a study, the oldest first."""
        query = select(JOB).where(JOB.c.study_instance_uid == study_instance_uid).order_by(JOB.c.id)
        with self.database.reading() as connection:
            return tuple(job_of(row) for row in connection.execute(query))

    def instance_paths(self, job: Job) -> tuple[Path, ...]:
        """Return the files of a job's instances, in the order of their arrival."""
        query = select(INSTANCE.c.path).join(JOB_INSTANCE, JOB_INSTANCE.c.instance_id == INSTANCE.c.id)
        with self.database.reading() as connection:
            paths = connection.scalars(query.where(JOB_INSTANCE.c.job_id == job.id).order_by(INSTANCE.c.id))
            return tuple(Path(path) for path in paths)

    def expected_files(self, job: Job) -> tuple[tuple[Path, str], ...]:
        """Return (file, SHA-256 of its data set) of a job's instances, in the order of their arrival."""
        query = select(INSTANCE.c.path, INSTANCE.c.sha256).join(JOB_INSTANCE, JOB_INSTANCE.c.instance_id == INSTANCE.c.id)
        with self.database.reading() as connection:
            rows = connection.execute(query.where(JOB_INSTANCE.c.job_id == job.id).order_by(INSTANCE.c.id)).all()
        return tuple((Path(row.path), row.sha256) for row in rows)

    def next_job_at(self) -> datetime | None:
        """Return when the next queued job is due, None if none is queued; a worker sleeps until then."""
        with self.database.reading() as connection:
            due: datetime | None = connection.scalar(select(func.min(JOB.c.run_at)).where(JOB.c.state == JobState.QUEUED.value))
            return due


def supersede(connection: Connection, job_id: int, now: datetime, *, by: int | None) -> None:
    """A later job (`by`, where there is one already) has more, or corrected, instances: what it has not delivered never leaves."""
    row = _row(connection, job_id)
    values: dict[str, object] = {} if by is None else {"superseded_by": by}
    if JobState(row.state) in OPEN:
        values |= {"state": after(JobState(row.state), JobEvent.SUPERSEDE).value, "updated_at": now, **UNOWNED}
    cancel_rows(connection, job_id, now)  # of one that has ended too: the reports of a skipped series may still wait
    if values:
        connection.execute(update(JOB).where(JOB.c.id == job_id).values(**values))


def _expect_inputs(connection: Connection, job_id: int) -> None:
    removed = select(func.count()).join(JOB_INSTANCE, JOB_INSTANCE.c.instance_id == INSTANCE.c.id)
    count = connection.scalar(removed.where(JOB_INSTANCE.c.job_id == job_id, INSTANCE.c.removed_at.is_not(None)))
    if count:
        raise InputsRemoved(f"job {job_id}: retention has removed {count} of its instances; send the series again, then retry the job")


def _row(connection: Connection, job_id: int) -> Row[Any]:
    row = connection.execute(select(JOB).where(JOB.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise UnknownJob(f"expected the id of a job, got {job_id}; `medsam2d jobs list` shows them")
    return row


def _end(connection: Connection, job: Job, event: JobEvent, now: datetime, **values: object) -> None:
    state = after(JobState.RUNNING, event)
    change_owned(connection, job, state=state.value, updated_at=now, **UNOWNED, **values)


def _ask(connection: Connection, job_id: int, event: JobEvent, **values: object) -> Job:
    state = after(JobState(_row(connection, job_id).state), event)
    connection.execute(update(JOB).where(JOB.c.id == job_id).values(state=state.value, **values))
    return job_of(_row(connection, job_id))
