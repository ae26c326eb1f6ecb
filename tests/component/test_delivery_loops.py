"""One loop a destination: what hangs or fails at one delays no other, and what waits for an unknown one says so."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from daemon.child import Life
from daemon.clock import system_clock
from daemon.delivery import Desk, deliver_due
from daemon.delivery_loops import DeliveryLoops
from daemon.route import Route
from daemon.summary import summary
from dicom_io.sender import Outgoing
from tests.component.delivery_site import FakeDestination, Heard, desk, finished, item, states
from tests.component.loopback import SECONDS
from tests.component.store_site import Site, new_site, worker


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def loops_of(site: Site, routes: dict[str, Route], **changes: object) -> DeliveryLoops:
    own = Desk(store=site.store, clock=system_clock, observer=Heard(), worker=worker())
    return DeliveryLoops(routes=routes, desk=own, life=Life(supervised=False), pause_seconds=0.01, **changes)  # type: ignore[arg-type]


def wait_for(site: Site, expected: dict[tuple[str, str], str]) -> None:
    deadline = time.monotonic() + SECONDS
    while states(site) != expected:
        assert time.monotonic() < deadline, states(site)
        time.sleep(0.01)


def test_a_destination_that_hangs_delays_no_other(site: Site) -> None:
    finished(site, item(site, 1), item(site, 1, "research"))
    answers = threading.Event()

    def hang(_outgoing: Outgoing) -> int:
        assert answers.wait(SECONDS)
        return 0x0000

    loops = loops_of(site, {"pacs": FakeDestination(answer=hang), "research": FakeDestination()})
    loops.start()
    try:
        wait_for(site, {("pacs", "1"): "PENDING", ("research", "1"): "DELIVERED"})
        assert loops.alive()
        answers.set()
        wait_for(site, {("pacs", "1"): "DELIVERED", ("research", "1"): "DELIVERED"})
    finally:
        answers.set()
        loops.life.stop.set()
        loops.join(SECONDS)


def test_a_fault_of_ours_ends_no_loop(site: Site) -> None:
    finished(site, item(site, 1))
    faults = [ZeroDivisionError("oops")]

    def stumble_once(name: str, route: Route, own: Desk) -> int:
        if faults:
            raise faults.pop()
        return deliver_due(name, route, own)

    loops = loops_of(site, {"pacs": FakeDestination()}, deliver=stumble_once)
    loops.start()
    try:
        wait_for(site, {("pacs", "1"): "DELIVERED"})
    finally:
        loops.life.stop.set()
        loops.join(SECONDS)


def test_what_waits_for_a_destination_that_is_not_configured_says_so(site: Site) -> None:
    finished(site, item(site, 1, "gone"))
    loops = DeliveryLoops(routes={"pacs": FakeDestination()}, desk=desk(site, Heard()), life=Life(supervised=False), pause_seconds=1)
    loops.postpone_strangers()
    (error,) = summary(site.store).last_errors
    assert (error.destination, error.code) == ("gone", "unknown-destination")
    assert "knows only pacs" in error.message
