"""The status page over a real store: what it shows, whom it lets in, and what it never tells."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from daemon.config import Config, FolderSettings, RulesSettings, load_config
from daemon.errors import ConfigError
from daemon.job_states import JobState
from daemon.listener_settings import ListenerSettings
from daemon.store import Priority, RuleOutcome
from daemon.web.app import COOKIE, Views, application
from daemon.web.server import views_of
from daemon.web.token import read_token
from rules.errors import ConfigFaults
from tests.component.delivery_site import finished, item
from tests.component.loopback import Sink, listening
from tests.component.store_site import Site, claimed, instance, new_site, queued, worker

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-some-length"
RULE = "ct-lungs"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


@pytest.fixture
def settings(site: Site) -> Config:
    (site.folder / "state" / "spool").mkdir(parents=True)
    rules = RulesSettings(paths=(REPOSITORY / "rules" / "library",))
    return Config(folders=FolderSettings(state=site.folder / "state"), listener=ListenerSettings(port=1), rules=rules)


def views(site: Site, settings: Config, **changes: object) -> Views:
    return replace(views_of(settings, site.store, site.clock), **changes)  # type: ignore[arg-type]


def client(site: Site, settings: Config, *, token: str | None = None, **changes: object) -> TestClient:
    app = application(views(site, settings, **changes), ("testserver",), token)
    return TestClient(app, follow_redirects=False)


def series_of(metrics: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def test_the_overview_tells_what_is_where_and_what_needs_a_person(site: Site, settings: Config) -> None:
    finished(site, item(site, 1), item(site, 2, "research"))
    queued(site, series="9.1")
    site.store.fail(claimed(site), "bug-ValueError", f"Traceback: patient {EVIL}", 1)
    queued(site, series="9.2")
    site.store.refuse(claimed(site), "uneven-spacing", f"the slices are unevenly spaced {EVIL}")
    site.store.record_instance(instance(1, site.clock(), series="9.3"))
    page = client(site, settings).get("/")
    assert page.status_code == 200
    text = re.sub(r"<[^>]+>", " ", page.text)
    assert "1 job(s) are put aside and wait for a person." in text
    assert re.search(r"still arriving\s+1\b", text)
    assert re.search(r"pacs\s+1\s+0", text)
    assert "listener: expected port 1 to be open" in text
    assert "[uneven-spacing] the slices are unevenly spaced" in text
    assert "a fault of the software" in text
    assert "Traceback" not in text, "its words may quote a patient"
    assert EVIL not in page.text
    assert "&lt;script&gt;" in page.text


def test_a_job_has_a_page_with_its_results_and_an_unknown_one_has_none(site: Site, settings: Config) -> None:
    job = finished(site, item(site, 1))
    browser = client(site, settings)
    page = browser.get(f"/jobs/{job}")
    assert page.status_code == 200
    assert "1.2.826.0.1.3680043.8.498.1.1" in page.text
    assert "pending" in page.text
    assert browser.get("/jobs/999").status_code == 404
    assert browser.get("/elsewhere").status_code == 404


def test_jobs_can_be_looked_at_by_state(site: Site, settings: Config) -> None:
    finished(site, item(site, 1))
    uid = "2.25.91827364554637281900"  # no figure of the page holds it by chance
    queued(site, series=uid)
    browser = client(site, settings)
    assert uid in browser.get("/jobs?state=queued").text
    assert uid not in browser.get("/jobs?state=delivering").text
    assert uid in browser.get("/jobs?state=nonsense").text


def test_a_page_of_another_name_is_not_served_and_every_answer_is_guarded(site: Site, settings: Config) -> None:
    browser = client(site, settings)
    assert browser.get("/", headers={"Host": "attacker.example"}).status_code == 400
    headers = browser.get("/").headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert "<script>" not in browser.get("/").text
    assert 'style="' not in browser.get("/").text


def test_nothing_of_the_store_is_shown_without_the_token(site: Site, settings: Config) -> None:
    queued(site, series="9.1")
    browser = client(site, settings, token=TOKEN)
    for path in ("/", "/jobs", "/jobs/1", "/metrics"):
        assert browser.get(path).status_code == 401
        assert browser.get(path, headers={"Accept": "text/html"}).headers["location"] == "/login"
        assert browser.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert browser.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert browser.get("/healthz").status_code == 200
    assert browser.post("/login", content="token=wrong").status_code == 403
    answer = browser.post("/login", content=f"token={TOKEN}")
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert answer.cookies[COOKIE]
    assert browser.get("/").status_code == 200, "the browser kept the cookie"
    assert browser.post("/login", content="token=" + "x" * 10_000).status_code == 413


def test_ready_means_that_an_image_could_be_taken_now(site: Site, settings: Config) -> None:
    not_ready = client(site, settings).get("/readyz")
    assert not_ready.status_code == 503
    assert list(not_ready.json()["failing"]) == ["listener"]
    with listening(Sink()) as port:
        open_door = settings.model_copy(update={"listener": ListenerSettings(port=port)})
        ready = client(site, open_door).get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "failing": {}})
        full = open_door.model_copy(update={"spool": open_door.spool.model_copy(update={"reserve_mib": 10**9})})
        assert list(client(site, full).get("/readyz").json()["failing"]) == ["disk"]


def test_metrics_count_what_the_store_knows_and_carry_no_uid(site: Site, settings: Config) -> None:
    queued(site, series="9.0")
    site.clock.forward(30)
    rules = [RuleOutcome(rule=RULE, volumes=2, withheld=1), RuleOutcome(rule="of an earlier configuration", volumes=1, withheld=0)]
    site.store.finish_with_results(claimed(site), [item(site, 1)], rules)
    (job,) = (one.id for one in site.store.jobs())
    site.store.record_instance(instance(1, site.clock(), series="9.0"))
    site.clock.forward(90)
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)
    assert site.store.job(job).state is JobState.DELIVERED
    queued(site, series="9.1", instances=3)
    site.store.refuse(claimed(site), "uneven-spacing", "the slices are unevenly spaced")
    site.store.record_instance(instance(1, site.clock(), series="9.2"))
    waiting = next(one for one in site.store.waiting_series() if one.series_instance_uid == "9.2")
    site.store.complete_series(waiting, Priority.STAT)
    site.clock.forward(10)
    assert re.search(rf"<td>{RULE}</td>\s*<td[^>]*>2</td><td[^>]*>1</td><td[^>]*>2 min</td>", client(site, settings).get("/").text)
    text = client(site, settings).get("/metrics").text
    found = {(name, *sorted(labels.values())): value for name, labels, value in series_of(text)}
    assert found["medsam2d_jobs", "delivered"] == 1
    assert found["medsam2d_jobs", "queued"] == 1
    assert found["medsam2d_job_seconds", "0.95"] == 120
    assert found["medsam2d_rule_seconds", "0.95", RULE] == 120
    assert found["medsam2d_rule_volumes_last_day", RULE] == 2
    assert found["medsam2d_rule_withheld_last_day", RULE] == 1
    assert found["medsam2d_rule_volumes_last_day", "mr-brain"] == 0
    assert "of an earlier configuration" not in text, "labels are bounded by the configuration"
    assert found["medsam2d_instances_duplicate_total", "SCANNER"] == 1
    assert found["medsam2d_jobs_without_result", "refused", "uneven-spacing"] == 1
    assert found["medsam2d_instances_received_total", "SCANNER"] == 6
    assert found["medsam2d_ledger_instances", "refused"] == 3
    assert found["medsam2d_ledger_instances", "unexplained"] == 0
    assert found["medsam2d_disk_free_bytes", "spool"] > 0
    assert not re.search(r"\d+\.\d+\.\d+\.\d+\.\d+", text), "a UID would make a series of its own for each study"


def test_an_address_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("web: {host: 0.0.0.0}\n")
    with pytest.raises(ConfigFaults, match="expected token_file beside an address that others can reach"):
        load_config(config)
    (tmp_path / "short").write_text("short")
    with pytest.raises(ConfigError, match="at least 16 characters, got 5"):
        read_token(tmp_path / "short")
    with pytest.raises(ConfigError, match="make one with: openssl rand -hex 32"):
        read_token(tmp_path / "absent")


def test_the_role_serves_a_new_store_by_itself_and_ends_when_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("folders: {state: state}\nweb: {port: 0}\n")
    (tmp_path / "state").mkdir()
    command = [sys.executable, "-m", "daemon.cli", "web", "--config", str(tmp_path / "config.yaml")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            address = ready.split()[-1]
            with urllib.request.urlopen(f"{address}healthz", timeout=20) as answer:
                assert answer.read() == b"ok\n"
            with urllib.request.urlopen(f"{address}static/style.css", timeout=20) as answer:
                assert "text/css" in answer.headers["content-type"]
        finally:
            process.terminate()
            code = process.wait(30)
    assert code == 0


def test_every_metric_of_the_dashboard_and_the_alerts_exists(site: Site, settings: Config) -> None:
    queued(site, series="9.0")
    site.store.finish_with_results(claimed(site), [item(site, 1)], [RuleOutcome(rule=RULE, volumes=1, withheld=0)])
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    site.store.delivered(delivery)
    queued(site, series="9.1")
    site.store.refuse(claimed(site), "uneven-spacing", "x")
    finished(site, item(site, 2))
    exposed = client(site, settings).get("/metrics").text
    known = set(re.findall(r"^(medsam2d_\w+)", exposed, re.MULTILINE))
    documented = set(re.findall(r"`(medsam2d_\w+)`", (REPOSITORY / "docs" / "status_page.md").read_text()))
    for name in ("medsam2d.rules.yaml", "grafana_dashboard.json"):
        used = set(re.findall(r"medsam2d_[a-z_]+", (REPOSITORY / "deploy" / name).read_text()))
        assert used
        assert used <= known, used - known
    assert documented == known


@pytest.mark.parametrize("number", ["99999999999999999999999", "9" * 5000, "-1", "x"])
def test_a_job_that_no_database_could_number_is_not_found(number: str, site: Site, settings: Config) -> None:
    assert client(site, settings).get(f"/jobs/{number}").status_code == 404
