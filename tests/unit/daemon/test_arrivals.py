"""When a series is complete, on a clock that the tests move."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from daemon.arrivals import complete_quiet_series, is_quiet, next_deadline
from daemon.job_states import JobState
from tests.component.store_site import START, Site, instance, new_site

QUIET = 30.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def complete(site: Site) -> list[int]:
    return [job.id for job in complete_quiet_series(site.store, site.clock, QUIET)]


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, False), (29.999, False), (30.0, True), (3600.0, True), (-5.0, False)])
def test_a_series_is_quiet_from_the_end_of_the_quiet_period_on(seconds: float, expected: bool) -> None:
    assert is_quiet(START, START + timedelta(seconds=seconds), QUIET) is expected


def test_a_series_becomes_one_queued_job_once_it_is_quiet(site: Site) -> None:
    for number in range(3):
        site.store.record_instance(instance(number, site.clock()))
        site.clock.forward(20)
    assert complete(site) == []
    site.clock.forward(10)
    (job,) = complete_quiet_series(site.store, site.clock, QUIET)
    assert (job.state, job.series_instance_uid, job.calling_ae_title) == (JobState.QUEUED, "1.2.3", "SCANNER")
    assert [path.name for path in site.store.instance_paths(job)] == ["1.2.3.0.dcm", "1.2.3.1.dcm", "1.2.3.2.dcm"]
    site.clock.forward(3600)
    assert complete(site) == []


def test_series_are_completed_independently_of_one_another(site: Site) -> None:
    site.store.record_instance(instance(1, site.clock(), series="1.2.3"))
    site.clock.forward(20)
    site.store.record_instance(instance(1, site.clock(), series="1.2.4"))
    site.clock.forward(10)
    assert len(complete(site)) == 1
    site.clock.forward(20)
    assert len(complete(site)) == 1


def test_a_late_instance_leads_to_a_second_job_over_all_instances(site: Site) -> None:
    site.store.record_instance(instance(1, site.clock()))
    site.clock.forward(QUIET)
    (first,) = complete_quiet_series(site.store, site.clock, QUIET)
    site.store.record_instance(instance(2, site.clock()))
    site.clock.forward(QUIET)
    (second,) = complete_quiet_series(site.store, site.clock, QUIET)
    assert len(site.store.instance_paths(first)) == 1
    assert len(site.store.instance_paths(second)) == 2


def test_sending_the_same_series_again_makes_no_second_job(site: Site) -> None:
    site.store.record_instance(instance(1, site.clock()))
    site.clock.forward(QUIET)
    assert len(complete(site)) == 1
    site.store.record_instance(instance(1, site.clock()))
    site.clock.forward(QUIET)
    assert complete(site) == []


def test_a_repeated_instance_prolongs_the_wait_of_an_open_series(site: Site) -> None:
    site.store.record_instance(instance(1, site.clock()))
    site.clock.forward(20)
    site.store.record_instance(instance(1, site.clock()))
    site.clock.forward(20)
    assert complete(site) == []
    site.clock.forward(10)
    assert len(complete(site)) == 1


def test_an_instance_that_comes_between_looking_and_completing_keeps_the_series_open(site: Site) -> None:
    site.store.record_instance(instance(1, site.clock()))
    (seen,) = site.store.waiting_series()
    site.clock.forward(QUIET)
    site.store.record_instance(instance(2, site.clock()))
    assert site.store.complete_series(seen) is None
    assert len(site.store.waiting_series()) == 1


def test_the_next_deadline_is_that_of_the_series_that_has_been_quiet_longest(site: Site) -> None:
    assert next_deadline(site.store, QUIET) is None
    site.store.record_instance(instance(1, site.clock(), series="1.2.3"))
    site.clock.forward(5)
    site.store.record_instance(instance(1, site.clock(), series="1.2.4"))
    assert next_deadline(site.store, QUIET) == START + timedelta(seconds=QUIET)
