"""`medsam2d send-test` through a service that runs, with the shipped rule and with a site's own."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.e2e.harness import MEDSAM2D, Site, free_port, run, serving

LIBRARY = Path(__file__).resolve().parents[2] / "rules" / "library"
CONFIGURATION = """\
listener:
  port: {port}
  peers:
    - {{ae_title: MEDSAM2D_TEST, rights: [echo, store]}}
    - {{ae_title: CT1, rights: [echo, store]}}
folders: {{state: {folder}/state}}
arrivals: {{quiet_seconds: 1}}
rules: {{paths: [{folder}/rules]}}
destinations:
  pacs: {{kind: folder, path: {folder}/archive}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with the shipped rule for tests and one that sends a CT of the abdomen to an archive."""
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    (folder / "archive").mkdir()
    (folder / "rules").mkdir()
    for name in ("00_send_test.yaml", "ct_abdomen_boxes.yaml"):
        shutil.copy(LIBRARY / name, folder / "rules" / name)
    (folder / "config.yaml").write_text(CONFIGURATION.format(port=port, folder=folder))
    made = Site(folder=folder, config=folder / "config.yaml", port=port, archive_port=0, archive=folder / "archive")
    with serving(made):
        yield made


def send_test(site: Site, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = run([*MEDSAM2D, "send-test", "--config", str(site.config), "--json", *arguments], check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_the_phantom_goes_the_whole_way_and_no_archive_hears_of_it(site: Site) -> None:
    code, said = send_test(site)
    assert (code, said["good"], said["rule"], said["destinations"], said["results"]) == (0, True, "send-test", [], [])
    steps = [step["what"].partition(": ")[2] for step in said["steps"]]
    assert steps[-1] == "its results are where they belong"
    paths = [Path(words.partition(": ")[2]) for words in said["made"] if words.startswith(("SEG: ", "SR: "))]
    results = [pydicom.dcmread(path) for path in paths]
    assert [result.Modality for result in results] == ["SEG", "SR"]
    for result in results:
        assert (result.PatientID, str(result.PatientName)) == ("MEDSAM2D-TEST", "TEST^NOT A PATIENT")
        assert result.StudyDescription == "TEST of medsam2d: phantom, no patient"
        assert result.StudyInstanceUID == said["study_instance_uid"]
    assert site.results() == []
    assert site.status()["ledger"]["unexplained"] == 0  # type: ignore[index]


def test_a_rule_that_sends_to_an_archive_gets_the_phantom_only_where_the_archive_is_named(site: Site) -> None:
    before = len(list((site.folder / "state" / "spool").rglob("*.dcm")))
    code, said = send_test(site, "--calling-ae-title", "CT1")
    assert code == 2
    assert "rule 'ct-abdomen-boxes' would take the test study, and send its results to pacs: nothing was sent" in said["error"]
    assert len(list((site.folder / "state" / "spool").rglob("*.dcm"))) == before
    code, said = send_test(site, "--calling-ae-title", "CT1", "--to", "pacs")
    assert (code, said["good"]) == (0, True)
    assert {entry["state"] for entry in said["results"]} == {"DELIVERED"}
    arrived = [pydicom.dcmread(path) for path in site.results()]
    assert {result.SOPInstanceUID for result in arrived} == {entry["sop_instance_uid"] for entry in said["results"]}
    assert {str(result.PatientName) for result in arrived} == {"TEST^NOT A PATIENT"}


def test_the_bundle_for_support_tells_of_the_running_service_and_not_of_what_it_was_sent(site: Site) -> None:
    _, said = send_test(site)
    out = site.folder / "support.tar.gz"
    done = run([*MEDSAM2D, "doctor", "--config", str(site.config), "--out", str(out)])
    assert "none " not in done.stdout, "a part is missing"
    with tarfile.open(out) as archive:
        streams = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        made = {name: stream.read().decode() for name, stream in streams.items() if stream is not None}
    processes = json.loads(made["processes.json"])
    assert {role: one["ready"] for role, one in processes.items()} == {"listener": True, "worker": True, "delivery": True}
    assert json.loads(made["store.json"])["jobs"]["DELIVERED"] >= 1
    for word in ("MEDSAM2D-TEST", "NOT A PATIENT", said["study_instance_uid"]):
        assert [name for name, text in made.items() if word in text] == []
