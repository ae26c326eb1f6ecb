"""The support bundle holds what helps, says what it could not have, and names no patient and no secret."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.audit import open_audit
from daemon.cli import app
from daemon.config import json_schema
from daemon.shown_settings import shown_url
from daemon.store import Store
from daemon.support_bundle import LEFT_OUT, UID, Part, write_bundle
from tests.component.store_site import START, claimed, instance, new_site
from tests.component.test_notifications import troubled
from tests.component.test_patient_data_stay_inside import PLANTED, VALUES, broken, planted
from tests.component.test_worker import Site as WorkerSite

SECRETS = ("hook-secret-4711", "token-secret-4712", "login-secret-4713")
PRIVATE = ("oncall@hospital.example", "198.51.100.0/24", "Doctor^Nemo", "mail.hospital.example")

CONFIGURATION = """\
folders: {{state: {state}}}
store: {{url: 'sqlite:///{state}/store.sqlite'}}
listener:
  port: 1
  peers: [{{ae_title: CT7, networks: [198.51.100.0/24]}}]
spool: {{reserve_mib: 0}}
rules: {{paths: [{state}/rules.yaml]}}
destinations:
  pacs: {{host: 127.0.0.1, port: 1, ae_title: ARCHIVE, timeout_seconds: 1}}
  web: {{kind: stow, url: 'http://127.0.0.1:1/dicom', credentials_file: {state}/login}}
result: {{content_creator_name: Doctor^Nemo}}
web: {{token_file: {state}/token}}
notifications:
  channels:
    chat: {{kind: webhook, url: 'https://chat.example/hook-secret-4711'}}
    mail: {{kind: email, host: mail.hospital.example, sender: oncall@hospital.example, recipients: [oncall@hospital.example]}}
