"""The buttons of the status page: what they change, what they say, what the trail keeps, and from whom they take no order."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from starlette.testclient import TestClient

from daemon.audit import Audit, open_audit
from daemon.audit_chain import records, verify
from daemon.config import Config, load_config
from daemon.destination_settings import DicomDestination
from daemon.job_states import JobState
from daemon.store import ConflictVerdict, Delivery, OutboxState
from daemon.web.actions import actions_of
from daemon.web.app import application
from daemon.web.form import MAXIMUM_BYTES
from daemon.web.punctual import punctual
from daemon.web.server import views_of
from tests.component.delivery_site import SEG, finished, item, states
from tests.component.loopback import peer_scp
from tests.component.store_site import FakeClock, Site, claimed, instance, new_site, queued, worker
from tests.component.web_site import served

TOKEN = "a-token-of-some-length"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    (tmp_path / "results-folder").mkdir()
    lines = ["folders: {state: state}", "listener: {port: 1}", "destinations:"]
    lines += [
        f"  archive: {{kind: folder, path: '{tmp_path / 'results-folder'}'}}",
        f"  gone: {{kind: folder, path: '{tmp_path / 'gone'}'}}",
    ]
    (tmp_path / "config.yaml").write_text("\n".join(lines) + "\n")
    return load_config(tmp_path / "config.yaml")


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return open_audit(tmp_path / "audit", FakeClock())


def client(site: Site, settings: Config, audit: Audit, token: str | None = None) -> TestClient:
    views = views_of(settings, site.store, site.clock, actions_of(settings, site.store, audit))
    return TestClient(application(views, ("testserver",), token))


def secret_of(browser: TestClient) -> str:
    return str(re.findall(r'name="form" value="([^"]+)"', browser.get("/destinations").text)[0])


def press(browser: TestClient, action: str, subject: str) -> str:
    """Send the form of a button, follow the redirect, and return what the page says."""
    page = browser.post(f"/actions/{action}", data={"form": secret_of(browser), "subject": subject})
    assert page.history[0].status_code == 303
    assert page.status_code == 200
    return str(re.findall(r'role="status">([^<]*)</p>', page.text)[0])


def quarantined(site: Site) -> int:
    job = queued(site, series="9.1")
    site.store.fail(claimed(site), "gate-failure", "seg 2.25.4: expected the voxels that were meant, got 12 others", 1)
    return job.id


def refused(site: Site) -> Delivery:
    finished(site, item(site, 1, "archive"))
    (delivery,) = site.store.claim_deliveries(worker(), "archive")
    assert site.store.refused(delivery, "object-refused", "archive: 0xC000") is OutboxState.QUARANTINED
    return delivery


def test_a_destination_is_asked_and_its_answer_or_the_fault_with_its_cure_is_shown(site: Site, settings: Config, audit: Audit) -> None:
    browser = client(site, settings, audit)
    assert "is writable" in press(browser, "echo", "archive")
    assert "is writable" in press(browser, "probe", "archive")
    assert "mount the share or make the folder" in press(browser, "probe", "gone")
    assert press(browser, "echo", "elsewhere").startswith("[config-error] expected the name of a destination")


def test_an_archive_is_asked_by_c_echo_and_what_it_accepts_is_remembered(site: Site, settings: Config, audit: Audit) -> None:
    contexts = [build_context(SEG, ExplicitVRLittleEndian), build_context(Verification)]
    with peer_scp(contexts, lambda _event: pytest.fail("nothing is to be sent")) as port:
        pacs = DicomDestination(host="127.0.0.1", port=port, ae_title="ARCHIVE")
        browser = client(site, settings.model_copy(update={"destinations": {"pacs": pacs}}), audit)
        assert "C-ECHO" in browser.get("/destinations").text
        assert press(browser, "echo", "pacs").endswith("answers")
        assert "accepts SEG, verification" in press(browser, "probe", "pacs")
        assert '<td class="reason">SEG, verification</td>' in browser.get("/destinations").text
    assert press(browser, "echo", "pacs").startswith("[peer-unreachable]")


def test_a_job_in_quarantine_is_shown_with_its_reason_and_tried_again(site: Site, settings: Config, audit: Audit, tmp_path: Path) -> None:
    job, browser = quarantined(site), client(site, settings, audit)
    assert "[gate-failure] seg 2.25.4" in browser.get("/quarantine").text
    assert press(browser, "release-job", str(job)) == f"Job {job} is queued and will be tried again."
    assert site.store.job(job).state is JobState.QUEUED
    assert "gate-failure" not in browser.get("/quarantine").text
    assert "expected a quarantined job" in press(browser, "release-job", str(job)), "pressed a second time"
    assert "medsam2d jobs list" in press(browser, "release-job", "999")
    assert "expected a number" in press(browser, "release-job", "1; DROP TABLE job")
    assert verify(tmp_path / "audit") is None
    (record,) = records(tmp_path / "audit")
    assert record.event == "job-released"
    assert {name: record.details.get(name) for name in ("job", "by", "address", "proof", "user")} == {
        "job": job, "by": "status page", "address": "testclient", "proof": "none", "user": None,
    }  # fmt: skip


def test_refused_results_and_other_images_of_a_uid_are_released_each_on_its_record(
    site: Site, settings: Config, audit: Audit, tmp_path: Path
) -> None:
    refused(site)
    for content in ("", "other"):
        site.store.record_instance(instance(1, site.clock(), series="9.5", content=content))
    (conflict,) = site.store.conflicts()
    site.store.conclude(conflict.id, ConflictVerdict.PIXELS_CHANGED)
    browser = client(site, settings, audit)
    page = browser.get("/quarantine").text
    assert "[object-refused] archive: 0xC000" in page
    assert "[pixels-changed] other bytes under 9.5.1" in page
    assert press(browser, "release-results", "archive") == "1 result(s) will be sent to archive again."
    assert states(site) == {("archive", "1"): "PENDING"}
    assert press(browser, "release-instance", str(conflict.id)).startswith("1 instance(s) now stand")
    assert site.store.conflicts() == ()
    assert [record.event for record in records(tmp_path / "audit")] == ["deliveries-released", "instance-conflict-examined"]


def test_a_form_that_no_page_of_ours_made_changes_nothing(site: Site, settings: Config, audit: Audit, tmp_path: Path) -> None:
    job, browser = quarantined(site), client(site, settings, audit)
    for fields in ({}, {"form": ""}, {"form": "x" * 43}):
        page = browser.post("/actions/release-job", data={**fields, "subject": str(job)})
        assert page.status_code == 403
        assert "The form was not made by this page" in page.text
    assert browser.get("/actions/release-job").status_code == 405
    earlier = secret_of(browser)
    again = client(site, settings, audit)
    assert again.post("/actions/release-job", data={"form": earlier, "subject": str(job)}).status_code == 403, "the process began anew"
    assert site.store.job(job).state is JobState.QUARANTINED
    assert list(records(tmp_path / "audit")) == []


def test_who_does_not_hold_the_token_can_press_nothing(site: Site, settings: Config, audit: Audit, tmp_path: Path) -> None:
    job, browser = quarantined(site), client(site, settings, audit, TOKEN)
    assert browser.post("/actions/release-job", data={"subject": str(job)}).status_code == 401
    assert site.store.job(job).state is JobState.QUARANTINED
    browser.post("/login", data={"token": TOKEN})
    press(browser, "release-job", str(job))
    (record,) = records(tmp_path / "audit")
    assert record.details["proof"] == "token"


def test_a_page_whose_actions_are_switched_off_has_no_buttons_and_takes_no_forms(site: Site, settings: Config) -> None:
    job = quarantined(site)
    browser = TestClient(application(views_of(settings, site.store, site.clock), ("testserver",), None))
    for path in ("/destinations", "/quarantine"):
        assert "<button" not in browser.get(path).text
    assert browser.post("/actions/release-job", data={"subject": str(job)}).status_code == 404
    assert site.store.job(job).state is JobState.QUARANTINED


def test_a_client_that_sends_too_much_is_turned_away_and_one_that_sends_too_slowly_is_cut_off(
    site: Site, settings: Config, audit: Audit
) -> None:
    views = views_of(settings, site.store, site.clock, actions_of(settings, site.store, audit))
    with served(views, punctual(0.2)) as url:
        address = ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))
        large = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
        for beginning, body, expected in (
            (b"POST /actions/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\n", b"form=", b""),
            (b"GET / HTTP/1.1\r\nHo", b"", b""),
            (large.replace(b"/login", b"/actions/echo") % (MAXIMUM_BYTES + 1), b"x" * (MAXIMUM_BYTES + 1), b"HTTP/1.1 413"),
        ):
            with socket.create_connection(address, 20) as peer:
                peer.sendall(beginning + body)
                # recv returns at the end of the connection, whichever way that comes; a server that waits on fails by the time-out.
                try:
                    assert peer.recv(12) == expected
                except ConnectionResetError:
                    assert expected == b""
