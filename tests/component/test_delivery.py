"""Delivery with a fake sender and a real store: one destination's trouble is its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.delivery import deliver_once
from daemon.errors import ConfigError
from daemon.job_states import JobState
from daemon.store import Delivery
from daemon.summary import summary
from dicom_io.errors import PeerUnreachable, StoreRefused
from tests.component.store_site import Site, claimed, new_site, queued, result, worker


@dataclass(frozen=True)
class Stored:
    path: Path


def stores_all(paths: Sequence[Path]) -> tuple[Stored, ...]:
    return tuple(Stored(path) for path in paths)


@dataclass
class Heard:
    """An observer that remembers."""

    good: list[tuple[str, str]] = field(default_factory=list)
    bad: list[tuple[str, str, str]] = field(default_factory=list)

    def delivered(self, delivery: Delivery) -> None:
        self.good.append((delivery.destination, delivery.path.stem))

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> None:
        assert message
        self.bad.append((delivery.destination, delivery.path.stem, code))


@dataclass
class Network:
    """Destinations by name: each stores everything, or does what `trouble` says."""

    trouble: dict[str, Callable[[Sequence[Path]], tuple[Stored, ...]]] = field(default_factory=dict)
    calls: list[tuple[str, list[str]]] = field(default_factory=list)

    def send(self, destination: str, paths: Sequence[Path]) -> tuple[Stored, ...]:
        self.calls.append((destination, [path.stem for path in paths]))
        return self.trouble.get(destination, stores_all)(paths)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def finished(site: Site, *wanted: tuple[str, str]) -> int:
    """A job with the results (name, destination) in the outbox."""
    job_id = queued(site, series=f"1.{len(site.store.jobs())}").id
    site.store.finish_with_results(claimed(site), [result(site.folder, name, destination) for name, destination in wanted])
    return job_id


def unreachable(_paths: Sequence[Path]) -> tuple[Stored, ...]:
    raise PeerUnreachable("pacs: expected a connection, got none; is the peer running?")


def refuses_the_second(paths: Sequence[Path]) -> tuple[Stored, ...]:
    error = StoreRefused("pacs: got 0xA700")
    error.results = tuple(Stored(path) for path in paths if path.stem != "2")
    raise error


def test_what_is_due_for_a_destination_goes_in_one_association(site: Site) -> None:
    first, second = finished(site, ("1", "pacs"), ("1", "research")), finished(site, ("2", "pacs"))
    network, heard = Network(), Heard()
    assert deliver_once(site.store, network.send, heard, worker()) == 3
    assert network.calls == [("pacs", ["1", "2"]), ("research", ["1"])]
    assert {site.store.job(job).state for job in (first, second)} == {JobState.DELIVERED}
    assert deliver_once(site.store, network.send, heard, worker()) == 0
    assert len(heard.good) == 3


def test_a_dead_destination_never_stops_the_others(site: Site) -> None:
    job = finished(site, ("1", "archive"), ("1", "pacs"), ("1", "research"))
    network, heard = Network({"pacs": unreachable}), Heard()
    assert deliver_once(site.store, network.send, heard) == 2
    assert heard.bad == [("pacs", "1", "peer-unreachable")]
    assert site.store.job(job).state is JobState.DELIVERING
    site.clock.forward(1)
    network.trouble.clear()
    assert deliver_once(site.store, network.send, heard) == 1
    assert site.store.job(job).state is JobState.DELIVERED


def test_what_was_stored_beside_a_refusal_is_not_sent_again(site: Site) -> None:
    finished(site, ("1", "pacs"), ("2", "pacs"), ("3", "pacs"))
    network, heard = Network({"pacs": refuses_the_second}), Heard()
    assert deliver_once(site.store, network.send, heard, worker()) == 2
    assert heard.bad == [("pacs", "2", "store-refused")]
    site.clock.forward(1)
    deliver_once(site.store, network.send, heard, worker())
    assert network.calls[-1] == ("pacs", ["2"])


def test_a_file_that_the_sender_passed_over_in_silence_counts_as_not_sent(site: Site) -> None:
    finished(site, ("1", "pacs"))
    heard = Heard()
    assert deliver_once(site.store, Network({"pacs": lambda _paths: ()}).send, heard, worker()) == 0
    assert heard.bad == [("pacs", "1", "not-confirmed")]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_damaged_result_is_not_sent_and_holds_nothing_up(site: Site, harm: Callable[[Path], object]) -> None:
    finished(site, ("1", "pacs"), ("2", "pacs"))
    harm(site.folder / "1.dcm")
    network, heard = Network(), Heard()
    assert deliver_once(site.store, network.send, heard, worker()) == 1
    assert network.calls == [("pacs", ["2"])]
    assert heard.bad == [("pacs", "1", "result-damaged")]
    assert "restore the file" in summary(site.store).last_errors[0].message


def unknown(_paths: Sequence[Path]) -> tuple[Stored, ...]:
    raise ConfigError("destinations: no 'pacs'")


def bug(_paths: Sequence[Path]) -> tuple[Stored, ...]:
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize(("trouble", "code"), [(unknown, "config-error"), (bug, "bug-ZeroDivisionError")])
def test_even_an_unforeseen_error_only_postpones(site: Site, trouble: Callable[[Sequence[Path]], tuple[Stored, ...]], code: str) -> None:
    job = finished(site, ("1", "pacs"), ("1", "research"))
    heard = Heard()
    assert deliver_once(site.store, Network({"pacs": trouble}).send, heard, worker()) == 1
    assert heard.bad == [("pacs", "1", code)]
    assert site.store.job(job).state is JobState.DELIVERING


def test_a_job_cancelled_while_its_result_was_on_the_wire_stays_cancelled(site: Site) -> None:
    job = finished(site, ("1", "pacs"), ("2", "pacs"))

    def cancelled_meanwhile(paths: Sequence[Path]) -> tuple[Stored, ...]:
        site.store.cancel(job)
        return (Stored(paths[0]),)

    heard = Heard()
    assert deliver_once(site.store, Network({"pacs": cancelled_meanwhile}).send, heard, worker()) == 0
    assert (heard.good, heard.bad) == ([], [])
    assert site.store.job(job).state is JobState.CANCELLED
