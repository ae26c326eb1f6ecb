"""Before a test study is sent: who would take it, and where would it go? After: how it ended, and what helps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner, Result

from daemon.cli import app
from daemon.config import Config, load_config
from daemon.demo import SEED, affine_of
from daemon.errors import ConfigError
from daemon.folder_study import Sender
from daemon.live_test.follow import ending_of, steps_of
from daemon.live_test.forecast import Forecast, expect_admission, expect_named, forecast
from daemon.live_test.study import DESCRIPTION, PATIENT_ID, PATIENT_NAME, LiveStudy, write_study
from daemon.store import DRAIN
from dicom_io.listener import Peer
from model.training.phantoms import demo_phantom, prompt_frame
from rules.load import load_rules
from rules.prompts.box import PixelBox
from tests.component.delivery_site import item
from tests.component.loopback import Sink, listening
from tests.component.store_site import Site, claimed, instance, new_site, worker

LIBRARY = Path(__file__).resolve().parents[2] / "rules" / "library"
SHIPPED = LIBRARY / "00_send_test.yaml"
TESTER = Sender(calling_ae_title="MEDSAM2D_TEST", called_ae_title="MEDSAM2D", source_address="127.0.0.1")
EXPECTED = Forecast(rule="send-test", destinations=("pacs",), quiet_seconds=30.0)
STUDY = "1.2"
"""The study of `store_site.instance`."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> LiveStudy:
    return write_study(tmp_path_factory.mktemp("study"), new_site(tmp_path_factory.mktemp("clock")).clock())


def site_settings(*rules: Path, folder: Path) -> Config:
    config = folder / "config.yaml"
    peers = (
        "[{ae_title: MEDSAM2D_TEST, rights: [echo, store]}, {ae_title: ASKS, rights: [echo]}, {ae_title: FAR, networks: [192.0.2.0/24]}]"
    )
    config.write_text(
        f"folders: {{state: {json.dumps(str(folder / 'state'))}}}\nlistener: {{peers: {peers}}}\n"
        f"rules: {{paths: {json.dumps([str(rule) for rule in rules])}}}\n"
        "destinations: {pacs: {host: 127.0.0.1, port: 1, ae_title: PACS}}\n"
    )
    return load_config(config)


def test_every_image_of_the_study_says_that_it_is_a_test_and_no_two_studies_share_a_uid(tmp_path: Path, study: LiveStudy) -> None:
    other = write_study(tmp_path, new_site(tmp_path).clock())
    first, second = ([pydicom.dcmread(path) for path in made.paths] for made in (study, other))
    for image in (*first, *second):
        assert (image.PatientID, str(image.PatientName)) == (PATIENT_ID, PATIENT_NAME)
        assert (image.StudyDescription, image.SeriesDescription, image.AccessionNumber) == (DESCRIPTION, DESCRIPTION, "")
        assert "TEST" in image.StudyDescription
    keywords = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    uids = [{str(image[keyword].value) for image in images for keyword in keywords} for images in (first, second)]
    assert len(uids[0]) == len(first) + 3
    assert not uids[0] & uids[1]
    assert {image.StudyInstanceUID for image in first} == {study.study_instance_uid}


def test_the_shipped_rule_takes_the_phantom_before_every_other_of_the_library_and_sends_to_nobody(tmp_path: Path, study: LiveStudy) -> None:
    found = forecast(site_settings(LIBRARY, folder=tmp_path), TESTER, study)
    assert (found.rule, found.destinations, found.quiet_seconds) == ("send-test", (), 2.0)
    expect_named(found, ())


def test_the_shipped_rule_has_the_boxes_of_the_phantom() -> None:
    phantom = demo_phantom(SEED)
    (rule,) = load_rules([SHIPPED]).rules
    for target, mask in zip(rule.targets, phantom.masks.values(), strict=True):
        frame = prompt_frame(mask)
        rows, columns = np.nonzero(mask[frame])
        assert isinstance(target.prompt, PixelBox)
        sides = (target.prompt.left, target.prompt.top, target.prompt.right, target.prompt.bottom)
        assert sides == (columns.min(), rows.min(), columns.max(), rows.max())
        assert target.prompt.model_dump()["frame"]["index"] == frame
    assert affine_of(phantom).shape == (4, 4)


def test_a_rule_that_sends_to_an_archive_stops_the_test_until_that_archive_is_named(tmp_path: Path, study: LiveStudy) -> None:
    scanner = Sender(calling_ae_title="CT1", called_ae_title="MEDSAM2D", source_address="127.0.0.1")
    found = forecast(site_settings(LIBRARY, folder=tmp_path), scanner, study)
    assert (found.rule, found.destinations) == ("ct-abdomen-boxes", ("pacs",))
    with pytest.raises(ConfigError, match=r"to pacs: nothing was sent\. Pass --to pacs if"):
        expect_named(found, ())
    expect_named(found, ("pacs",))


