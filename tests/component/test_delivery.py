"""Delivery with destinations that are told what to do and a real store: nothing is lost, nothing counts before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.job_states import JobState
from daemon.route import Confirmation, Route
from daemon.summary import summary
from dicom_io.commitment import CommitmentReport
from dicom_io.errors import CommitmentRefused, ContextsRefused, PeerUnreachable
from dicom_io.sender import Outgoing
from tests.component.delivery_site import LABEL_MAP, SEG, SR, FakeDestination, Heard, deliver, finished, item, states
from tests.component.store_site import Site, new_site

COMMITTING = Confirmation.COMMITMENT


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def test_what_is_due_for_a_destination_goes_in_one_session_and_the_job_ends_with_its_last_one(site: Site) -> None:
    first, second = finished(site, item(site, 1), item(site, 1, "research")), finished(site, item(site, 2))
    pacs, research, heard = FakeDestination(), FakeDestination(), Heard()
    assert deliver(site, heard, {"pacs": pacs, "research": research}) == 3
    assert (pacs.visits, research.visits) == ([["1", "2"]], [["1"]])
    assert {site.store.job(job).state for job in (first, second)} == {JobState.DELIVERED}
    assert deliver(site, heard, {"pacs": pacs, "research": research}) == 0
    assert [event[0] for event in heard.events[:3]] == ["sending", "stored", "delivered"]


def test_an_object_that_two_jobs_made_goes_out_once(site: Site) -> None:
    jobs = [finished(site, item(site, 1)), finished(site, item(site, 1))]
    pacs = FakeDestination()
    assert deliver(site, Heard(), {"pacs": pacs}) == 2
    assert pacs.visits == [["1"]]
    assert {site.store.job(job).state for job in jobs} == {JobState.DELIVERED}


TROUBLE = [
    (PeerUnreachable("pacs: expected a connection, got none"), "peer-unreachable"),
    (ZeroDivisionError("oops"), "bug-ZeroDivisionError"),
]


@pytest.mark.parametrize(("trouble", "code"), TROUBLE)
def test_a_destination_in_trouble_keeps_its_results_until_it_is_over(site: Site, trouble: Exception, code: str) -> None:
    job = finished(site, item(site, 1), item(site, 1, "research"))
    pacs, heard = FakeDestination(trouble=trouble), Heard()
    routes: dict[str, Route] = {"pacs": pacs, "research": FakeDestination()}
    assert deliver(site, heard, routes) == 1
    assert heard.only("failed") == [("failed", "pacs", "1", code)]
    assert site.store.job(job).state is JobState.DELIVERING
    site.clock.forward(1)
    pacs.trouble = None
    assert deliver(site, heard, routes) == 1
    assert site.store.job(job).state is JobState.DELIVERED


def test_what_was_stored_before_the_session_broke_is_not_sent_again(site: Site) -> None:
    finished(site, item(site, 1), item(site, 2), item(site, 3))
    broken = True

    def breaks_at_the_second(outgoing: Outgoing) -> int:
        if broken and outgoing.path.stem == "2":
            raise PeerUnreachable("pacs: expected an answer, got a broken association")
        return 0x0000

    pacs, heard = FakeDestination(answer=breaks_at_the_second), Heard()
    deliver(site, heard, {"pacs": pacs})
    broken = False
    site.clock.forward(1)
    deliver(site, heard, {"pacs": pacs})
    assert pacs.visits == [["1", "2"], ["2", "3"]]
    assert set(states(site).values()) == {"DELIVERED"}


def test_a_status_that_a_retry_may_cure_is_tried_again_beside_what_was_stored(site: Site) -> None:
    finished(site, item(site, 1), item(site, 2), item(site, 3))
    pacs, heard = FakeDestination(answer=lambda outgoing: 0xA700 if outgoing.path.stem == "2" else 0), Heard()
    assert deliver(site, heard, {"pacs": pacs}) == 2
    assert heard.only("failed") == [("failed", "pacs", "2", "store-refused")]
    assert "0xA700, refused: out of resources" in summary(site.store).last_errors[0].message


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_an_object_that_is_judged_faulty_is_quarantined_until_a_person_releases_it(site: Site, status: int) -> None:
    job = finished(site, item(site, 1))
    pacs, heard = FakeDestination(answer=lambda _outgoing: status), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert heard.only("QUARANTINED") == [("QUARANTINED", "pacs", "1", "object-refused")]
    site.clock.forward(10**6)
    assert deliver(site, heard, {"pacs": pacs}) == 0
    assert site.store.job(job).state is JobState.DELIVERING
    assert summary(site.store).outbox == {"pacs": 1}
    pacs.answer = lambda _outgoing: 0
    assert site.store.release_deliveries("elsewhere") == 0
    assert site.store.release_deliveries("pacs") == 1
    deliver(site, heard, {"pacs": pacs})
    assert site.store.job(job).state is JobState.DELIVERED


def test_an_archive_that_takes_no_label_map_gets_the_binary_form_and_is_not_offered_the_other_again(site: Site) -> None:
    def forms(number: int) -> int:
        label_map = item(site, number, sop_class=LABEL_MAP, form_of="segmentation", preference=0)
        return finished(site, label_map, item(site, number + 1, form_of="segmentation", preference=1))

    first = forms(10)
    pacs, heard = FakeDestination(accepts=frozenset({SEG})), Heard()
    while deliver(site, heard, {"pacs": pacs}):
        pass
    assert pacs.visits == [[], ["11"]]
    assert states(site) == {("pacs", "10"): "LEFT_OUT", ("pacs", "11"): "DELIVERED"}
    second = forms(20)
    while deliver(site, heard, {"pacs": pacs}):
        pass
    assert pacs.visits == [[], ["11"], ["21"]]
    assert {site.store.job(job).state for job in (first, second)} == {JobState.DELIVERED}
    assert [event[2:] for event in heard.only("LEFT_OUT")] == [("10", "class-refused"), ("20", "class-refused")]


def test_an_archive_that_takes_the_preferred_form_gets_no_other(site: Site) -> None:
    finished(site, item(site, 1, sop_class=LABEL_MAP, form_of="seg"), item(site, 2, form_of="seg", preference=1))
    pacs = FakeDestination()
    deliver(site, Heard(), {"pacs": pacs})
    assert pacs.visits == [["1"]]
    assert states(site) == {("pacs", "1"): "DELIVERED", ("pacs", "2"): "LEFT_OUT"}


def test_a_report_that_the_archive_does_not_take_is_left_out_and_the_job_is_delivered_without(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2, sop_class=SR, optional=True))
    pacs, heard = FakeDestination(accepts=frozenset({SEG})), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert site.store.job(job).state is JobState.DELIVERED
    assert heard.only("LEFT_OUT") == [("LEFT_OUT", "pacs", "2", "class-refused")]


def test_an_archive_that_takes_nothing_of_it_leaves_the_only_form_in_quarantine(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2, sop_class=SR, optional=True))
    deliver(site, Heard(), {"pacs": FakeDestination(trouble=ContextsRefused("pacs: a refusal"))})
    assert states(site) == {("pacs", "1"): "QUARANTINED", ("pacs", "2"): "LEFT_OUT"}
    assert site.store.job(job).state is JobState.DELIVERING


def test_only_the_promise_to_keep_it_makes_a_stored_object_a_delivered_one(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2))
    pacs, heard = FakeDestination(confirmation=COMMITTING, report=lambda _whole: None), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert set(states(site).values()) == {"STORED"}
    site.clock.forward(3599)
    assert deliver(site, heard, {"pacs": pacs}) == 0
    assert site.store.job(job).state is JobState.DELIVERING
    pacs.report = lambda whole: whole
    site.clock.forward(2)
    deliver(site, heard, {"pacs": pacs})
    assert pacs.visits == [["1", "2"], []]
    assert len(set(pacs.requests)) == 2
    assert heard.only("failed") == [("failed", "pacs", "1", "commitment-overdue"), ("failed", "pacs", "2", "commitment-overdue")]
    assert site.store.job(job).state is JobState.DELIVERED


def test_a_report_that_comes_before_the_answer_to_its_request_counts(site: Site) -> None:
    job = finished(site, item(site, 1))
    heard = Heard()
    deliver(site, heard, {"pacs": FakeDestination(confirmation=COMMITTING)})
    assert heard.only("delivered") == [("delivered", "pacs", "1")]
    assert site.store.job(job).state is JobState.DELIVERED


@pytest.mark.parametrize(
    ("reason", "word", "state", "code"),
    [
        (0x0112, "failed", "PENDING", "not-committed"),
        (0x0110, "failed", "PENDING", "not-committed"),
        (0x0119, "QUARANTINED", "QUARANTINED", "commitment-denied"),
        (0x0122, "QUARANTINED", "QUARANTINED", "commitment-denied"),
    ],
)
def test_what_is_not_committed_is_sent_again_or_quarantined(site: Site, reason: int, word: str, state: str, code: str) -> None:
    finished(site, item(site, 1), item(site, 2))
    lost = "1.2.826.0.1.3680043.8.498.1.1"

    def report(whole: CommitmentReport) -> CommitmentReport:
        return CommitmentReport(transaction_uid=whole.transaction_uid, committed=whole.committed - {lost}, failed={lost: reason})

    pacs, heard = FakeDestination(confirmation=COMMITTING, report=report), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert states(site) == {("pacs", "1"): state, ("pacs", "2"): "DELIVERED"}
    assert heard.only(word) == [(word, "pacs", "1", code)]


def test_a_request_that_is_refused_is_repeated_and_nothing_is_sent_again(site: Site) -> None:
    finished(site, item(site, 1))

    def refuse(_whole: CommitmentReport) -> CommitmentReport | None:
        raise CommitmentRefused("pacs: expected N-ACTION status 0x0000, got 0x0110")

    pacs, heard = FakeDestination(confirmation=COMMITTING, report=refuse), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert heard.only("failed") == [("failed", "pacs", "1", "commitment-refused")]
    pacs.report = lambda whole: whole
    site.clock.forward(1)
    deliver(site, heard, {"pacs": pacs})
    assert pacs.visits == [["1"], []]
    assert states(site) == {("pacs", "1"): "DELIVERED"}


def test_an_archive_that_takes_requests_and_never_reports_is_believed_when_it_finds_the_object(site: Site) -> None:
    finished(site, item(site, 1), item(site, 2))
    pacs = FakeDestination(confirmation=COMMITTING, report=lambda _whole: None, offers_query=True)
    deliver(site, Heard(), {"pacs": pacs})
    pacs.holds.add("1.2.826.0.1.3680043.8.498.1.1")
    site.clock.forward(3601)
    deliver(site, Heard(), {"pacs": pacs})
    assert states(site) == {("pacs", "1"): "DELIVERED", ("pacs", "2"): "STORED"}


def test_proof_by_query_waits_until_the_archive_finds_it_and_sends_again_what_it_lost(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2))
    pacs, heard = FakeDestination(confirmation=Confirmation.QUERY), Heard()
    deliver(site, heard, {"pacs": pacs})
    assert set(states(site).values()) == {"STORED"}
    assert {event[3] for event in heard.only("failed")} == {"not-found-yet"}
    pacs.holds.add("1.2.826.0.1.3680043.8.498.1.1")
    site.clock.forward(3601)
    deliver(site, heard, {"pacs": pacs})
    assert states(site) == {("pacs", "1"): "DELIVERED", ("pacs", "2"): "PENDING"}
    pacs.holds.add("1.2.826.0.1.3680043.8.498.1.2")
    site.clock.forward(10)
    deliver(site, heard, {"pacs": pacs})
    assert pacs.visits == [["1", "2"], [], ["2"]]
    assert site.store.job(job).state is JobState.DELIVERED


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_damaged_result_is_not_sent_and_holds_nothing_up(site: Site, harm: Callable[[Path], object]) -> None:
    finished(site, item(site, 1), item(site, 2))
    harm(site.folder / "1.dcm")
    pacs, heard = FakeDestination(), Heard()
    assert deliver(site, heard, {"pacs": pacs}) == 1
    assert pacs.visits == [["2"]]
    assert heard.only("failed") == [("failed", "pacs", "1", "result-damaged")]
    assert "restore the file" in summary(site.store).last_errors[0].message


def test_a_job_cancelled_meanwhile_sends_nothing_more_and_stays_cancelled(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2))

    def cancelled_meanwhile(_outgoing: Outgoing) -> int:
        site.store.cancel(job)
        return 0x0000

    pacs, heard = FakeDestination(answer=cancelled_meanwhile), Heard()
    assert deliver(site, heard, {"pacs": pacs}) == 0
    assert pacs.visits == [["1"]]
    assert heard.only("delivered", "failed") == []
    assert site.store.job(job).state is JobState.CANCELLED


def test_a_stop_hands_back_what_has_not_gone_out(site: Site) -> None:
    finished(site, item(site, 1), item(site, 2))
    pacs = FakeDestination()
    stopping = iter([False, True])
    deliver(site, Heard(), {"pacs": pacs}, is_stopping=lambda: next(stopping))
    assert pacs.visits == [["1"]]
    assert deliver(site, Heard(), {"pacs": pacs}) == 1
    assert pacs.visits[-1] == ["2"]
