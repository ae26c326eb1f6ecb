"""What rules say of who sent, of annotations, of shadow and of the hour, through the real store to the worker and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from daemon.audit_chain import records
from daemon.commands.jobs import _details
from daemon.commands.status import as_one_line
from daemon.database.outbox_rows import OutboxState
from daemon.evidence import gatherer
from daemon.ledger import ledger
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, Priority, StoreSettings, Terms
from daemon.summary import summary
from dicom_io.received import StoreOutcome
from rules.load import load_rules
from rules.off_peak import OffPeak
from rules.rule import RuleSet
from tests.component.store_site import Site as StoreSite
from tests.component.store_site import arrivals, instance, new_site, worker
from tests.component.test_segment_annotations import EchoModel
from tests.component.test_worker import RULES, Site, bright, images, received
from tests.component.test_worker_annotations import drawn, send
from tests.unit.dicom_io.ct_files import write_volume

__all__ = ["images"]

NIGHT = OffPeak(start="20:00", end="06:00").model_dump_json()
AHEAD = timezone(timedelta(hours=2))
"""The clock on the wall is two hours ahead of UTC: the night begins at 18:00 UTC."""


@pytest.fixture
def store_site(tmp_path: Path) -> StoreSite:
    return new_site(tmp_path, StoreSettings(local_time=lambda moment: moment.astimezone(AHEAD)))


def queue(site: StoreSite, series: str, *, off_peak: str | None = None, priority: Priority = Priority.ROUTINE) -> int:
    site.store.record_instance(instance(1, site.clock(), series=series))
    job = site.store.complete_series(site.store.waiting_series()[-1], priority, terms=Terms(off_peak=off_peak))
    assert job is not None
    return job.id


def at(site: StoreSite, hour: int, minute: int = 0, day: int = 5) -> None:
    site.clock.now = datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def test_a_job_waits_for_its_window_by_the_clock_on_the_wall_and_others_pass_it(store_site: StoreSite) -> None:
    at(store_site, 12)
    nightly = queue(store_site, "1.1", off_peak=NIGHT)
    assert store_site.store.next_job_at() == datetime(2026, 1, 5, 18, tzinfo=UTC)
    assert store_site.store.claim_job(worker()) is None
    daily = queue(store_site, "1.2", priority=Priority.REPROCESS)
    claimed = store_site.store.claim_job(worker())
    assert claimed is not None
    assert claimed.id == daily
    at(store_site, 18)
    claimed = store_site.store.claim_job(worker())
    assert claimed is not None
    assert claimed.id == nightly


def test_a_job_that_missed_its_window_waits_for_the_next_and_then_goes_before_younger_ones(store_site: StoreSite) -> None:
    at(store_site, 12)
    old = queue(store_site, "1.1", off_peak=NIGHT)
    at(store_site, 5, 30, day=6)  # 07:30 on the wall: the night went by without a free worker
    assert store_site.store.claim_job(worker()) is None
    assert store_site.store.job(old).run_at == datetime(2026, 1, 6, 18, tzinfo=UTC)
    at(store_site, 19, day=6)
    queue(store_site, "1.2")
    claimed = store_site.store.claim_job(worker())
    assert claimed is not None
    assert claimed.id == old


def test_a_person_who_asks_for_a_job_need_not_wait_for_its_window(store_site: StoreSite) -> None:
    at(store_site, 12)
    nightly = queue(store_site, "1.1", off_peak=NIGHT)
    store_site.store.cancel(nightly)
    store_site.store.release(nightly)
    claimed = store_site.store.claim_job(worker())
    assert claimed is not None
    assert claimed.id == nightly


BY_SENDER = """\
rules:
  - {{name: emergency, match: {{called_ae_title: AI_STAT}}, priority: stat, {rest}}}
  - {{name: ward, match: {{source_address: 10.2.0.0/16}}, off_peak: {{start: "20:00", end: "06:00"}}, {rest}}}
