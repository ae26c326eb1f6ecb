"""The outbox on a real database: nothing is delivered until it is confirmed, and nothing is sent by two."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from daemon.job_states import JobState
from daemon.store import Job, LeaseLost, OutboxState
from daemon.summary import summary
from tests.component.store_site import BOOT, Site, claimed, instance, queued, result, worker


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


def superseding(site: Site) -> Job:
    """A late instance has come: a job over all of them, which supersedes the first."""
    site.store.record_instance(instance(9, site.clock()))
    (waiting,) = site.store.waiting_series()
    later = site.store.complete_series(waiting)
    assert later is not None
    return later


def test_a_superseded_job_sends_nothing_that_is_not_settled_and_what_was_stored_is_told_as_its_predecessor(site: Site) -> None:
    queued(site)
    job = claimed(site)
    waits, spare, refused, stored, delivered = (result(site.folder, name) for name in "12345")
    forms = [replace(waits, form_of="1"), replace(spare, form_of="1", preference=1)]
    site.store.finish_with_results(job, [*forms, refused, stored, delivered])
    claims = {delivery.sop_instance_uid: delivery for delivery in site.store.claim_deliveries(worker(), "pacs")}
    assert site.store.refused(claims["2.25.3"], "refused", "never") is OutboxState.QUARANTINED
    site.store.stored(claims["2.25.4"])
    site.store.delivered(claims["2.25.5"])
    later = superseding(site)
    states = {entry.sop_instance_uid: entry.state for entry in site.store.deliveries_of(job)}
    cancelled = {f"2.25.{number}": OutboxState.CANCELLED for number in (1, 2, 3, 4)}
    assert states == {**cancelled, "2.25.5": OutboxState.DELIVERED}
    assert site.store.release_deliveries() == 0
    site.clock.forward(24 * 3600)
    assert site.store.claim_deliveries(worker(), "pacs") == ()
    assert [earlier.sop_instance_uid for earlier in site.store.predecessors(later)] == ["2.25.4", "2.25.5"]


def test_the_report_of_a_skipped_series_that_is_superseded_never_leaves(site: Site) -> None:
    queued(site)
    job = claimed(site)
    site.store.skip(job, ["the mask is empty"], [result(site.folder, "1")])
    later = superseding(site)
    assert site.store.claim_deliveries(worker(), "pacs") == ()
    assert site.store.job(job.id).state is JobState.SKIPPED
    assert site.store.predecessors(later) == ()


def test_the_inputs_of_a_skipped_series_stay_until_its_report_is_delivered(site: Site) -> None:
    queued(site)
    site.store.skip(claimed(site), ["the mask is empty"], [result(site.folder, "1")])
    site.clock.forward(60)
    assert site.store.removable_instances(site.clock(), 10) == ()
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)
    assert len(site.store.removable_instances(site.clock(), 10)) == 2


def test_a_result_is_settled_for_retention_when_no_form_of_it_may_still_be_sent(site: Site) -> None:
    queued(site)
    first, spare = (result(site.folder, name) for name in "12")
    site.store.finish_with_results(claimed(site), [replace(first, form_of="1"), replace(spare, form_of="1", preference=1)])
    both = [first.path, spare.path]
    assert site.store.unsettled_results(both) == frozenset(both)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)
    assert site.store.unsettled_results(both) == frozenset()
