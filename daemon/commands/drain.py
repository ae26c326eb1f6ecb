"""`medsam2d drain`: let the running jobs end and begin no other, for an update or a reboot; reception and delivery go on."""

from __future__ import annotations

import time
from collections.abc import Callable

import typer

from daemon.audit import open_audit
from daemon.commands.common import existing_store
from daemon.config import Config
from daemon.store import DRAIN, JobState, Store

POLL_SECONDS = 0.5


def drain(settings: Config, wait_seconds: float) -> int:
    """Stop the claiming of jobs and wait for those that run; return 0 if none runs any longer, 1 if the time was up first."""
    with existing_store(settings) as store:
        store.throw(DRAIN)
        open_audit(settings.folders.audit).drain(begins=True)
        running = wait_until_idle(store, wait_seconds)
    if running:
        typer.echo(f"{running} jobs still run; none begins. `medsam2d drain --off` goes on")
        return 1
    typer.echo("no job runs and none begins; instances are still received and results delivered. `medsam2d drain --off` goes on")
    return 0


def end_drain(settings: Config) -> int:
    """Let jobs be claimed again."""
    with existing_store(settings) as store:
        was_drained = store.throw_back(DRAIN)
    if was_drained:
        open_audit(settings.folders.audit).drain(begins=False)
    typer.echo("jobs begin again" if was_drained else "it was not drained")
    return 0


def wait_until_idle(
    store: Store, wait_seconds: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Wait until no job runs, or the time is up; return how many still run."""
    deadline = now() + wait_seconds
    while (running := len(store.jobs(JobState.RUNNING))) and now() < deadline:
        sleep(POLL_SECONDS)
    return running
