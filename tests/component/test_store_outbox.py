"""The outbox on a real database: nothing is delivered until it is confirmed, and nothing is sent by two."""

from __future__ import annotations

from datetime import timedelta

import pytest

from daemon.job_states import JobState
from daemon.store import Job, LeaseLost
from daemon.summary import summary
from tests.component.store_site import BOOT, Site, claimed, queued, result, worker


def delivering(site: Site, *destinations: str) -> Job:
    """A job with one result for each destination."""
    queued(site)
    job = claimed(site)
    site.store.finish_with_results(job, [result(site.folder, "1", name) for name in destinations])
    return job


def test_a_job_is_delivered_only_with_its_last_confirmation(site: Site) -> None:
    job = delivering(site, "pacs", "research")
    assert site.store.due_destinations() == ("pacs", "research")
    for name, last in (("pacs", False), ("research", True)):
        (delivery,) = site.store.claim_deliveries(worker(), name)
        assert site.store.delivered(delivery) is last
        assert (site.store.job(job.id).state is JobState.DELIVERED) is last
    assert site.store.next_delivery_at() is None


def test_a_result_is_claimed_by_one_process_at_a_time(site: Site) -> None:
    delivering(site, "pacs")
    assert len(site.store.claim_deliveries(worker(1), "pacs")) == 1
    assert site.store.claim_deliveries(worker(2), "pacs") == ()
    assert site.store.due_destinations() == ()


def test_the_claim_of_a_dead_delivery_process_is_freed_at_once(site: Site) -> None:
    delivering(site, "pacs")
    (stale,) = site.store.claim_deliveries(worker(1), "pacs")
    site.store.recover("here", BOOT, lambda pid: pid != 1)
    (fresh,) = site.store.claim_deliveries(worker(2), "pacs")
    with pytest.raises(LeaseLost):
        site.store.delivered(stale)
    assert site.store.delivered(fresh)


def test_the_claim_of_a_silent_host_runs_out(site: Site) -> None:
    delivering(site, "pacs")
    site.store.claim_deliveries(worker(host="gone"), "pacs")
    site.clock.forward(601)
    assert len(site.store.claim_deliveries(worker(), "pacs")) == 1


def test_an_unreachable_destination_is_tried_for_ever_with_a_bounded_wait(site: Site) -> None:
    job = delivering(site, "pacs")
    for attempt in range(50):
        (delivery,) = site.store.claim_deliveries(worker(), "pacs")
        assert delivery.attempt == attempt
        due = site.store.postpone(delivery, "peer-unreachable", "nobody there")
        assert timedelta(0) < due - site.clock() <= timedelta(seconds=300)
        assert site.store.claim_deliveries(worker(), "pacs") == ()
        assert site.store.next_delivery_at() == due
        site.clock.now = due
    assert site.store.job(job.id).state is JobState.DELIVERING
    (error,) = summary(site.store).last_errors
    assert (error.destination, error.code) == ("pacs", "peer-unreachable")


def test_a_cancelled_job_sends_nothing_more_and_can_be_made_anew(site: Site) -> None:
    job = delivering(site, "pacs", "research")
    (sent,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(sent)
    site.store.cancel(job.id)
    assert site.store.due_destinations() == ()
    site.store.release(job.id)
    again = claimed(site)
    site.store.finish_with_results(again, [result(site.folder, "1", name) for name in ("pacs", "research")])
    assert site.store.due_destinations() == ("research",)
    assert summary(site.store).outbox == {"research": 1}


def test_a_confirmation_that_comes_after_the_cancelling_changes_nothing(site: Site) -> None:
    job = delivering(site, "pacs")
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.cancel(job.id)
    with pytest.raises(LeaseLost):
        site.store.delivered(delivery)
    with pytest.raises(LeaseLost):
        site.store.postpone(delivery, "code", "message")
    assert site.store.job(job.id).state is JobState.CANCELLED


def test_a_result_named_twice_for_a_destination_is_sent_once(site: Site) -> None:
    delivering(site, "pacs", "pacs")
    assert summary(site.store).outbox == {"pacs": 1}


def test_a_result_that_nobody_is_to_receive_ends_the_job(site: Site) -> None:
    assert site.store.job(delivering(site).id).state is JobState.DELIVERED
