"""A clock that a test moves, a store in a temporary folder, and instances that never saw a scanner."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.arrivals import Arrivals
from daemon.clock import Clock
from daemon.config import ArrivalSettings
from daemon.evidence import Evidence
from daemon.spool import SpooledInstance
from daemon.store import Job, OutboxItem, Store, StoreSettings, WorkerIdentity

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOOT = "boot-1"


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A store, its clock and its folder."""

    store: Store
    clock: FakeClock
    folder: Path
    url: str


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.sqlite'}"


def new_site(folder: Path, settings: StoreSettings | None = None, *, url: str | None = None) -> Site:
    """A store at `url`, or in a SQLite file in the folder; several may be opened on one database."""
    clock = FakeClock()
    place = url or url_of(folder)
    return Site(store=Store(place, clock, settings), clock=clock, folder=folder, url=place)


def instance(number: int, at: datetime = START, *, series: str = "1.2.3", content: str = "") -> SpooledInstance:
    """The `number`-th instance of a series, received `at`; other `content` under the same number is a conflict."""
    uid = f"{series}.{number}"
    return SpooledInstance(
        path=Path(f"/spool/{uid}{content}.dcm"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=uid,
        series_instance_uid=series,
        study_instance_uid="1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=hashlib.sha256(f"{uid}{content}".encode()).hexdigest(),
        bytes=1000,
        calling_ae_title="SCANNER",
        called_ae_title="MEDSAM2D",
        peer_address="127.0.0.1",
        received_at=at,
    )


def arrivals(store: Store, clock: Clock, evidence: Evidence | None = None, **settings: object) -> Arrivals:
    """Arrivals with a quiet period of 30 s, which find every series as `evidence` says: whole, unless told otherwise."""
    own = ArrivalSettings(**{"quiet_seconds": 30.0, **settings})
    return Arrivals(store=store, clock=clock, settings=own, evidence=lambda _series: evidence or Evidence(instances=1))


def worker(pid: int = 100, *, host: str = "here", boot_id: str = BOOT) -> WorkerIdentity:
    return WorkerIdentity(host=host, pid=pid, boot_id=boot_id, name="worker")


def queued(site: Site, *, series: str = "1.2.3", instances: int = 2) -> Job:
    """A job of a new series, received and complete now."""
    for number in range(instances):
        site.store.record_instance(instance(number, site.clock(), series=series))
    jobs = [site.store.complete_series(waiting) for waiting in site.store.waiting_series()]
    assert len(jobs) == 1
    assert jobs[0] is not None
    return jobs[0]


def claimed(site: Site, by: WorkerIdentity | None = None) -> Job:
    job = site.store.claim_job(by or worker())
    assert job is not None
    return job


def result(folder: Path, name: str = "1", destination: str = "pacs") -> OutboxItem:
    """A result on disk, for one destination."""
    path = folder / f"{name}.dcm"
    path.write_bytes(name.encode())
    return OutboxItem(destination=destination, path=path, sop_instance_uid=f"2.25.{name}", sha256=hashlib.sha256(name.encode()).hexdigest())
