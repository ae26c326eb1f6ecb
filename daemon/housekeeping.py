"""Housekeeping: what the listener's process does beside receiving."""

from __future__ import annotations

import logging
from collections.abc import Callable

from daemon.arrivals import Arrivals
from daemon.audit import Audit
from daemon.chaos_points import reach
from daemon.child import Life
from daemon.clock import system_clock
from daemon.config import Config
from daemon.evidence import gatherer
from daemon.retention import Retention
from daemon.rules_in_use import checked_rules, reloaded
from daemon.store import JobState, Store, WaitingSeries, WorkerIdentity, process_is_alive, this_process
from dicom_io.peer import Destination
from dicom_io.query import count_instances

LOG = logging.getLogger("medsam2d.housekeeping")


class Housekeeping:
    """Completes series, frees the jobs of dead workers, and removes old files."""

    def __init__(self, settings: Config, book: Store, audit: Audit, life: Life) -> None:
        self._settings, self._book, self._audit, self._life = settings, book, audit, life
        self._ruleset = checked_rules(settings)
        self._identity = this_process("listener")
        self._retention = Retention(store=book, folders=settings.folders, settings=settings.retention, clock=system_clock)
        self._arrivals = Arrivals(
            store=book,
            clock=system_clock,
            settings=settings.arrivals,
            evidence=gatherer(book, lambda: self._ruleset, self._count_at_source),
            held=self._tell_held,
            selected=audit.series_selected,
            shortest_quiet=self._shortest_quiet,
        )

    def once(self) -> bool:
        """Look at everything once; return whether there was anything to do."""
        if self._life.reload.is_set():
            self._life.reload.clear()
            self._ruleset = reloaded(self._settings, self._ruleset)
        recover_jobs(self._settings, self._book, self._audit, self._identity)
        jobs = self._arrivals.step()
        if jobs:
            reach("arrivals.queued")
        for job in jobs:
            self._audit.job_queued(job, len(self._book.instance_paths(job)))
            LOG.info("job %s: %s, its series is %s", job.id, job.state.value.lower(), job.partial_reason or "complete")
        removed = self._retention.sweep() if self._retention.due() else 0
        return bool(jobs) or removed > 0

    def _shortest_quiet(self) -> float | None:
        asked = [rule.completeness.quiet_seconds for rule in self._ruleset.rules if rule.enabled]
        return min((seconds for seconds in asked if seconds is not None), default=None)

    def _tell_held(self, series: WaitingSeries, reason: str) -> None:
        self._audit.series_held(series, reason)
        LOG.warning("series %s is held: %s", series.series_instance_uid, reason)

    def _count_at_source(self, series: WaitingSeries) -> Callable[[WaitingSeries], int | None] | None:
        own = self._settings.arrivals.sources.get(series.calling_ae_title)
        if own is None:
            return None
        archive = Destination(
            name=f"source {series.calling_ae_title}",
            host=own.host,
            port=own.port,
            ae_title=own.ae_title,
            calling_ae_title=own.calling_ae_title or self._settings.ae_title,
            connection_timeout_seconds=own.timeout_seconds,
            dimse_timeout_seconds=own.timeout_seconds,
        )
        return lambda asked: count_instances(archive, asked.study_instance_uid, asked.series_instance_uid)


def recover_jobs(settings: Config, book: Store, audit: Audit, identity: WorkerIdentity) -> None:
    """Free what dead processes had claimed, and tell of it."""
    for job in book.recover(identity.host, identity.boot_id, process_is_alive, settings.worker.attempts):
        LOG.warning("job %s: taken back from a worker that is gone, now %s", job.id, job.state.value)
        if job.state is JobState.QUARANTINED:
            audit.job_quarantined(job, job.error_code or "")
