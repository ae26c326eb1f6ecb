"""Of a study's series the best one is chosen once all are there, on a clock that the tests move; a better one may come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.arrivals import Arrivals, what_follows
from daemon.contest import Contestant, contestant_of, standing_of
from daemon.evidence import Evidence
from daemon.job_states import JobState
from daemon.ledger import Ledger, ledger
from daemon.series_states import SeriesEvent, SeriesState
from daemon.store import Job, WaitingSeries
from rules.match import match, plan_of
from rules.rule import RuleSet
from rules.selection import Measures, Selection
from tests.component.store_site import Site, arrivals, instance, new_site, result, worker
from tests.unit.rules.examples import rule

QUIET, DEADLINE = 30.0, 1800.0
SELECTION = Selection.model_validate({"by": ["thinnest", "most_slices"]})
SPACING = {"1.1": 5.0, "1.2": 1.0, "1.3": 3.0, "1.4": 0.5}
"""Millimetres between slices, by series."""


def evidence_of(series: WaitingSeries, short: frozenset[str] = frozenset(), **more: object) -> Evidence:
    uid = series.series_instance_uid
    contestant = Contestant(rule="thin", selection=SELECTION, measures=Measures(slice_spacing_mm=SPACING[uid]))
    settings: dict[str, object] = {"study_series": 1, "contestant": contestant, "missing_slices": uid in short, **more}
    return Evidence(instances=1, **settings)  # type: ignore[arg-type]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def look_at(site: Site, *, short: frozenset[str] = frozenset(), **settings: object) -> Arrivals:
    look = arrivals(site.store, site.clock, **settings)  # type: ignore[arg-type]
    look.evidence = lambda series: evidence_of(series, short)
    return look


def receive(site: Site, *uids: str, number: int = 1) -> None:
    for uid in uids:
        site.store.record_instance(instance(number, site.clock(), series=uid))


def steps(look: Arrivals, count: int = 3) -> list[Job]:
    return [job for _ in range(count) for job in look.step()]


def outcomes(site: Site) -> dict[str, JobState]:
    return {job.series_instance_uid: job.state for job in site.store.jobs()}


def test_the_best_series_is_queued_once_the_study_is_complete_and_the_others_say_why_not(site: Site) -> None:
    told: list[tuple[str, str, list[str]]] = []
    look = look_at(site)
    look.selected = lambda job, rule_name, ranking: told.append((job.series_instance_uid, rule_name, [one.key for one in ranking]))
    receive(site, "1.1", "1.2")
    site.clock.forward(20)
    receive(site, "1.3")
    site.clock.forward(20)
    assert steps(look) == []
    site.clock.forward(10)
    steps(look)
    assert outcomes(site) == {"1.1": JobState.SKIPPED, "1.2": JobState.QUEUED, "1.3": JobState.SKIPPED}
    (passed,) = [job for job in site.store.jobs() if job.series_instance_uid == "1.1"]
    assert passed.error_code == "not-selected"
    assert passed.error_message == "rule 'thin' takes the best series of a study, and 1.2 is better (thinnest: 5 mm against 1 mm)"
    (chosen,) = site.store.chosen_of_study("1.2")
    standing = standing_of(chosen)
    assert standing is not None
    assert standing.words == "place 1 of 3: thinnest: 1 mm, most_slices: not stated"
    assert ("1.2", "thin", ["1.2", "1.3", "1.1"]) in told
    assert {state.state for state in site.store.waiting_series(SeriesState)} == {SeriesState.COMPLETE, SeriesState.PASSED_OVER}
    assert ledger(site.store) == Ledger(received=3, waiting=1, skipped=2)


def test_a_better_series_that_comes_later_takes_the_place_of_the_delivered_result_and_names_it(site: Site) -> None:
    look = look_at(site)
    receive(site, "1.1", "1.2")
    site.clock.forward(QUIET)
    steps(look)
    claimed = site.store.claim_job(worker())
    assert claimed is not None
    site.store.finish_with_results(claimed, [result(site.folder)])
    site.store.delivered(site.store.claim_deliveries(worker(), "pacs")[0])
    receive(site, "1.4")
    site.clock.forward(QUIET)
    (better,) = steps(look)
    assert (better.series_instance_uid, better.state) == ("1.4", JobState.QUEUED)
    assert [earlier.sop_instance_uid for earlier in site.store.predecessors(better)] == ["2.25.1"]
    assert site.store.job(claimed.id).superseded_by == better.id
    assert ledger(site.store) == Ledger(received=3, in_results=1, skipped=1, waiting=1)


def test_what_the_earlier_choice_had_not_delivered_never_leaves(site: Site) -> None:
    look = look_at(site)
    receive(site, "1.2")
    site.clock.forward(QUIET)
    (first,) = steps(look)
    receive(site, "1.4")
    site.clock.forward(QUIET)
    (better,) = steps(look)
    assert site.store.job(first.id).state is JobState.SUPERSEDED
    assert [job.id for job in site.store.chosen_of_study("1.2")] == [better.id]
    assert ledger(site.store) == Ledger(received=2, skipped=1, waiting=1)


def test_a_worse_series_that_comes_later_changes_nothing(site: Site) -> None:
    look = look_at(site)
    receive(site, "1.2")
    site.clock.forward(QUIET)
    (chosen,) = steps(look)
    receive(site, "1.1")
    site.clock.forward(QUIET)
    (passed,) = steps(look)
    assert (passed.series_instance_uid, passed.state) == ("1.1", JobState.SKIPPED)
    assert site.store.job(chosen.id).state is JobState.QUEUED


def test_a_crash_between_the_choice_and_the_rest_is_made_up_for(site: Site) -> None:
    receive(site, "1.1", "1.2")
    site.clock.forward(QUIET)
    (first,) = look_at(site).step()  # the worse series is looked at first, and waits for the better one
    assert first.series_instance_uid == "1.2"
    (passed,) = look_at(site).step()  # a process that knows nothing of the first look
    assert (passed.series_instance_uid, passed.error_code) == ("1.1", "not-selected")


@pytest.mark.parametrize(("policy", "chosen"), [("run", JobState.QUEUED), ("hold", None), ("discard", JobState.SKIPPED)])
def test_at_the_deadline_an_incomplete_study_goes_the_way_of_the_policy(site: Site, policy: str, chosen: JobState | None) -> None:
    look = look_at(site, short=frozenset({"1.3"}), incomplete=policy)
    look.evidence = lambda series: evidence_of(series, frozenset({"1.3"}), wait_seconds=100.0)
    receive(site, "1.2", "1.3")
    site.clock.forward(99)
    assert steps(look) == []
    site.clock.forward(1)
    steps(look)
    assert outcomes(site).get("1.2") is chosen
    if policy == "run":
        (job,) = [job for job in site.store.jobs() if job.series_instance_uid == "1.2"]
        assert job.partial_reason == "the study still receives 1 other series"


def test_a_rules_own_quiet_period_and_policy_go_before_the_configurations(site: Site) -> None:
    look = arrivals(site.store, site.clock)
    look.evidence = lambda _series: Evidence(instances=1, missing_slices=1, quiet_seconds=5.0, wait_seconds=10.0, on_partial="discard")
    look.shortest_quiet = lambda: 5.0
    receive(site, "1.1")
    site.clock.forward(5)
    assert look.step() == ()
    assert [series.state for series in site.store.waiting_series(SeriesState)] == [SeriesState.HELD]
    site.clock.forward(5)
    (job,) = look.step()
    assert (job.state, job.error_code) == (JobState.SKIPPED, "incomplete")


def test_what_follows_is_told_by_what_is_missing_the_deadline_and_the_policy() -> None:
    table = {
        (reason, overdue, policy): what_follows(reason, overdue=overdue, policy=policy)
        for reason in (None, "2 slices")
        for overdue in (False, True)
        for policy in ("run", "hold", "discard")
    }
    assert {event for (reason, _, _), event in table.items() if reason is None} == {SeriesEvent.PROVE_WHOLE}
    assert {event for (reason, overdue, _), event in table.items() if reason and not overdue} == {SeriesEvent.PROVE_SHORT}
    assert [table["2 slices", True, policy] for policy in ("run", "hold", "discard")] == [
        SeriesEvent.RUN_PARTIAL,
        SeriesEvent.PROVE_SHORT,
        SeriesEvent.DISCARD,
    ]


def test_a_series_whose_volumes_have_several_rules_goes_by_itself() -> None:
    best = rule(name="best", select={"by": ["thinnest"]})
    every = rule(name="every", match={"Modality": "MR"})
    attributes = {"Modality": "CT", "slice_spacing_mm": "2"}
    plan = match(attributes, RuleSet(rules=(best, every)))
    assert plan == plan_of(best, attributes)
    assert contestant_of([(plan_of(best, attributes), attributes)]) == Contestant(
        rule="best", selection=Selection.model_validate({"by": ["thinnest"]}), measures=Measures(slice_spacing_mm=2.0)
    )
    assert contestant_of([(plan_of(best, attributes), attributes), (plan_of(every, attributes), attributes)]) is None
    assert contestant_of([(plan_of(every, attributes), attributes)]) is None
    assert contestant_of([]) is None
