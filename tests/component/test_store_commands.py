"""The commands that people run on a store: what they print, what they change, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from daemon.audit_chain import records, verify
from daemon.cli import app
from daemon.commands.drain import wait_until_idle
from daemon.ledger import ledger
from daemon.store import ConflictVerdict, JobState, open_store
from tests.component.store_site import FakeClock, Site, claimed, instance, new_site, queued, result, url_of, worker


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A store on SQLite, and the command line that is pointed at it."""
    made = Desk(tmp_path)
    yield made
    made.site.store.close()


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        (folder / "config.yaml").write_text(f"folders: {{state: {json.dumps(str(self.state))}}}\nstore: {{url: '{url_of(folder)}'}}\n")
        self.site: Site = new_site(folder)

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(self.folder / "config.yaml")])

    def told(self, *arguments: str) -> str:
        done = self.call(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def events(self) -> list[str]:
        assert verify(self.state / "audit") is None
        return [record.event for record in records(self.state / "audit")]

    def stored(self, number: int, *, series: str = "1.2.3", content: str = "") -> Path:
        """Receive an instance whose file exists."""
        path = self.state / "spool" / f"{series}.{number}{content}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{number}{content}".encode())
        self.site.store.record_instance(replace(instance(number, self.site.clock(), series=series, content=content), path=path))
        return path

    def job(self, series: str = "1.2.3") -> int:
        self.stored(1, series=series)
        (waiting,) = self.site.store.waiting_series()
        made = self.site.store.complete_series(waiting)
        assert made is not None
        return made.id


def test_tables_cut_nothing_off_where_their_output_goes_into_a_pipe(desk: Desk) -> None:
    series = "1.2.826.0.1.3680043.8.498." + "1234567890" * 3
    desk.job(series=series)
    assert series in desk.told("jobs", "list")
    assert all(word in desk.told("ledger") for word in ("quarantined", "unexplained"))


def test_the_ledger_prints_one_line_of_json_in_which_nothing_is_unexplained(desk: Desk) -> None:
    queued(desk.site, instances=3)
    assert json.loads(desk.told("ledger", "--json")) == {
        "received": 3, "in_results": 0, "skipped": 0, "refused": 0, "quarantined": 0, "waiting": 3, "unexplained": 0,
    }  # fmt: skip
    assert "every acknowledged instance is accounted for" in desk.told("ledger")


def test_the_ledger_by_day_and_source_adds_up_to_the_whole(desk: Desk) -> None:
    queued(desk.site, instances=2, series="1.1")
    desk.site.clock.forward(86_400)
    desk.site.store.record_instance(replace(instance(1, desk.site.clock(), series="1.2"), calling_ae_title="OTHER"))
    lines = json.loads(desk.told("ledger", "--by-day", "--json"))
    assert [(line["day"], line["source"], line["received"]) for line in lines] == [("2026-01-03", "OTHER", 1), ("2026-01-02", "SCANNER", 2)]
    assert sum(line["waiting"] for line in lines) == ledger(desk.site.store).waiting == 3


def test_an_unexplained_instance_is_exit_code_1(desk: Desk) -> None:
    queued(desk.site)
    with desk.site.store.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM job_instance WHERE instance_id = 1")
    done = desk.call("ledger")
    assert done.exit_code == 1
    assert "NOT BALANCED" in done.stdout


def test_a_job_is_shown_with_its_results_and_instances(desk: Desk) -> None:
    number = desk.job()
    desk.site.store.finish_with_results(claimed(desk.site), [result(desk.folder)])
    shown = json.loads(desk.told("jobs", "show", str(number), "--json"))
    assert shown["results"] == ["2.25.1 to pacs: PENDING"]
    assert shown["instances"] == [str(desk.state / "spool" / "1.2.3.1.dcm")]
    assert (shown["priority"], shown["superseded_by"]) == ("routine", None)
    assert "DELIVERING" in desk.told("jobs", "show", str(number))
    assert [row["id"] for row in json.loads(desk.told("jobs", "list", "--study", "1.2", "--json"))] == [number]
    assert json.loads(desk.told("jobs", "list", "--study", "9.9", "--json")) == []


