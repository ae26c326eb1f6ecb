"""When a series is complete, partial, held or discarded, on a clock that the tests move."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.arrivals import Arrivals, is_quiet, study_shortfall
from daemon.evidence import Evidence, shortfall
from daemon.job_states import JobState
from daemon.ledger import Ledger, ledger
from daemon.series_states import OPEN_SERIES, SERIES_MOVES, SeriesEvent, SeriesState
from daemon.store import Job, Priority
from tests.component.store_site import START, Site, arrivals, instance, new_site, result, worker

QUIET = 30.0
DEADLINE = 1800.0
WHOLE = Evidence(instances=1)
SHORT = Evidence(instances=280, expected_by_source=300)

# One row a state, one column an event; "." is a move that must be refused.
EXPECTED = """
             arrive  prove-whole prove-short run-partial discard   pass-over
WAITING      WAITING COMPLETE    HELD        PARTIAL     DISCARDED PASSED_OVER
HELD         WAITING COMPLETE    HELD        PARTIAL     DISCARDED PASSED_OVER
COMPLETE     WAITING .           .           .           .         .
PARTIAL      WAITING .           .           .           .         .
DISCARDED    WAITING .           .           .           .         .
PASSED_OVER  WAITING .           .           .           .         .
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def receive(site: Site, *numbers: int, series: str = "1.2.3") -> None:
    for number in numbers:
        site.store.record_instance(instance(number, site.clock(), series=series))


def state_of(site: Site, series: str = "1.2.3") -> SeriesState:
    (found,) = [one.state for one in site.store.waiting_series(SeriesState) if one.series_instance_uid == series]
    return found


def test_the_table_of_series_has_exactly_these_moves() -> None:
    header, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    written = {(SeriesState(row[0]), SeriesEvent(event)): to for row in rows for event, to in zip(header, row[1:], strict=True)}
    assert set(written) == set(itertools.product(SeriesState, SeriesEvent))
    assert {move: SeriesState(to) for move, to in written.items() if to != "."} == dict(SERIES_MOVES)
    assert {state for state, event in SERIES_MOVES if event is not SeriesEvent.ARRIVE} == OPEN_SERIES


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, False), (29.999, False), (30.0, True), (3600.0, True), (-5.0, False)])
def test_a_series_is_quiet_from_the_end_of_the_quiet_period_on(seconds: float, expected: bool) -> None:
    assert is_quiet(START, START + timedelta(seconds=seconds), QUIET) is expected