def test_a_destination_for_review_must_be_named_too(tmp_path: Path, study: LiveStudy) -> None:
    rule = tmp_path / "rule.yaml"
    rule.write_text(SHIPPED.read_text().replace("destinations: []", "destinations: []\n    review: [pacs]"))
    with pytest.raises(ConfigError, match="to pacs: nothing was sent"):
        expect_named(forecast(site_settings(rule, folder=tmp_path), TESTER, study), ())


@pytest.mark.parametrize(
    "change", [("calling_ae_title: MEDSAM2D_TEST", "calling_ae_title: CT9"), ("priority", "shadow: true\n    priority")]
)
def test_where_no_rule_takes_it_the_reasons_and_the_shipped_rule_are_told(
    tmp_path: Path, study: LiveStudy, change: tuple[str, str]
) -> None:
    rule = tmp_path / "rule.yaml"
    rule.write_text(SHIPPED.read_text().replace(*change))
    with pytest.raises(
        ConfigError, match=r"no rule takes the test study; put a copy of the shipped rules/library/00_send_test\.yaml"
    ) as told:
        forecast(site_settings(rule, folder=tmp_path), TESTER, study)
    assert "rule 'send-test': " in str(told.value)


@pytest.mark.parametrize(
    ("calling", "called", "words"),
    [
        ("WHO", "MEDSAM2D", r"admits no WHO from 127\.0\.0\.1 .* add to `listener\.peers`: \{ae_title: WHO, networks: \[127\.0\.0\.1\]"),
        ("FAR", "MEDSAM2D", r"admits no FAR from 127\.0\.0\.1 \(.*its address is in none of the peer's networks"),
        ("ASKS", "MEDSAM2D", r"the peer ASKS may not store; give it the right"),
        ("MEDSAM2D_TEST", "OTHER", r"expected --called-ae-title to be one of MEDSAM2D, got OTHER"),
    ],
)
def test_who_would_be_turned_away_is_told_what_to_add(tmp_path: Path, calling: str, called: str, words: str) -> None:
    sender = Sender(calling_ae_title=calling, called_ae_title=called, source_address="127.0.0.1")
    with pytest.raises(ConfigError, match=words):
        expect_admission(site_settings(SHIPPED, folder=tmp_path), sender)


def test_the_tester_of_the_shipped_configuration_is_admitted_with_the_shipped_rule(tmp_path: Path, study: LiveStudy) -> None:
    shipped = load_config(LIBRARY.parents[1] / "config.yaml")
    expect_admission(shipped, TESTER)
    assert forecast(shipped, TESTER, study).destinations == ()


# What the command says of an installation that is not there, or not ours.


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["send-test", "--config", str(folder / "config.yaml"), *arguments])


def test_a_service_that_does_not_listen_is_told_with_exit_code_1(tmp_path: Path) -> None:
    site_settings(SHIPPED, folder=tmp_path)
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text().replace("listener: {", "listener: {port: 1, "))
    (tmp_path / "state").mkdir()
    done = run(tmp_path, "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["good"] is False
    assert said["words"].startswith("[peer-unreachable] expected the service to listen on 127.0.0.1:1, got")
    assert "systemctl start medsam2d" in said["words"]


def test_a_destination_that_is_unknown_is_told_and_nothing_is_sent(tmp_path: Path) -> None:
    site_settings(SHIPPED, folder=tmp_path)
    assert "--to archive: expected one of pacs" in str(run(tmp_path, "--to", "archive").exception)


def test_a_listener_of_another_installation_is_noticed(tmp_path: Path) -> None:
    site_settings(SHIPPED, folder=tmp_path)
    (tmp_path / "state").mkdir()
    sink = Sink()
    with listening(sink, ae_titles=("MEDSAM2D",), peers=(Peer(ae_title="MEDSAM2D_TEST"),)) as port:
        text = (tmp_path / "config.yaml").read_text()
        (tmp_path / "config.yaml").write_text(text.replace("listener: {", f"listener: {{port: {port}, "))
        done = run(tmp_path, "--timeout", "0")
    assert done.exit_code == 1
    assert "this store does not have it; this configuration is not that of the service" in done.stdout
    assert len(sink.received) == 32


# How a test ended, read off the store.


def waiting(_site: Site) -> None:
    """The series has come."""


def held(site: Site) -> None:
    (series,) = site.store.waiting_series()
    site.store.hold_series(series, "expected 40 instances")
    site.clock.forward(60)


def complete(site: Site) -> None:
    (series,) = site.store.waiting_series()
    site.store.complete_series(series)


def drained(site: Site) -> None:
    complete(site)
    site.store.throw(DRAIN)


def running(site: Site) -> None:
    complete(site)
    claimed(site)


def postponed(site: Site) -> None:
    complete(site)
    site.store.retry_later(claimed(site), "unknown-weights", "weights 'liver': no such name")


def skipped(site: Site) -> None:
    complete(site)
    site.store.skip(claimed(site), ["rule 'a': Modality is CT"])


def refused(site: Site) -> None:
    complete(site)
    site.store.refuse(claimed(site), "uneven-spacing", "a gap")


def put_aside(site: Site) -> None:
    complete(site)
    site.store.fail(claimed(site), "bug-KeyError", "Traceback\nKeyError: 'x'", 1)


def made(site: Site, destination: str = "pacs") -> None:
    complete(site)
    site.store.finish_with_results(claimed(site), [item(site, 1, destination)])


def unreachable(site: Site) -> None:
    made(site)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.postpone(delivery, "peer-unreachable", "pacs: expected a connection, got none")


def not_taken(site: Site) -> None:
    made(site)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.refused(delivery, "class-refused", "pacs takes no SEG")


def delivered(site: Site) -> None:
    made(site)
    site.clock.forward(4)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)


