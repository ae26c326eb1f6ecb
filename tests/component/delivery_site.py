"""A store with real objects in its outbox, destinations that are told what to do, and an observer that remembers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID

from daemon.delivery import Desk, deliver_due
from daemon.route import Confirmation, Keep, Route
from daemon.store import Delivery, OutboxItem, OutboxState
from dicom_io.commitment import CommitmentReport
from dicom_io.sender import Outgoing, Reached, SendResult, class_refused, judged
from tests.component.loopback import write_instance
from tests.component.store_site import Site, claimed, queued, worker

SEG, LABEL_MAP, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.88.34"

Answer = Callable[[Outgoing], int]


def item(site: Site, number: int, destination: str = "pacs", sop_class: str = SEG, **choice: object) -> OutboxItem:
    """An object on disk, for one destination; `choice`: form_of, preference, optional."""
    path = site.folder / f"{number}.dcm"
    if not path.exists():
        write_instance(site.folder, number, SOPClassUID=UID(sop_class))
    uid = f"1.2.826.0.1.3680043.8.498.1.{number}"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return OutboxItem(destination=destination, path=path, sop_instance_uid=uid, sha256=sha256, **choice)  # type: ignore[arg-type]


def finished(site: Site, *items: OutboxItem) -> int:
    """A job with these results in the outbox."""
    job_id = queued(site, series=f"1.{len(site.store.jobs())}").id
    site.store.finish_with_results(claimed(site), list(items))
    return job_id


@dataclass
class Heard:
    """An observer that remembers what it heard, as (word, destination, name of the file, code)."""

    events: list[tuple[str, ...]] = field(default_factory=list)

    def sending(self, delivery: Delivery) -> None:
        self.events.append(("sending", delivery.destination, delivery.path.stem))

    def stored(self, delivery: Delivery, remark: str) -> None:
        self.events.append(("stored", delivery.destination, delivery.path.stem))

    def reported(self, report: CommitmentReport) -> None:
        self.events.append(("reported", report.transaction_uid))

    def delivered(self, delivery: Delivery) -> None:
        self.events.append(("delivered", delivery.destination, delivery.path.stem))

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> None:
        assert message
        self.events.append(("failed", delivery.destination, delivery.path.stem, code))

    def delivery_refused(self, delivery: Delivery, state: OutboxState, code: str, message: str) -> None:
        assert message
        self.events.append((state.value, delivery.destination, delivery.path.stem, code))

    def only(self, *words: str) -> list[tuple[str, ...]]:
        return [event for event in self.events if event[0] in words]


def stores_all(_item: Outgoing) -> int:
    return 0x0000


@dataclass
class FakeDestination:
    """A destination that answers each object as `answer` says, takes the classes of `accepts`, and confirms as told."""

    answer: Answer = stores_all
    accepts: frozenset[str] | None = None
    """None: everything."""
    confirmation: Confirmation = Confirmation.ANSWER
    offers_query: bool = False
    holds: set[str] = field(default_factory=set)
    """The SOP Instance UIDs that a query finds."""
    report: Callable[[CommitmentReport], CommitmentReport | None] = lambda whole: whole
    """What it reports on a request for commitment that it could answer with yes, at once; None: nothing yet."""
    trouble: Exception | None = None
    visits: list[list[str]] = field(default_factory=list)
    """The files that went out in each session, by name."""
    requests: list[str] = field(default_factory=list)
    commitment_timeout_seconds: float = 3600.0
    _keep: Keep | None = None

    @contextmanager
    def open(self, items: Sequence[Outgoing], *, overdue: bool, keep: Keep, reached: Reached) -> Iterator[FakeDestination]:
        if self.trouble is not None:
            raise self.trouble
        self.visits.append([])
        self._keep = keep
        yield self

    def send(self, item: Outgoing) -> SendResult:
        if self.accepts is not None and item.sop_class_uid not in self.accepts:
            return class_refused("pacs", item)
        self.visits[-1].append(item.path.stem)
        return judged("pacs", item, self.answer(item))

    def found(self, items: Sequence[Outgoing]) -> frozenset[str]:
        return frozenset(item.sop_instance_uid for item in items if item.sop_instance_uid in self.holds)

    def request_commitment(self, transaction_uid: str, items: Sequence[Outgoing]) -> None:
        self.requests.append(transaction_uid)
        whole = CommitmentReport(transaction_uid=transaction_uid, committed=frozenset(item.sop_instance_uid for item in items), failed={})
        said = self.report(whole)
        if said is not None and self._keep is not None:
            assert self._keep(said)

    def await_report(self, transaction_uid: str) -> None:
        """Nothing more comes."""


def desk(site: Site, heard: Heard, **changes: object) -> Desk:
    return Desk(store=site.store, clock=site.clock, observer=heard, worker=worker(), **changes)  # type: ignore[arg-type]


def deliver(site: Site, heard: Heard, routes: dict[str, Route], **changes: object) -> int:
    """One round for every destination, one after the other."""
    return sum(deliver_due(name, route, desk(site, heard, **changes)) for name, route in routes.items())


def states(site: Site) -> dict[tuple[str, str], str]:
    """(destination, name of the file) -> state."""
    from sqlalchemy import select

    from daemon.database.schema import OUTBOX

    with site.store.database.reading() as connection:
        rows = connection.execute(select(OUTBOX.c.destination, OUTBOX.c.path, OUTBOX.c.state))
        return {(row.destination, Path(row.path).stem): row.state for row in rows}
