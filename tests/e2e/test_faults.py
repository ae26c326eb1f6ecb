"""What goes wrong at the start is said once, with its cause and its cure, and ends the service with exit code 2."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.e2e.harness import MEDSAM2D, Site, make_site, need, run, serving, storescu, wait_until
from tests.e2e.studies import CT_BOX, phantom_study


def refused_start(site: Site) -> subprocess.CompletedProcess[str]:
    return run([*MEDSAM2D, "serve", "--config", str(site.config)], check=False)


def test_a_wrong_configuration_is_refused_with_every_fault_at_its_line(tmp_path: Path) -> None:
    site = make_site(tmp_path, CT_BOX, extra="worker:\n  devise: cpu\n  attempts: many")
    done = refused_start(site)
    assert done.returncode == 2
    assert "worker.devise: unknown key; did you mean 'device'?" in done.stderr
    assert "worker.attempts: expected" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_rule_with_an_unknown_weights_name_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    site = make_site(tmp_path, CT_BOX.replace("destinations: [archive]", "destinations: [archive]\n    weights: tumour"))
    done = refused_start(site)
    assert done.returncode == 2
    assert "expected the name of a known weights (starter), got 'tumour'" in done.stderr
    assert "rules.yaml:5" in done.stderr


def test_a_port_that_is_taken_ends_the_service_with_the_port_and_the_cure(tmp_path: Path) -> None:
    site = make_site(tmp_path, CT_BOX)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        done = refused_start(site)
    assert done.returncode == 2
    assert f"expected to listen on 127.0.0.1:{site.port}" in done.stderr
    assert "choose another port" in done.stderr


def test_a_disk_without_room_turns_senders_away_with_the_reason_in_the_log_and_keeps_nothing(tmp_path: Path) -> None:
    need("storescu")
    phantom_study(tmp_path / "study")
    site = make_site(tmp_path, CT_BOX, extra="spool:\n  reserve_mib: 100000000")
    with serving(site) as service:
        done = storescu(site, tmp_path / "study", "-v")
        wait_until(lambda: "filled up to its reserve; free some space" in service.log.read_text(), "the reason in the log")
        ledger = site.status()["ledger"]
    assert done.returncode != 0
    assert "Temporary Congestion" in done.stdout + done.stderr
    assert isinstance(ledger, dict)
    assert ledger["received"] == 0
    assert not list((tmp_path / "state" / "spool").rglob("*.dcm"))


def test_no_patient_name_or_id_reaches_the_log(tmp_path: Path) -> None:
    need("storescu")
    phantom_study(tmp_path / "study")
    site = make_site(tmp_path, CT_BOX)
    with serving(site) as service:
        storescu(site, tmp_path / "study")
        wait_until(lambda: "SEG" in service.log.read_text(), "the result")
        log = service.log.read_text()
    assert "Phantom" not in log
    assert "SYNTHETIC-0000" not in log


def test_weights_that_the_configuration_trusts_without_a_hash_are_on_record(tmp_path: Path) -> None:
    weights = Path(__file__).resolve().parents[2] / "model" / "weights" / "starter.safetensors"
    site = make_site(tmp_path, CT_BOX, extra=f"weights:\n  own:\n    file: {weights}\n    trust: true")
    with serving(site):
        trail = run([*MEDSAM2D, "audit", "show", "--config", str(site.config)]).stdout
    assert '"event": "weights-trusted"' in trail
    assert '"name": "own"' in trail
