"""Retention with real files: by age, by free space, and never before what a file led to is delivered."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.config import FolderSettings, RetentionSettings
from daemon.ledger import Ledger, ledger
from daemon.retention import MEBIBYTE, Retention
from daemon.spool import Recording
from daemon.store import InputsRemoved, JobState
from tests.component.store_site import START, Site, arrivals, claimed, instance, result, worker

DAY = 86_400.0


class Keeper:
    """A store whose instances are real files, and the retention over them."""

    def __init__(self, site: Site, free_mib: float = 100_000) -> None:
        self.site = site
        self.free_mib = free_mib
        folders = FolderSettings(state=site.folder)
        folders.spool.mkdir(exist_ok=True)
        folders.results.mkdir(exist_ok=True)
        settings = RetentionSettings(inputs_days=14, results_days=30, free_mib=4096)
        free = lambda _folder: int(self.free_mib * MEBIBYTE)  # noqa: E731
        self.retention = Retention(store=site.store, folders=folders, settings=settings, clock=site.clock, free=free)
        self.folders = folders

    def receive(self, series: str, count: int = 2) -> list[Path]:
        folder = self.folders.spool / "1.2" / series
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number in range(count):
            path = folder / f"{number}.dcm"
            path.write_bytes(b"x" * 10)
            row = replace(instance(number, self.site.clock(), series=series), path=path, bytes=MEBIBYTE)
            self.site.store.record_instance(row)
            paths.append(path)
        self.site.clock.forward(30)
        arrivals(self.site.store, self.site.clock).step()
        return paths

    def finish(self) -> Path:
        """Finish the next job with a result that is on disk and not yet delivered."""
        item = result(self.folders.results, str(claimed(self.site).id))
        (job,) = self.site.store.jobs(JobState.RUNNING)
        self.site.store.finish_with_results(job, [item])
        os.utime(item.path, (START.timestamp(), START.timestamp()))
        return item.path

    def deliver(self) -> None:
        for delivery in self.site.store.claim_deliveries(worker(), "pacs"):
            self.site.store.delivered(delivery)


@pytest.fixture
def keeper(site: Site) -> Keeper:
    return Keeper(site)


def test_pictures_of_results_go_with_the_inputs_that_they_show(keeper: Keeper) -> None:
    folder = keeper.folders.pictures
    folder.mkdir()
    for name, days in (("1-1.png", 15), ("2-1.png", 13), (".torn.part", 15)):
        (folder / name).write_bytes(b"x")
        written = (START - timedelta(days=days)).timestamp()
        os.utime(folder / name, (written, written))
    assert keeper.retention.sweep() == 2
    assert [path.name for path in folder.iterdir()] == ["2-1.png"]


def test_inputs_go_when_they_are_old_and_delivered_and_stay_in_the_books(keeper: Keeper) -> None:
    paths = keeper.receive("1.1")
    made = keeper.finish()
    keeper.site.clock.forward(20 * DAY)
    assert keeper.retention.sweep() == 0
    keeper.deliver()
    assert keeper.retention.sweep() == 2
    assert not any(path.exists() for path in paths)
    assert not paths[0].parent.exists()
    assert made.exists()
    assert ledger(keeper.site.store) == Ledger(received=2, in_results=2)
    assert keeper.retention.sweep() == 0
    keeper.site.clock.forward(11 * DAY)
    assert keeper.retention.sweep() == 1
    assert not made.exists()


@pytest.mark.parametrize("ending", ["waiting", "queued", "running", "delivering", "quarantined"])
def test_what_is_still_needed_never_goes_however_old_and_however_full_the_disk(keeper: Keeper, ending: str) -> None:
    paths = keeper.receive("1.1")
    if ending == "waiting":
        keeper.site.store.record_instance(instance(9, keeper.site.clock(), series="1.1"))
    if ending in ("running", "quarantined"):
        job = claimed(keeper.site)
        if ending == "quarantined":
            keeper.site.store.fail(job, "bug", "broken", 1)
    if ending == "delivering":
        keeper.finish()
    keeper.free_mib = 0
    keeper.site.clock.forward(1000 * DAY)
    assert keeper.retention.sweep() == 0
    assert all(path.exists() for path in paths)


def test_a_full_disk_takes_the_oldest_delivered_inputs_and_no_more_than_it_needs(keeper: Keeper) -> None:
    series = [keeper.receive(name) for name in ("1.1", "1.2", "1.3")]
    for _ in series:
        keeper.finish()
    keeper.deliver()
    keeper.site.clock.forward(60)
    keeper.free_mib = 4096 - 3
    assert keeper.retention.sweep() == 3
    assert [path.exists() for paths in series for path in paths] == [False, False, False, True, True, True]


def test_results_that_were_made_for_no_destination_are_never_removed(keeper: Keeper) -> None:
    kept = keeper.folders.results / "kept.dcm"
    kept.write_bytes(b"a result")
    os.utime(kept, (0, 0))
    keeper.retention.sweep()
    assert kept.exists()


def test_an_instance_that_comes_again_after_it_was_removed_is_removed_again_in_its_time(keeper: Keeper) -> None:
    paths = keeper.receive("1.1")
    keeper.finish()
    keeper.deliver()
    keeper.site.clock.forward(20 * DAY)
    keeper.retention.sweep()
    paths[0].parent.mkdir(parents=True)
    paths[0].write_bytes(b"x" * 10)
    again = replace(instance(0, keeper.site.clock(), series="1.1"), path=paths[0])
    assert keeper.site.store.record_instance(again) is Recording.DUPLICATE
    assert keeper.retention.sweep() == 1
    assert not paths[0].exists()


def test_a_job_whose_inputs_are_gone_is_not_tried_again_before_they_are_back(keeper: Keeper) -> None:
    keeper.receive("1.1")
    job = claimed(keeper.site)
    keeper.site.store.refuse(job, "uneven-spacing", "a gap")
    keeper.site.clock.forward(20 * DAY)
    keeper.retention.sweep()
    with pytest.raises(InputsRemoved, match="has removed 2 of its instances; send the series again"):
        keeper.site.store.release(job.id)


def test_a_sweep_is_due_every_few_minutes(keeper: Keeper) -> None:
    assert [keeper.retention.due(), keeper.retention.due()] == [True, False]
    keeper.site.clock.now += timedelta(seconds=300)
    assert keeper.retention.due()
