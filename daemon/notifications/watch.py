"""What holds now, as far as store, disks, certificates, the audit trail and the record of our processes tell."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select

from daemon.audit_forwarding import stalled_since
from daemon.clock import Clock
from daemon.config import Config
from daemon.database.outbox_rows import WAITING_STATES
from daemon.database.schema import JOB, OUTBOX
from daemon.destination_settings import DestinationTls
from daemon.job_states import JobState
from daemon.notification_settings import NotificationSettings
from daemon.notifications.conditions import Condition, Kind
from daemon.process_record import read_processes
from daemon.store import OutboxState, Store
from dicom_io.errors import UnusableCertificate
from dicom_io.tls import valid_until

DYING_SPAN = timedelta(minutes=10)
"""`process_ends` are counted over so long."""
NOT_ITS_FAULT = ("result-damaged", "unknown-destination")
"""Codes of what keeps a result here although its destination may well be there."""
FreeBytes = Callable[[Path], tuple[int, int]]
"""Free and total bytes of the file system that a folder lies on. Raises OSError."""


def disk_of(folder: Path) -> tuple[int, int]:
    """Return free and total bytes."""
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks at everything that may need a person."""

    settings: Config
    own: NotificationSettings
    store: Store
    clock: Clock
    disk: FreeBytes = disk_of

    def conditions(self) -> tuple[Condition, ...]:
        """Return what holds now, of the kinds that are told. Raises Transient where the store cannot be read."""
        now = self.clock()
        looks = (self._destinations, self._jobs, self._deliveries, self._disks, self._certificates, self._processes, self._audit)
        return tuple(found for look in looks for found in look(now) if found.kind in self.own.kinds)

    def _destinations(self, now: datetime) -> Iterator[Condition]:
        refused = OUTBOX.c.state.in_(WAITING_STATES) & (OUTBOX.c.attempt > 0) & OUTBOX.c.error_code.not_in(NOT_ITS_FAULT)
        query = select(OUTBOX.c.destination, func.count(), func.min(OUTBOX.c.created_at)).where(refused).group_by(OUTBOX.c.destination)
        for name, count, since in self._rows(query):
            if now - since >= timedelta(minutes=self.own.destination_minutes):
                yield Condition(kind=Kind.DESTINATION_DOWN, subject=name, since=since, count=count)

    def _jobs(self, now: datetime) -> Iterator[Condition]:
        query = select(func.count(), func.max(JOB.c.updated_at)).where(JOB.c.state == JobState.QUARANTINED.value)
        for count, since in self._rows(query):
            if count:
                yield Condition(kind=Kind.JOB_QUARANTINED, since=since, count=count)

    def _deliveries(self, now: datetime) -> Iterator[Condition]:
        query = select(OUTBOX.c.destination, func.count(), func.max(OUTBOX.c.updated_at))
        query = query.where(OUTBOX.c.state == OutboxState.QUARANTINED.value).group_by(OUTBOX.c.destination)
        for name, count, since in self._rows(query):
            yield Condition(kind=Kind.DELIVERY_QUARANTINED, subject=name, since=since, count=count)

    def _disks(self, now: datetime) -> Iterator[Condition]:
        folders = self.settings.folders
        for name, folder in {"spool": folders.spool, "state": folders.state, "results": folders.results}.items():
            if not folder.is_dir():
                continue
            free, total = self.disk(folder)
            if 100.0 * free / total < self.own.disk_free_percent:
                measure = f"{100.0 * free / total:.1f} % free, {free / 2**30:.1f} GiB"
                yield Condition(kind=Kind.DISK_LOW, subject=name, since=now, measure=measure)

    def _certificates(self, now: datetime) -> Iterator[Condition]:
        for name, path in _certificates_of(self.settings, self.own):
            try:
                end = valid_until(path)
            except UnusableCertificate:
                yield Condition(kind=Kind.CERTIFICATE_EXPIRES, subject=name, since=now, measure="cannot be read")
                continue
            if end - now < timedelta(days=self.own.certificate_days):
                measure = f"{'expired' if end < now else 'expires'} on {end:%Y-%m-%d}"
                yield Condition(kind=Kind.CERTIFICATE_EXPIRES, subject=name, since=now, measure=measure)

    def _processes(self, now: datetime) -> Iterator[Condition]:
        for role, record in read_processes(self.settings.folders.state).items():
            ends = record.ends_within(DYING_SPAN, now)
            if len(ends) >= self.own.process_ends:
                yield Condition(kind=Kind.PROCESS_DIES, subject=role, since=ends[0], count=len(ends))

    def _audit(self, now: datetime) -> Iterator[Condition]:
        since = stalled_since(self.settings.folders.audit) if self.settings.audit.syslog is not None else None
        if since is not None and now - since >= timedelta(minutes=self.own.audit_minutes):
            yield Condition(kind=Kind.AUDIT_STALLED, since=since)

    def _rows(self, query: Select[*tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        with self.store.database.reading() as connection:
            return [tuple(row) for row in connection.execute(query)]


def _certificates_of(settings: Config, own: NotificationSettings) -> Iterator[tuple[str, Path]]:
    """Every certificate of ours, with the name of what uses it."""
    if settings.listener.tls is not None:
        yield "listener", settings.listener.tls.certificate
    repository = settings.audit.syslog.tls if settings.audit.syslog is not None else None
    used: Iterable[tuple[str, DestinationTls | None]] = (
        *((f"destination {name}", getattr(one, "tls", None)) for name, one in settings.destinations.items()),
        *((f"channel {name}", one.tls) for name, one in own.channels.items()),
        ("audit repository", repository),
    )
    for name, tls in used:
        if tls is not None and tls.certificate_file is not None:
            yield name, tls.certificate_file