def test_a_refused_job_is_tried_again_and_then_cancelled_and_both_are_audited(desk: Desk) -> None:
    number = desk.job()
    desk.site.store.refuse(claimed(desk.site), "uneven-spacing", "a gap")
    assert json.loads(desk.told("jobs", "list", "--state", "REFUSED", "--json"))[0]["error_code"] == "uneven-spacing"
    assert desk.told("jobs", "retry", str(number)).strip() == f"job {number}: QUEUED"
    assert desk.told("jobs", "cancel", str(number)).strip() == f"job {number}: CANCELLED"
    assert desk.events() == ["job-released", "job-cancelled"]
    refused = desk.call("jobs", "cancel", str(number))
    assert "a job that is CANCELLED cannot cancel" in str(refused.exception)


def test_the_quarantine_lists_jobs_and_instances_and_releases_both(desk: Desk) -> None:
    number = desk.job()
    desk.site.store.fail(claimed(desk.site), "bug-KeyError", "Traceback\nKeyError: 'x'", 1)
    desk.stored(1, content="other")
    (conflict,) = desk.site.store.conflicts()
    desk.site.store.conclude(conflict.id, ConflictVerdict.PIXELS_CHANGED)
    rows = json.loads(desk.told("quarantine", "list", "--json"))
    assert [row["name"] for row in rows] == [f"job:{number}", f"instance:{conflict.id}"]
    assert "KeyError: 'x'" in rows[0]["reason"]
    assert rows[1]["reason"].startswith("[pixels-changed]")
    desk.told("quarantine", "release", f"job:{number}")
    desk.told("quarantine", "release", f"instance:{conflict.id}")
    assert json.loads(desk.told("quarantine", "list", "--json")) == []
    assert desk.site.store.job(number).state is JobState.SUPERSEDED
    assert desk.events() == ["job-released", "instance-conflict-examined"]


def test_all_quarantined_instances_of_a_series_are_released_at_once(desk: Desk) -> None:
    for number in (1, 2):
        desk.stored(number)
        desk.stored(number, content="other")
    assert desk.told("quarantine", "release", "series:1.2.3").strip() == "series:1.2.3: 2 instances released"
    assert desk.site.store.conflicts() == ()
    (waiting,) = desk.site.store.waiting_series()
    assert [path.name for path in desk.site.store.series_paths(waiting)] == ["1.2.3.1other.dcm", "1.2.3.2other.dcm"]


@pytest.mark.parametrize("name", ["7", "job:x", "study:7", "job:99", "instance:99", "series:9.9"])
def test_what_is_not_quarantined_is_refused_in_words(desk: Desk, name: str) -> None:
    done = desk.call("quarantine", "release", name)
    assert done.exit_code != 0
    assert "expected" in str(done.exception) or "is quarantined; `medsam2d" in str(done.exception)


def test_an_export_holds_both_contents_and_the_reason_and_overwrites_nothing(desk: Desk) -> None:
    desk.stored(1)
    desk.stored(1, content="other")
    out = desk.folder / "export"
    desk.told("quarantine", "export", "instance:2", str(out))
    assert [path.read_bytes() for path in sorted(out.glob("*.dcm"))] == [b"1", b"1other"]
    assert json.loads((out / "reason.json").read_text())["name"] == "instance:2"
    assert out.stat().st_mode & 0o077 == 0
    assert "does not exist yet" in str(desk.call("quarantine", "export", "instance:2", str(out)).exception)
    assert desk.events() == ["quarantine-exported"]


def test_a_drained_store_gives_out_no_job_until_the_drain_ends(desk: Desk) -> None:
    queued(desk.site)
    assert "none begins" in desk.told("drain", "--wait-seconds", "0")
    assert desk.site.store.claim_job(worker()) is None
    assert "DRAINED since 2" in desk.told("status")
    assert desk.told("drain", "--off").strip() == "jobs begin again"
    assert desk.told("drain", "--off").strip() == "it was not drained"
    claimed(desk.site)
    assert desk.call("drain", "--wait-seconds", "0").exit_code == 1
    assert desk.events() == ["drain-begun", "drain-ended", "drain-begun"]


