"""The ledger after random walks through everything that can happen, and when the books are wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from daemon.database.schema import JOB_INSTANCE
from daemon.evidence import Evidence
from daemon.job_states import JobState
from daemon.ledger import Ledger, ledger
from daemon.store import ConflictVerdict
from tests.component.store_site import BOOT, Site, arrivals, claimed, instance, new_site, queued, result, worker


def receive(site: Site, random: Random) -> None:
    content = random.choice(["", "", "", "other"])
    site.store.record_instance(instance(random.randrange(4), site.clock(), series=f"1.{random.randrange(3)}", content=content))


def wait(site: Site, random: Random) -> None:
    site.clock.forward(random.choice([5, 31, 400]))
    evidence = random.choice([None, None, Evidence(instances=1, missing_slices=1)])
    arrivals(site.store, site.clock, evidence, incomplete=random.choice(["run", "hold", "discard"]), incomplete_seconds=300).step()


def examine(site: Site, random: Random) -> None:
    for conflict in site.store.conflicts():
        site.store.conclude(conflict.id, random.choice(list(ConflictVerdict)))


def end_an_attempt(site: Site, random: Random) -> None:
    job = site.store.claim_job(worker())
    if job is None:
        return
    ends: list[Callable[[], object]] = [
        lambda: site.store.finish_with_results(job, [result(site.folder, str(job.id), name) for name in ("pacs", "research")]),
        lambda: site.store.skip(job, ["no rule"]),
        lambda: site.store.refuse(job, "gantry-tilt", "tilted"),
        lambda: site.store.fail(job, "bug", "broken", 2),
        lambda: site.store.retry_later(job, "disk", "full"),
        lambda: site.store.recover("here", BOOT, lambda _pid: False),
        lambda: None,
    ]
    random.choice(ends)()


def deliver(site: Site, random: Random) -> None:
    for delivery in site.store.claim_deliveries(worker(), random.choice(["pacs", "research"]), limit=2):
        if random.random() < 0.7:
            site.store.delivered(delivery)
        else:
            site.store.postpone(delivery, "peer-unreachable", "nobody there")


def ask(site: Site, random: Random) -> None:
    for state, wish in ((JobState.QUARANTINED, site.store.release), (JobState.DELIVERING, site.store.cancel)):
        for job in site.store.jobs(state)[:1]:
            if random.random() < 0.3:
                wish(job.id)


STEPS = (receive, receive, receive, wait, wait, examine, end_an_attempt, deliver, ask)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_received_instance_is_accounted_for_after_any_history(seed: int) -> None:
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        site = new_site(Path(folder))
        for _ in range(40):
            random.choice(STEPS)(site, random)
            found = ledger(site.store)
            assert found.balanced, found
        site.store.close()


def test_an_instance_moves_from_waiting_to_its_results(site: Site) -> None:
    queued(site, instances=3)
    assert ledger(site.store) == Ledger(received=3, waiting=3)
    site.store.finish_with_results(claimed(site), [result(site.folder)])
    assert ledger(site.store) == Ledger(received=3, waiting=3)
    site.store.delivered(site.store.claim_deliveries(worker(), "pacs")[0])
    assert ledger(site.store) == Ledger(received=3, in_results=3)


def test_a_late_instance_counts_once_though_two_jobs_hold_its_series(site: Site) -> None:
    queued(site, instances=2)
    site.store.skip(claimed(site), ["no rule"])
    site.store.record_instance(instance(7, site.clock()))
    assert ledger(site.store) == Ledger(received=3, skipped=2, waiting=1)
    site.store.complete_series(site.store.waiting_series()[0])
    assert ledger(site.store) == Ledger(received=3, waiting=3)


def test_an_instance_that_its_job_forgot_breaks_the_balance(site: Site) -> None:
    queued(site, instances=3)
    with site.store.database.writing() as connection:
        connection.execute(delete(JOB_INSTANCE).where(JOB_INSTANCE.c.instance_id == 2))
    found = ledger(site.store)
    assert not found.balanced
    assert found.unexplained == 1