def test_a_series_becomes_one_queued_job_once_it_is_quiet(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    for number in range(3):
        receive(site, number)
        site.clock.forward(20)
    assert look.step() == ()
    site.clock.forward(10)
    (job,) = look.step()
    assert (job.state, job.series_instance_uid, job.calling_ae_title) == (JobState.QUEUED, "1.2.3", "SCANNER")
    assert [path.name for path in site.store.instance_paths(job)] == ["1.2.3.0.dcm", "1.2.3.1.dcm", "1.2.3.2.dcm"]
    site.clock.forward(3600)
    assert look.step() == ()


def test_series_are_completed_independently_of_one_another(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    receive(site, 1, series="1.2.3")
    site.clock.forward(20)
    receive(site, 1, series="1.2.4")
    site.clock.forward(10)
    assert len(look.step()) == 1
    site.clock.forward(20)
    assert len(look.step()) == 1


def test_a_pause_in_an_open_association_is_not_its_end(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    association = site.store.association_opened(worker(), "SCANNER", "192.0.2.1")
    receive(site, 1)
    site.clock.forward(600)
    assert look.step() == ()
    site.store.association_closed(association)
    assert len(look.step()) == 1


def test_an_association_that_never_ends_holds_a_series_no_longer_than_its_deadline(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    site.store.association_opened(worker(), "SCANNER", "192.0.2.1")
    receive(site, 1)
    site.clock.forward(DEADLINE)
    assert len(look.step()) == 1


def test_the_associations_of_a_listener_that_was_killed_are_forgotten(site: Site) -> None:
    site.store.association_opened(worker(7), "SCANNER", "192.0.2.1")
    assert site.store.sending() == {"SCANNER"}
    assert site.store.forget_dead_listeners("here", "boot-1", lambda pid: pid != 7) == 1
    assert site.store.sending() == frozenset()


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (WHOLE, None),
        (SHORT, "280 of 300 instances that the source counts"),
        (Evidence(instances=300, expected_by_source=300), None),
        (Evidence(instances=301, expected_by_source=300), None),
        (Evidence(instances=9, expected_by_rule=10), "9 of 10 instances that the rule expects"),
        (Evidence(instances=9, missing_slices=2), "2 slices are missing between those that came"),
        (Evidence(instances=9, identities=2), "the instances name 2 patients or studies: a correction is not through"),
        (Evidence(instances=9, source_failed=True), "the source could not be asked for its count"),
    ],
)
def test_each_piece_of_evidence_says_what_is_missing(evidence: Evidence, words: str | None) -> None:
    assert shortfall(evidence) == words


def test_a_short_series_is_held_and_the_missing_slice_completes_it(site: Site) -> None:
    told: list[str] = []
    look = arrivals(site.store, site.clock)
    look.evidence = lambda series: Evidence(instances=len(site.store.series_paths(series)), expected_by_rule=3)
    look.held = lambda _series, reason: told.append(reason)
    receive(site, 1, 2)
    site.clock.forward(QUIET)
    assert [look.step() for _ in range(3)] == [(), (), ()]
    assert (state_of(site), told) == (SeriesState.HELD, ["2 of 3 instances that the rule expects"])
    assert ledger(site.store) == Ledger(received=2, waiting=2)
    receive(site, 3)
    site.clock.forward(QUIET)
    (job,) = look.step()
    assert job.partial_reason is None
    assert state_of(site) is SeriesState.COMPLETE


@pytest.mark.parametrize(
    ("policy", "expected", "places"),
    [
        ("run", SeriesState.PARTIAL, Ledger(received=1, waiting=1)),
        ("hold", SeriesState.HELD, Ledger(received=1, waiting=1)),
        ("discard", SeriesState.DISCARDED, Ledger(received=1, skipped=1)),
    ],
)
def test_at_its_deadline_a_short_series_goes_the_configured_way(site: Site, policy: str, expected: SeriesState, places: Ledger) -> None:
    look = arrivals(site.store, site.clock, SHORT, incomplete=policy)
    receive(site, 1)
    site.clock.forward(DEADLINE - 1)
    assert look.step() == ()
    assert state_of(site) is SeriesState.HELD
    site.clock.forward(1)
    jobs = look.step()
    assert state_of(site) is expected
    assert [job.partial_reason for job in jobs] == ([] if policy == "hold" else ["280 of 300 instances that the source counts"])
    assert ledger(site.store) == places


def test_a_source_that_could_not_be_asked_is_asked_again(site: Site) -> None:
    answers = iter([Evidence(instances=1, source_failed=True), WHOLE])
    look = arrivals(site.store, site.clock)
    look.evidence = lambda _series: next(answers)
    receive(site, 1)
    site.clock.forward(QUIET)
    assert [look.step() for _ in range(5)] == [()] * 5
    site.clock.forward(30)
    assert len(look.step()) == 1


def test_a_late_slice_supersedes_the_waiting_job_and_names_the_results_that_were_sent(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    first, second, third = (late(site, look, number) for number in (1, 2, 3))
    assert len(site.store.instance_paths(third)) == 3
    assert site.store.job(second.id).state is JobState.SUPERSEDED
    assert (site.store.job(first.id).state, site.store.job(first.id).superseded_by) == (JobState.DELIVERED, third.id)
    assert [earlier.sop_instance_uid for earlier in site.store.predecessors(third)] == ["2.25.1"]
    assert ledger(site.store) == Ledger(received=3, waiting=3)


def late(site: Site, look: Arrivals, number: int) -> Job:
    """The job of a series after its `number`-th instance; the first one's result is delivered."""
    receive(site, number)
    site.clock.forward(QUIET)
    (job,) = look.step()
    if number == 1:
        claimed = site.store.claim_job(worker())
        assert claimed is not None
        site.store.finish_with_results(claimed, [result(site.folder)])
        site.store.delivered(site.store.claim_deliveries(worker(), "pacs")[0])
    return job


def test_sending_the_same_series_again_makes_no_second_job(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    receive(site, 1)
    site.clock.forward(QUIET)
    assert len(look.step()) == 1
    receive(site, 1)
    site.clock.forward(QUIET)
    assert look.step() == ()


def test_a_repeated_instance_prolongs_the_wait_of_an_open_series(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    for _ in range(2):
        receive(site, 1)
        site.clock.forward(20)
    assert look.step() == ()
    site.clock.forward(10)
    assert len(look.step()) == 1


def test_an_instance_that_comes_between_looking_and_completing_keeps_the_series_open(site: Site) -> None:
    receive(site, 1)
    (seen,) = site.store.waiting_series()
    site.clock.forward(QUIET)
    receive(site, 2)
    assert site.store.complete_series(seen) is None
    assert len(site.store.waiting_series()) == 1


def test_the_priority_that_the_evidence_names_is_the_jobs(site: Site) -> None:
    receive(site, 1)
    site.clock.forward(QUIET)
    (job,) = arrivals(site.store, site.clock, Evidence(instances=1, priority=Priority.STAT)).step()
    assert job.priority is Priority.STAT


@pytest.mark.parametrize(
    ("others", "series", "expected", "words"),
    [
        (0, 2, 2, None),
        (0, 1, 2, "the study has 1 of 2 series"),
        (1, 2, 2, "the study still receives 1 other series"),
    ],
)
def test_a_study_is_complete_with_its_last_series(site: Site, others: int, series: int, expected: int, words: str | None) -> None:
    receive(site, 1, series="1.9")
    assert study_shortfall(site.store.waiting_series()[:1] * others, series, expected) == words


def test_a_series_that_waits_for_its_study_goes_with_the_last_one(site: Site) -> None:
    look = arrivals(site.store, site.clock, Evidence(instances=1, study_series=2))
    receive(site, 1, series="1.1")
    site.clock.forward(QUIET)
    assert look.step() == ()
    assert state_of(site, "1.1") is SeriesState.HELD
    receive(site, 1, series="1.2")
    site.clock.forward(QUIET - 1)
    assert look.step() == ()
    site.clock.forward(1)
    assert len([*look.step(), *look.step()]) == 2