def test_the_status_says_which_series_are_held_and_why(desk: Desk) -> None:
    desk.stored(1)
    (waiting,) = desk.site.store.waiting_series()
    desk.site.store.hold_series(waiting, "1 of 3 instances that the rule expects")
    assert "series held: 1 (1 of 3 instances that the rule expects)" in desk.told("status")
    assert json.loads(desk.told("status", "--json"))["series_held"] == {"1 of 3 instances that the rule expects": 1}


def test_the_drain_waits_for_the_running_job(desk: Desk) -> None:
    queued(desk.site)
    job = claimed(desk.site)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            desk.site.store.skip(job, ["done"])

    assert wait_until_idle(desk.site.store, 60, now=lambda: 0.0, sleep=sleep) == 0
    assert len(waits) == 3


def test_a_backup_holds_what_is_needed_to_go_on(desk: Desk) -> None:
    settled = desk.stored(1, series="1.1")
    (waiting,) = desk.site.store.waiting_series()
    desk.site.store.complete_series(waiting)
    desk.site.store.skip(claimed(desk.site), ["no rule"])
    desk.job(series="1.2")
    desk.stored(9, series="1.3")
    desk.told("drain", "--wait-seconds", "0")
    out = desk.folder / "backup"
    desk.told("backup", str(out))
    kept = {path.name for path in (out / "files" / "spool").iterdir()}
    assert kept == {"1.2.1.dcm", "1.3.9.dcm"}
    assert settled.name not in kept
    assert verify(out / "audit") is None
    assert json.loads((out / "backup.json").read_text())["state"] == str(desk.state)
    with closing(open_store(f"sqlite:///{out / 'store.sqlite'}", FakeClock())) as copy:
        assert ledger(copy) == ledger(desk.site.store)
    assert desk.call("backup", str(out)).exit_code != 0


def test_a_backup_of_the_database_alone_has_no_images(desk: Desk) -> None:
    desk.stored(1)
    desk.told("backup", str(desk.folder / "small"), "--database-only")
    assert not (desk.folder / "small" / "files").exists()
    assert (desk.folder / "small" / "store.sqlite").exists()


def test_what_a_command_changed_is_told_as_one_line_of_json_too(desk: Desk) -> None:
    def told(*arguments: str) -> dict[str, object]:
        (line,) = desk.told(*arguments, "--json").splitlines()
        said: dict[str, object] = json.loads(line)
        return said

    number = desk.job()
    desk.site.store.refuse(claimed(desk.site), "uneven-spacing", "a gap")
    assert (told("jobs", "retry", str(number))["id"], desk.site.store.job(number).state) == (number, JobState.QUEUED)
    assert told("jobs", "cancel", str(number))["state"] == "CANCELLED"
    other = desk.job(series="1.4")
    desk.site.store.fail(claimed(desk.site), "bug-KeyError", "KeyError: 'x'", 1)
    desk.stored(1, content="other")
    exported = told("quarantine", "export", "instance:3", str(desk.folder / "export"))
    assert (exported["folder"], exported["instances"], exported["name"]) == (str(desk.folder / "export"), 2, "instance:3")
    assert told("quarantine", "release", f"job:{other}") == {"name": f"job:{other}", "jobs": 1, "instances": 0}
    assert told("quarantine", "release", "instance:3") == {"name": "instance:3", "jobs": 0, "instances": 1}
    assert told("deliveries", "release") == {"destination": None, "released": 0}
    assert told("drain", "--wait-seconds", "0") == {"drained": True, "running": 0}
    assert told("drain", "--off") == {"drained": False, "was_drained": True}
    backup = told("backup", str(desk.folder / "backup"))
    assert backup["folder"] == str(desk.folder / "backup")
    assert isinstance(backup["files"], int)
    verified = told("audit", "verify")
    assert (verified["whole"], verified["records"]) == (True, len(desk.events()))
    assert told("audit", "export", str(desk.folder / "messages"))["folder"] == str(desk.folder / "messages")


def test_a_broken_trail_is_told_as_json_with_file_and_line(desk: Desk) -> None:
    desk.told("drain", "--wait-seconds", "0")
    (path,) = (desk.state / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"drain-begun", b"drain-ended"))
    done = desk.call("audit", "verify", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert (said["whole"], said["file"], said["line"]) == (False, str(path), 1)
