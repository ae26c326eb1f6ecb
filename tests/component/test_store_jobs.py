"""Jobs on a real database: claims, leases, failures, deaths and what people may ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from daemon.database.schema import JOB
from daemon.job_states import IllegalMove, JobState
from daemon.store import Backoff, Job, LeaseLost, OutboxItem, Priority, RuleOutcome, Store, UnknownJob
from daemon.summary import summary
from tests.component.store_site import BOOT, Site, claimed, instance, queued, result, worker


def nobody(_pid: int) -> bool:
    return False


def everybody(_pid: int) -> bool:
    return True


def state(site: Site, job: Job) -> JobState:
    return site.store.job(job.id).state


RESULT = OutboxItem(destination="pacs", path=Path("/results/1.dcm"), sop_instance_uid="2.25.1", sha256="ab" * 32)
ENDINGS: dict[str, tuple[Callable[[Store, Job], object], JobState]] = {
    "skipped": (lambda store, job: store.skip(job, ["no rule", "matched"]), JobState.SKIPPED),
    "refused": (lambda store, job: store.refuse(job, "gantry-tilt", "12 degrees"), JobState.REFUSED),
    "failed": (lambda store, job: store.fail(job, "bug", "traceback", 3), JobState.QUEUED),
    "failed for the last time": (lambda store, job: store.fail(job, "bug", "traceback", 1), JobState.QUARANTINED),
    "postponed": (lambda store, job: store.retry_later(job, "store-full", "no room"), JobState.QUEUED),
    "handed back": (lambda store, job: store.hand_back(job), JobState.QUEUED),
    "finished": (lambda store, job: store.finish_with_results(job, [RESULT]), JobState.DELIVERING),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_leads_to_its_state_and_ends_the_claim(site: Site, ending: str) -> None:
    end, expected = ENDINGS[ending]
    queued(site)
    job = claimed(site)
    end(site.store, job)
    assert state(site, job) is expected
    assert site.store.job(job.id).token is None
    with pytest.raises(LeaseLost, match="this claim"):
        end(site.store, job)


@pytest.mark.parametrize("ending", [*ENDINGS, "heartbeat"])
def test_a_zombie_whose_job_was_taken_over_can_write_nothing(site: Site, ending: str) -> None:
    queued(site)
    zombie = claimed(site, worker(1))
    site.clock.forward(31)
    site.store.recover("here", BOOT, everybody)
    successor = claimed(site, worker(2))
    write = ENDINGS[ending][0] if ending in ENDINGS else Store.heartbeat
    with pytest.raises(LeaseLost):
        write(site.store, zombie)
    site.store.heartbeat(successor)
    assert site.store.job(successor.id).token == successor.token
    assert summary(site.store).outbox == {}


def test_a_claim_goes_by_priority_then_age(site: Site) -> None:
    ids = {}
    for number, priority in enumerate([Priority.ROUTINE, Priority.REPROCESS, Priority.ROUTINE, Priority.STAT]):
        site.store.record_instance(instance(1, site.clock(), series=f"1.{number}"))
        site.clock.forward(1)
        job = site.store.complete_series(site.store.waiting_series()[0], priority)
        assert job is not None
        ids[number] = job.id
    assert [claimed(site).id for _ in range(4)] == [ids[3], ids[0], ids[2], ids[1]]
    assert site.store.claim_job(worker()) is None


def test_a_stat_job_is_claimed_before_a_thousand_that_have_waited_for_days(site: Site) -> None:
    template = queued(site)
    with site.store.database.writing() as connection:
        row = dict(connection.execute(select(JOB).where(JOB.c.id == template.id)).one()._mapping)
        del row["id"]
        connection.execute(insert(JOB), [{**row, "content_sha256": f"{number}"} for number in range(1000)])
    site.clock.forward(3 * 86_400)
    stat = with_priority(site, Priority.STAT)
    assert claimed(site).id == stat.id


@pytest.mark.parametrize(
    ("waiting", "later", "hours", "goes_first"),
    [
        (Priority.ROUTINE, Priority.URGENT, 7, Priority.URGENT),
        (Priority.ROUTINE, Priority.URGENT, 9, Priority.ROUTINE),
        (Priority.REPROCESS, Priority.ROUTINE, 63, Priority.ROUTINE),
        (Priority.REPROCESS, Priority.ROUTINE, 65, Priority.REPROCESS),
    ],
)
def test_a_job_that_has_waited_long_enough_goes_before_a_more_urgent_one(
    site: Site, waiting: Priority, later: Priority, hours: int, goes_first: Priority
) -> None:
    with_priority(site, waiting, series="1.1")
    site.clock.forward(hours * 3600)
    with_priority(site, later, series="1.2")
    assert claimed(site).priority is goes_first


def with_priority(site: Site, priority: Priority, series: str = "1.9") -> Job:
    site.store.record_instance(instance(1, site.clock(), series=series))
    job = site.store.complete_series(site.store.waiting_series()[0], priority)
    assert job is not None
    return job


def test_a_heartbeat_keeps_the_lease_and_silence_loses_it(site: Site) -> None:
    queued(site)
    job = claimed(site)
    for _ in range(5):
        site.clock.forward(20)
        site.store.heartbeat(job)
        assert site.store.recover("elsewhere", "boot-9", nobody) == ()
    site.clock.forward(31)
    (freed,) = site.store.recover("elsewhere", "boot-9", nobody)
    assert (freed.id, freed.state, freed.failures, freed.error_code) == (job.id, JobState.QUEUED, 1, "worker-died")


@pytest.mark.parametrize(
    ("host", "boot_id", "is_alive", "freed"),
    [
        ("here", BOOT, nobody, True),
        ("here", BOOT, everybody, False),
        ("here", "boot-2", everybody, True),
        ("elsewhere", BOOT, nobody, False),
    ],
)
def test_a_dead_process_of_this_host_is_found_at_once(
    site: Site, host: str, boot_id: str, is_alive: Callable[[int], bool], freed: bool
) -> None:
    queued(site)
    job = claimed(site, worker(host="here"))
    assert len(site.store.recover(host, boot_id, is_alive)) == int(freed)
    assert state(site, job) is (JobState.QUEUED if freed else JobState.RUNNING)


def test_a_job_that_kills_its_worker_is_quarantined_after_three_deaths(site: Site) -> None:
    queued(site)
    for expected in (JobState.QUEUED, JobState.QUEUED, JobState.QUARANTINED):
        job = claimed(site)
        (after_death,) = site.store.recover("here", BOOT, nobody)
        assert after_death.state is expected
    assert job.attempt == 3
    assert "pid 100 on here" in str(site.store.job(job.id).error_message)


def test_counted_failures_back_off_and_end_in_quarantine_with_their_reason(site: Site) -> None:
    queued(site)
    for expected in (JobState.QUEUED, JobState.QUEUED, JobState.QUARANTINED):
        job = claimed(site)
        assert site.store.fail(job, "bug-ValueError", "it broke", 3) is expected
        assert site.store.claim_job(worker()) is None
        site.clock.forward(300)
    assert (site.store.job(job.id).error_code, site.store.job(job.id).error_message) == ("bug-ValueError", "it broke")


def test_transient_failures_are_never_counted_and_wait_longer_each_time(site: Site) -> None:
    queued(site)
    waits = []
    for _ in range(12):
        job = claimed(site)
        due = site.store.retry_later(job, "peer-unreachable", "nobody there")
        assert site.store.next_job_at() == due
        waits.append((due - site.clock()).total_seconds())
        site.clock.now = due
    assert all(2.0**n / 2 <= wait <= 2.0**n for n, wait in enumerate(waits[:8]))
    assert all(150 <= wait <= 300 for wait in waits[9:])
    assert (state(site, job), site.store.job(job.id).failures) == (JobState.QUEUED, 0)


def test_the_backoff_is_the_same_for_the_same_job_and_another_for_another() -> None:
    backoff = Backoff()
    assert backoff.delay(5, "job 1") == backoff.delay(5, "job 1")
    assert backoff.delay(5, "job 1") != backoff.delay(5, "job 2")
    assert backoff.delay(10_000, "job 1") <= timedelta(seconds=300)


def test_a_worker_that_stops_in_good_order_costs_the_job_nothing(site: Site) -> None:
    queued(site)
    for _ in range(5):
        site.store.hand_back(claimed(site))
    assert claimed(site).failures == 0


def test_the_reasons_for_skipping_are_kept_but_are_no_error(site: Site) -> None:
    queued(site)
    job = claimed(site)
    site.store.skip(job, ["rule ct: Modality is MR", "rule mr: BodyPart is KNEE"])
    assert site.store.job(job.id).error_message == "rule ct: Modality is MR; rule mr: BodyPart is KNEE"
    assert summary(site.store).last_errors == ()


def test_a_released_job_has_all_its_attempts_again(site: Site) -> None:
    queued(site)
    job = claimed(site)
    site.store.fail(job, "bug", "it broke", 1)
    released = site.store.release(job.id)
    assert (released.state, released.failures, released.error_code) == (JobState.QUEUED, 0, None)
    assert claimed(site).id == job.id


def test_a_cancelled_job_is_taken_from_its_worker(site: Site) -> None:
    queued(site)
    job = claimed(site)
    assert site.store.cancel(job.id).state is JobState.CANCELLED
    with pytest.raises(LeaseLost):
        site.store.heartbeat(job)


def test_what_cannot_be_asked_is_refused_in_words(site: Site) -> None:
    job = queued(site)
    with pytest.raises(IllegalMove, match="QUEUED cannot release; what can happen to it: claim, cancel"):
        site.store.release(job.id)
    with pytest.raises(UnknownJob, match="got 99"):
        site.store.cancel(99)
    assert state(site, job) is JobState.QUEUED


def test_the_summary_counts_what_is_where(site: Site) -> None:
    first = queued(site, series="1.1")
    site.clock.forward(5)
    queued(site, series="1.2")
    site.store.refuse(claimed(site), "gantry-tilt", "12 degrees")
    site.store.record_instance(instance(1, site.clock(), series="1.3"))
    seen = summary(site.store)
    assert dict(seen.jobs) == {"QUEUED": 1, "REFUSED": 1}
    assert seen.series_waiting == 1
    assert seen.oldest_waiting == site.clock()
    assert [(error.job_id, error.code, error.message) for error in seen.last_errors] == [(first.id, "gantry-tilt", "12 degrees")]
    assert [job.id for job in site.store.jobs(JobState.REFUSED)] == [first.id]
    assert len(site.store.jobs()) == 2


def test_a_job_keeps_what_it_came_to_for_each_rule_and_a_later_attempt_says_it_anew(site: Site) -> None:
    queued(site)
    site.clock.forward(10)
    job = claimed(site)
    site.store.skip(job, ["withheld"], rules=[RuleOutcome(rule="liver", volumes=1, withheld=2)])
    before, soon = site.clock.now, site.clock.now + timedelta(seconds=1)
    assert site.store.outcomes_by_rule(before) == {"liver": RuleOutcome(rule="liver", volumes=1, withheld=2)}
    assert site.store.outcomes_by_rule(soon) == {}
    site.store.release(job.id)
    later = [RuleOutcome(rule=name, volumes=1, withheld=0) for name in ("liver", "spleen")]
    site.store.finish_with_results(claimed(site), [result(site.folder)], later)
    assert site.store.outcomes_by_rule(before) == {one.rule: one for one in later}
    assert site.store.seconds_by_rule(before) == {}, "nothing is delivered yet"
    site.clock.forward(5)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)
    assert site.store.seconds_by_rule(before) == {"liver": (15.0,), "spleen": (15.0,)}