"""


def bundle(folder: Path, configuration: str | None = None) -> dict[str, str]:
    """Make a bundle by the command with a configuration in `folder`; its files by name."""
    config = folder / "config.yaml"
    config.write_text(CONFIGURATION.format(state=folder) if configuration is None else configuration)
    out = folder / "support.tar.gz"
    done = CliRunner().invoke(app, ["doctor", "--config", str(config), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert oct(out.stat().st_mode & 0o777) == "0o600"
    return content(out)


def content(out: Path) -> dict[str, str]:
    with tarfile.open(out) as archive:
        assert {member.mode for member in archive} == {0o600}
        read = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: stream.read().decode() for name, stream in read.items() if stream is not None}


def troubled_installation(folder: Path) -> Store:
    """A service that saw a patient, and failed in every way that quotes one; it does not run."""
    (folder / "token").write_text("token-secret-4712\n")
    (folder / "login").write_text("basic doctor:login-secret-4713\n")
    for name in ("token", "login"):
        (folder / name).chmod(0o600)
    site = WorkerSite(folder, broken, planted(folder / "images"))
    site.worker.work_once()
    trouble = new_site(folder)
    troubled(trouble)
    trouble.store.record_instance(instance(1, series="1.2.840.113619.2.55.3.604688.77"))
    (waiting,) = trouble.store.waiting_series()
    trouble.store.hold_series(waiting, f"{PLANTED['PatientName']} has no slice 1.2.840.113619.2.55.3.604688.77.1")
    open_audit(folder / "audit").log_read(folder)
    return trouble.store


def test_the_bundle_names_no_patient_no_image_and_no_secret(tmp_path: Path) -> None:
    store = troubled_installation(tmp_path)
    uids = {uid for job in store.jobs() for uid in (job.study_instance_uid, job.series_instance_uid) if uid.count(".") > 1}
    uids |= {str(path.stem) for path in (tmp_path / "spool").rglob("*.dcm")}
    assert uids
    made = bundle(tmp_path)
    for word in (*VALUES, *SECRETS, *PRIVATE, *uids):
        assert [name for name, text in made.items() if word in text] == [], word
    assert all(UID.search(text) is None for text in made.values())


def test_the_bundle_says_what_helps(tmp_path: Path) -> None:
    troubled_installation(tmp_path).close()
    made = bundle(tmp_path)
    store = json.loads(made["store.json"])
    assert store["ledger"]["balanced"]
    assert store["jobs"]["QUARANTINED"] == 1
    assert store["outbox"] == {"pacs": {"PENDING": 1}, "research": {"QUARANTINED": 1}}
    assert store["series_held"] == 1
    codes = {(row["code"], row["destination"]): row["count"] for row in json.loads(made["errors.json"])}
    assert codes[("bug-ValueError", None)] == 1
    assert codes[("object-refused", "pacs")] == 1
    assert 'medsam2d_jobs{state="quarantined"} 1.0' in made["metrics.txt"]
    assert json.loads(made["audit.json"])["records"]["audit-log-read"] == 1
    assert json.loads(made["disk.json"])["spool"]["files"] == 6
    assert len(json.loads(made["rules.json"])[str(tmp_path / "rules.yaml")]) == 64
    settings = json.loads(made["configuration.json"])
    assert settings["listener"]["peers"][0] == {
        "ae_title": "CT7", "networks": ["(hidden)"], "rights": ["echo", "store", "commit"], "maximum_associations": None,
        "certificate_sha256": [],
    }  # fmt: skip
    assert {answer["question"] for answer in json.loads(made["check.json"])} >= {"packages", "rules", "store", "destination pacs"}
    assert "torch 2." in made["packages.txt"]
    assert json.loads(made["machine.json"])["processors"] >= 1


def test_the_manifest_lists_every_other_file_with_its_hash_and_what_is_left_out(tmp_path: Path) -> None:
    troubled_installation(tmp_path).close()
    made = bundle(tmp_path)
    manifest = json.loads(made["manifest.json"])
    assert {one["name"] for one in manifest["holds"]} == made.keys() - {"manifest.json"}
    assert all(one["complete"] for one in manifest["holds"])
    assert {one["name"]: one["bytes"] for one in manifest["holds"]} == {
        name: len(text.encode()) for name, text in made.items() if name != "manifest.json"
    }
    assert manifest["left_out"] == LEFT_OUT


def test_a_store_that_cannot_be_opened_is_said_inside_and_the_rest_is_there(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"this was a database once" * 100)
    made = bundle(tmp_path)
    for name in ("store.json", "errors.json", "metrics.txt"):
        assert made[name].startswith("not available: [store-unavailable] the store sqlite:///"), made[name]
    missing = {one["name"] for one in json.loads(made["manifest.json"])["holds"] if not one["complete"]}
    assert missing == {"store.json", "errors.json", "metrics.txt"}
    assert "(hidden)" in made["configuration.json"]


def test_a_store_of_a_newer_version_is_said_inside(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    with site.store.database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (9999123123, '2099-01-01 00:00:00')")
    site.store.close()
    assert "not available: [store-too-new]" in bundle(tmp_path)["store.json"]


def test_a_configuration_that_cannot_be_used_still_gives_versions_and_what_check_says_of_it(tmp_path: Path) -> None:
    made = bundle(tmp_path, "ae_titel: MEDSAM2D\n")
    assert "did you mean" in made["check.json"]
    assert "python 3." in made["packages.txt"]
    assert made["store.json"] == "not available: [config-error] the configuration cannot be used; check.json says why\n"


def test_an_audit_trail_that_was_changed_is_said_with_file_and_line(tmp_path: Path) -> None:
    troubled_installation(tmp_path).close()
    (path,) = sorted((tmp_path / "audit").glob("audit-*.jsonl"))[-1:]
    path.write_bytes(path.read_bytes().replace(b'"event":"', b'"event":"x', 1))
    said = json.loads(bundle(tmp_path)["audit.json"])
    assert (said["whole"], said["file"], said["line"]) == (False, path.name, 1)


def test_a_bundle_overwrites_nothing(tmp_path: Path) -> None:
    bundle(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "support.tar.gz")])
    assert "expected a file that does not exist yet" in str(done.exception)


def test_a_fault_of_the_software_in_one_part_costs_that_part_alone_and_quotes_nothing(tmp_path: Path) -> None:
    def faulty() -> str:
        raise KeyError(PLANTED["PatientName"])

    def unreadable() -> str:
        return Path(tmp_path, "1.2.840.113619.2.55.3.604688.77").read_text()

    parts = (
        Part(name="a", holds="", make=faulty),
        Part(name="b", holds="", make=unreadable),
        Part(name="c", holds="", make=lambda: "1.2.3.4.5.6.7 on 192.0.2.1, version 1.2.3.4"),
    )
    made = write_bundle(parts, tmp_path / "out.tar.gz", START)
    assert [one.complete for one in made] == [False, False, True]
    read = content(tmp_path / "out.tar.gz")
    assert (read["a"], read["b"]) == (
        "not available: [bug-KeyError] \n",
        "not available: [transient-FileNotFoundError] No such file or directory\n",
    )
    assert read["c"] == "(UID) on 192.0.2.1, version 1.2.3.4\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://medsam2d:s3cret@db.example/medsam2d", "postgresql://medsam2d:***@db.example/medsam2d"),
        ("postgresql://db.example/medsam2d?password=s3cret", "postgresql://db.example/medsam2d"),
        ("no url s3cret", "(hidden)"),
    ],
)
def test_the_address_of_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_secret_can_stand_nowhere_in_the_schema_but_in_files_and_the_addresses_that_are_hidden() -> None:
    """Who adds a setting with such a name decides here, and in `daemon.shown_settings`, whether others may see it."""
    sections = {"Config": json_schema(), **json_schema()["$defs"]}
    names = {f"{section}.{name}" for section, own in sections.items() for name in own.get("properties", {})}
    risky = {name for name in names if re.search(r"(password|secret|token|credential|key|url)", name.split(".")[1], re.IGNORECASE)}
    assert risky == {
        "DestinationTls.key_file", "EmailChannel.credentials_file", "StoreSettings.url", "StowDestination.credentials_file",
        "StowDestination.url", "TlsSection.private_key", "WebSettings.token_file", "WebhookChannel.credentials_file", "WebhookChannel.url",
    }  # fmt: skip


def test_the_schema_version_is_that_of_the_newest_migration(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.store.record_instance(instance(1))
    (waiting,) = site.store.waiting_series()
    site.store.complete_series(waiting)
    site.store.skip(claimed(site), ["no rule"])
    site.store.close()
    store = json.loads(bundle(tmp_path)["store.json"])
    assert store["schema_version"] == store["newest_schema_version_known"] > 0
    assert store["ledger"]["skipped"] == 1
