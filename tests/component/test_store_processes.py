"""Real processes on one database: no job runs twice at once, and none is lost to kill -9."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from daemon.clock import system_clock
from daemon.job_states import JobState
from daemon.store import LeaseLost, Store, open_store, process_is_alive, this_process
from tests.component.store_site import FakeClock, Site, instance, queued

SPAWN = multiprocessing.get_context("spawn")


def run_all(url: str, log: str) -> None:
    """Claim and end jobs until there are none; append the id of each to the log."""
    store = open_store(url, system_clock)
    while (job := store.claim_job(this_process("test"))) is not None:
        with Path(log).open("a") as stream:
            stream.write(f"{job.id}\n")
        store.heartbeat(job)
        store.skip(job, ["done"])
    store.close()


def claim_and_hang(url: str, ready: Event) -> None:
    store = open_store(url, system_clock)
    if store.claim_job(this_process("test")) is not None:
        ready.set()
    signal.pause()


def record_many(url: str, series: str, count: int) -> None:
    store = open_store(url, system_clock)
    for number in range(count):
        store.record_instance(instance(number, system_clock(), series=series))
    store.close()


def test_several_processes_run_fifty_jobs_once_each(site: Site, tmp_path: Path) -> None:
    for number in range(50):
        queued(site, series=f"1.{number}", instances=1)
    logs = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    workers = [SPAWN.Process(target=run_all, args=(site.url, str(log))) for log in logs]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    done = [int(line) for log in logs if log.exists() for line in log.read_text().split()]
    assert sorted(done) == [job.id for job in site.store.jobs(JobState.SKIPPED)]
    assert len(done) == 50


def killed_claimer(store: Store, url: str) -> int:
    """The pid of a process that claimed a job and was killed; it stays a zombie until it is waited for."""
    ready = SPAWN.Event()
    process = SPAWN.Process(target=claim_and_hang, args=(url, ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    me = this_process("test")
    assert store.recover(me.host, me.boot_id, process_is_alive) == ()
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    return process.pid


def test_the_job_of_a_killed_process_is_free_at_once_and_its_token_is_worthless(store_url: str) -> None:
    store = open_store(store_url, system_clock)
    store.record_instance(instance(1, system_clock()))
    store.complete_series(store.waiting_series()[0])
    pid = killed_claimer(store, store_url)
    (held,) = store.jobs(JobState.RUNNING)
    assert not process_is_alive(pid)
    me = this_process("test")
    (freed,) = store.recover(me.host, me.boot_id, process_is_alive)
    assert (freed.state, freed.failures) == (JobState.QUEUED, 1)
    successor = store.claim_job(me)
    assert successor is not None
    with pytest.raises(LeaseLost):
        store.skip(held, ["too late"])
    store.skip(successor, ["done"])
    store.close()


def test_processes_that_open_a_new_store_at_once_all_record_into_it(store_url: str) -> None:
    writers = [SPAWN.Process(target=record_many, args=(store_url, f"1.{number}", 20)) for number in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    store = open_store(store_url, FakeClock())
    assert len(store.waiting_series()) == 3
    assert all(store.known(instance(number, series=f"1.{series}").path) for series in range(3) for number in range(20))
    store.close()


def test_a_process_knows_itself_alive_and_an_unused_pid_dead() -> None:
    assert process_is_alive(os.getpid())
    assert not process_is_alive(2**22 + 1)
