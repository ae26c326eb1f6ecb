"""A result of ours that comes back is kept and accounted for, and leads to no job; what others made goes its way."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydicom.uid import UID

from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.own_results import Arrivals
from daemon.spool import Recording, Spool, SpooledInstance
from tests.component.delivery_site import SEG, finished, item
from tests.component.loopback import received
from tests.component.store_site import Site, arrivals


def arrive(site: Site, number: int, *, uid_root: str = "2.25", **attributes: object) -> tuple[Recording, SpooledInstance]:
    """An instance that is spooled and recorded as the listener does it."""
    instance = Spool(site.folder / "spool", 0, site.clock).write(received(number, **attributes))
    recorder = Arrivals(store=site.store, uid_root=uid_root, manufacturer="medsam2d")
    return recorder.record(instance), instance


MARKED: dict[str, Any] = {"Manufacturer": "medsam2d", "ManufacturerModelName": "medsam2d"}


def test_a_result_that_was_made_here_is_known_by_its_uid(site: Site) -> None:
    finished(site, item(site, 1))
    arrive(site, 1, SOPClassUID=UID(SEG))
    assert_skipped(site, "made here")


def test_a_result_is_known_by_our_registered_root(site: Site) -> None:
    arrive(site, 1, SOPClassUID=UID(SEG), uid_root="1.2.826.0.1.3680043.8.498.1")
    assert_skipped(site, "below our own root")


def test_a_result_of_an_installation_like_ours_is_known_by_what_it_says_of_itself(site: Site) -> None:
    arrive(site, 1, SOPClassUID=UID(SEG), **MARKED)
    assert_skipped(site, "medsam2d medsam2d made it")


def test_a_result_that_comes_twice_is_one_instance(site: Site) -> None:
    assert [arrive(site, 1, SOPClassUID=UID(SEG), **MARKED)[0] for _ in range(2)] == [Recording.NEW, Recording.DUPLICATE]
    assert ledger(site.store).received == 1


@pytest.mark.parametrize("attributes", [{"SOPClassUID": UID(SEG)}, {"SOPClassUID": UID(SEG), "Manufacturer": "medsam2d"}, dict(MARKED)])
def test_what_others_made_and_every_image_goes_its_way(site: Site, attributes: dict[str, Any]) -> None:
    arrive(site, 1, **attributes)
    site.clock.forward(60)
    assert len(arrivals(site.store, site.clock).step()) == 1


def test_a_row_that_a_crash_kept_back_is_judged_alike(site: Site) -> None:
    _, instance = arrive(site, 2)
    lost = Spool(site.folder / "spool", 0, site.clock).write(received(1, SOPClassUID=UID(SEG), **MARKED))
    recorder = Arrivals(store=site.store, uid_root="2.25", manufacturer="medsam2d")
    assert site.store.reconcile([dataclasses.replace(lost), instance], recorder.record) == 1
    assert [job.state for job in site.store.jobs()] == [JobState.SKIPPED]


def assert_skipped(site: Site, words: str) -> None:
    job = site.store.jobs()[-1]
    assert (job.state, job.error_code) == (JobState.SKIPPED, "own-result")
    assert words in (job.error_message or "")
    site.clock.forward(60)
    assert arrivals(site.store, site.clock).step() == ()
    accounts = ledger(site.store)
    assert accounts.balanced
    assert accounts.skipped == 1