"""
REST = """destinations: [], targets: [{label: Liver, category: AnatomicalStructure, window: {low: -160, high: 240},
    type: {value: "10200004", scheme: SCT, meaning: Liver}, prompt: {kind: threshold, low: 100}}]"""


def test_called_title_and_source_address_reach_the_rules_through_the_store(tmp_path: Path, store_site: StoreSite, images: Path) -> None:
    (tmp_path / "rules.yaml").write_text(BY_SENDER.format(rest=REST))
    ruleset = load_rules([tmp_path / "rules.yaml"])
    files = sorted(images.iterdir())
    senders = {"1.1": ("AI_STAT", "192.0.2.1"), "1.2": ("AI", "10.2.7.9"), "1.3": ("AI", "192.0.2.1")}
    at(store_site, 12)
    for uid, (called, address) in senders.items():
        for number, path in enumerate(files):
            arrived = instance(number, store_site.clock(), series=uid)
            sent = replace(arrived, path=path, called_ae_title=called, peer_address=address, sop_instance_uid=f"{uid}.{number}")
            store_site.store.record_instance(sent)
    store_site.clock.forward(60)
    look = arrivals(store_site.store, store_site.clock)
    look.evidence = gatherer(store_site.store, lambda: ruleset, lambda _series: None)
    jobs = {job.series_instance_uid: job for job in look.step()}
    assert {uid: (job.called_ae_title, job.source_address) for uid, job in jobs.items()} == senders
    assert {uid: job.priority for uid, job in jobs.items()} == {
        "1.1": Priority.STAT,
        "1.2": Priority.ROUTINE,
        "1.3": Priority.ROUTINE,
    }
    assert [uid for uid, job in jobs.items() if job.off_peak] == ["1.2"]


def test_results_in_shadow_are_kept_and_audited_and_leave_once_the_rule_is_live(tmp_path: Path, images: Path) -> None:
    shadow = RULES.replace("    destinations:", "    shadow: true\n    destinations:")
    site = Site(tmp_path, bright, images, shadow)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.error_code) == (JobState.SKIPPED, "shadow")
    assert site.store.due_destinations() == ()
    assert {entry.state for entry in site.store.deliveries_of(job)} == {OutboxState.SHADOW}
    assert len(list((tmp_path / "results").glob("*.dcm"))) == 2
    created, skipped = records(site.audit_folder)
    assert (created.event, created.details["shadow"], skipped.event) == ("segmentation-created", True, "job-skipped")
    assert str(_details(site.store, job)["results"]).count("to archive: SHADOW") == 2
    assert '"shadow": 1' in as_one_line(summary(site.store), ledger(site.store))
    assert ledger(site.store).balanced
    (tmp_path / "rules.yaml").write_text(RULES)
    site.worker.ruleset = load_rules([tmp_path / "rules.yaml"])
    site.store.release(job.id)
    site.worker.work_once()
    assert site.state() is JobState.DELIVERING
    assert site.store.due_destinations() == ("archive",)


def test_a_rule_in_shadow_runs_beside_the_live_one_and_takes_nothing_from_it(tmp_path: Path, images: Path) -> None:
    trial = RULES.replace("name: box", "name: trial").replace("    destinations:", "    shadow: true\n    destinations:")
    site = Site(tmp_path, bright, images, trial + RULES.removeprefix("rules:\n"))
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert job.state is JobState.DELIVERING
    assert sorted(entry.state for entry in site.store.deliveries_of(job)) == ["PENDING", "PENDING", "SHADOW", "SHADOW"]
    made = [(record.details["rule"], record.details.get("shadow", False)) for record in records(site.audit_folder)]
    assert sorted(made) == [("box", False), ("trial", True)]


def test_a_rule_in_shadow_without_destinations_is_seen_as_such_too(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("destinations: [archive]", "shadow: true\n    destinations: []"))
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert [entry.destination for entry in site.store.deliveries_of(job)] == ["none", "none"]
    assert job.error_code == "shadow"


def test_a_rule_may_ask_for_annotations_which_may_come_later(tmp_path: Path) -> None:
    write_volume(tmp_path / "images", "oblique")
    rules = RULES.replace("{Modality: CT}", '{has_annotations: "true"}')
    site = Site(tmp_path, bright, tmp_path / "images", rules)
    site.worker.models = EchoModel()  # type: ignore[assignment]
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.error_message) == (
        JobState.SKIPPED,
        "rule 'box': has_annotations: expected 'true', got 'false'",
    )
    send(site, tmp_path, drawn(tmp_path))
    while site.worker.work_once():
        pass
    skipped, of_annotations, again = site.store.jobs()
    assert (skipped.state, skipped.superseded_by) == (JobState.SKIPPED, again.id)
    assert (of_annotations.state, again.state) == (JobState.SKIPPED, JobState.DELIVERING)


def test_the_watch_for_complete_series_sees_annotations_too(tmp_path: Path) -> None:
    write_volume(tmp_path / "images", "oblique")
    rules = RULES.replace("{Modality: CT}", '{has_annotations: "true"}').replace("    targets", "    priority: stat\n    targets")
    (tmp_path / "stat.yaml").write_text(rules)
    ruleset: RuleSet = load_rules([tmp_path / "stat.yaml"])
    site = new_site(tmp_path)
    receiver = Receiver(Spool(tmp_path / "spool", 0, site.clock), site.store.record_instances)
    for path in [*sorted((tmp_path / "images").iterdir()), drawn(tmp_path)]:
        assert receiver.receive(received(path)) is StoreOutcome.SUCCESS
    site.clock.forward(60)
    look = arrivals(site.store, site.clock)
    look.evidence = gatherer(site.store, lambda: ruleset, lambda _series: None)
    assert sorted(job.priority for job in look.step()) == [Priority.STAT, Priority.ROUTINE]
