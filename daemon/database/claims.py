"""The book of claims: a worker takes a job under a lease, and the leases of the dead are taken back.

Every claim draws a random fencing token. A process that was frozen past its lease and wakes up still holds the old token, and
every write asks for the present one: it can do no harm to whoever took over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select, update

from daemon.database.book import Book
from daemon.database.errors import LeaseLost
from daemon.database.identity import WorkerIdentity
from daemon.database.job import Job, job_of
from daemon.database.schema import JOB, OUTBOX, SWITCH
from daemon.database.switches import DRAIN
from daemon.job_states import JobEvent, JobState, after

FAILURES_LIMIT = 3
UNOWNED = {"owner": None, "owner_host": None, "owner_pid": None, "owner_boot_id": None, "lease_until": None}


class ClaimBook(Book):
    """Hands out queued jobs, one worker each."""

    def claim_job(self, worker: WorkerIdentity) -> Job | None:
        """Take the most urgent, then oldest job that is due (see `claim_order`); None if there is none, or while the store is drained.

        A job whose off-peak window has closed meanwhile becomes due when it opens again. The lease needs `heartbeat`s.
        """
        now = self.clock()
        drained = exists().where(SWITCH.c.name == DRAIN)
        due = select(JOB.c.id).where(JOB.c.state == JobState.QUEUED.value, JOB.c.run_at <= now, ~drained)
        # SKIP LOCKED lets several PostgreSQL workers claim at once; SQLite leaves it out and has its write lock instead.
        first = due.order_by(JOB.c.claim_order, JOB.c.id).limit(1)
        with self.database.reading() as connection:  # an idle worker asks often: do not take the write lock for nothing
            if connection.scalar(first) is None:
                return None
        with self.database.writing() as connection:
            job_id = self._first_in_its_window(connection, first, now)
            if job_id is None:
                return None
            claimed = {
                "state": after(JobState.QUEUED, JobEvent.CLAIM).value,
                "attempt": JOB.c.attempt + 1,
                "updated_at": now,
                "owner_name": worker.name,
                **ownership(worker, self.lease_end(now)),
            }
            connection.execute(update(JOB).where(JOB.c.id == job_id).values(**claimed))
            return job_of(connection.execute(select(JOB).where(JOB.c.id == job_id)).one())

    def _first_in_its_window(self, connection: Connection, first: Select[Any], now: datetime) -> int | None:
        while (job_id := connection.scalar(first.with_for_update(skip_locked=True, of=JOB))) is not None:
            opens = self.may_begin(connection.scalar(select(JOB.c.off_peak).where(JOB.c.id == job_id)), now)
            if opens <= now:
                return int(job_id)
            connection.execute(update(JOB).where(JOB.c.id == job_id).values(run_at=opens))
        return None

    def heartbeat(self, job: Job) -> None:
        """Prolong the lease. Raises LeaseLost if the job is no longer ours: stop working on it."""
        with self.database.writing() as connection:
            change_owned(connection, job, lease_until=self.lease_end(self.clock()))

    def recover(self, host: str, boot_id: str, is_alive: Callable[[int], bool], limit: int = FAILURES_LIMIT) -> tuple[Job, ...]:
        """Free every job whose worker is gone, and return these jobs as they are now: QUEUED, or QUARANTINED after `limit`.

        Gone means: a process of this `host` that is not alive or belongs to another boot, or any lease that ran out. It counts
        as a failure, so that a job that kills its worker does not do so for ever. Call it at start and every few seconds.
        Claims of dead delivery processes of this host are freed too.
        """
        now = self.clock()

        def is_dead(row: Row[Any]) -> bool:
            return bool(row.owner_host == host and (row.owner_boot_id != boot_id or not is_alive(row.owner_pid)))

        with self.database.reading() as connection:
            running = connection.execute(select(JOB).where(JOB.c.state == JobState.RUNNING.value)).all()
            sending = connection.execute(select(OUTBOX).where(OUTBOX.c.owner_host == host)).all()
        abandoned = [row for row in running if is_dead(row) or row.lease_until < now]
        unsent = [row for row in sending if is_dead(row)]
        if not abandoned and not unsent:
            return ()
        with self.database.writing() as connection:
            for row in unsent:
                connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id, OUTBOX.c.owner == row.owner).values(**UNOWNED))
            freed = [_free(connection, row, now, limit) for row in abandoned]
            query = select(JOB).where(JOB.c.id.in_([job_id for job_id in freed if job_id is not None])).order_by(JOB.c.id)
            return tuple(job_of(row) for row in connection.execute(query))


def ownership(worker: WorkerIdentity, lease_until: datetime) -> dict[str, object]:
    """Return the columns of a claim by `worker`, with a new fencing token."""
    return {
        "owner": secrets.token_hex(16),
        "owner_host": worker.host,
        "owner_pid": worker.pid,
        "owner_boot_id": worker.boot_id,
        "lease_until": lease_until,
    }


def change_owned(connection: Connection, job: Job, **values: object) -> None:
    """Change a running job's row, if its claim is still the one that `job` holds. Raises LeaseLost."""
    ours = (JOB.c.id == job.id) & (JOB.c.state == JobState.RUNNING.value) & (JOB.c.owner == job.token)
    if connection.execute(update(JOB).where(ours).values(**values)).rowcount != 1:
        raise LeaseLost(f"job {job.id}: this claim (attempt {job.attempt}) has ended; stop working on it and drop what it made")


def _free(connection: Connection, row: Row[Any], now: datetime, limit: int) -> int | None:
    """Take a job back from a dead worker; return its id, or None if it moved on meanwhile."""
    failures = row.failures + 1
    state = after(JobState.RUNNING, JobEvent.EXHAUST if failures >= limit else JobEvent.FAIL)
    died = f"{row.owner_name or 'a worker'} (pid {row.owner_pid} on {row.owner_host}) ended in the middle of attempt {row.attempt}"
    # A heartbeat or a new claim since we looked proves life.
    same = (JOB.c.id == row.id) & (JOB.c.owner == row.owner) & (JOB.c.lease_until == row.lease_until)
    changed = connection.execute(
        update(JOB)
        .where(same)
        .values(
            state=state.value,
            failures=failures,
            run_at=now,
            updated_at=now,
            error_code="worker-died",
            error_message=f"{died}; look in the journal for why",
            **UNOWNED,
        )
    )
    return row.id if changed.rowcount == 1 else None