CASES: tuple[tuple[Callable[[Site], None], str, str], ...] = (
    (waiting, "counts as complete 30 s after its last instance, 0 s have passed", "--timeout"),
    (held, "its series is HELD since 60 s, with no job", "medsam2d status"),
    (complete, "waits for a worker (0 jobs run, 0 others wait)", "is the service's worker up?"),
    (drained, "the service is drained since 2026", "medsam2d drain --off"),
    (running, "a worker still has job 1", "--timeout"),
    (postponed, "tried again: [unknown-weights] weights 'liver': no such name", "docs/troubleshooting.md"),
    (skipped, "job 1 is SKIPPED: [skipped] rule 'a': Modality is CT", "systemctl reload medsam2d"),
    (refused, "job 1 is REFUSED: [uneven-spacing] a gap", "docs/troubleshooting.md"),
    (put_aside, "job 1 is QUARANTINED: [bug-KeyError] KeyError: 'x'", "medsam2d jobs show 1"),
    (unreachable, "pacs: PENDING [peer-unreachable] pacs: expected a connection", "medsam2d destinations probe pacs"),
    (not_taken, "pacs: QUARANTINED [class-refused] pacs takes no SEG", "medsam2d destinations probe pacs"),
    (lambda site: made(site, "research"), "results went to research, which the rules on disk do not name", "systemctl reload medsam2d"),
)


@pytest.mark.parametrize(("happens", "words", "cure"), CASES, ids=[getattr(case[0], "__name__", "?") for case in CASES])
def test_what_did_not_work_is_told_with_its_cure(tmp_path: Path, happens: Callable[[Site], None], words: str, cure: str) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))
    happens(site)
    ending = ending_of(site.store, STUDY, EXPECTED, site.clock())
    assert not ending.good
    assert words in ending.words
    assert cure in ending.cure


def test_a_delivered_test_is_good_with_its_seconds(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))
    delivered(site)
    ending = ending_of(site.store, STUDY, EXPECTED, site.clock())
    assert (ending.good, ending.words, ending.cure) == (True, "delivered in 4 s after its series was complete", "")


def test_each_step_is_told_once_and_the_following_stops_at_the_end(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))

    def finish() -> None:
        site.store.finish_with_results(site.store.jobs_of_study(STUDY)[0], [item(site, 1)])

    def deliver() -> None:
        (delivery,) = site.store.claim_deliveries(worker(), "pacs")
        site.store.delivered(delivery)

    def sleep(_seconds: float) -> None:
        next(acts)()

    acts: Iterator[Callable[[], object]] = iter(
        [lambda: None, lambda: complete(site), lambda: None, lambda: claimed(site), finish, lambda: None, deliver]
    )
    said = [step.what for step in steps_of(site.store, STUDY, site.clock, lambda: False, sleep)]
    assert said == [
        "job 1: its series is complete",
        "job 1: it waits for a worker",
        "job 1: a worker has it",
        "job 1: its results are made and checked",
        "job 1: its results are where they belong",
        "1.2.826.0.1.3680043.8.498.1.1 to pacs: delivered",
    ]


def test_the_following_stops_where_a_destination_will_never_take_a_result(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))
    not_taken(site)
    said = [step.what for step in steps_of(site.store, STUDY, site.clock, lambda: False, _never)]
    assert said[-1] == "1.2.826.0.1.3680043.8.498.1.1 to pacs: quarantined"


def _never(_seconds: float) -> None:
    pytest.fail("it waits although nothing more can come")


def test_the_following_ends_when_the_time_is_up(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))
    assert list(steps_of(site.store, STUDY, site.clock, lambda: True, lambda seconds: None)) == []
