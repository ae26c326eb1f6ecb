"""`medsam2d drain`: let the running jobs end and begin no other, for an update or a reboot; reception and delivery go on."""

from __future__ import annotations

import time
from collections.abc import Callable

from daemon.audit import open_audit
from daemon.commands.common import existing_store, say
from daemon.config import Config
from daemon.store import DRAIN, JobState, Store

POLL_SECONDS = 0.5


def drain(settings: Config, wait_seconds: float, *, as_json: bool = False) -> int:
    """Stop the claiming of jobs and wait for those that run; return 0 if none runs any longer, 1 if the time was up first."""
    with existing_store(settings) as store:
        store.throw(DRAIN)
        open_audit(settings.folders.audit).drain(begins=True)
        running = wait_until_idle(store, wait_seconds)
    if running:
        words = f"{running} jobs still run; none begins. `medsam2d drain --off` goes on"
    else:
        words = "no job runs and none begins; instances are still received and results delivered. `medsam2d drain --off` goes on"
    say(words, {"drained": True, "running": running}, as_json=as_json)
    return 1 if running else 0


def end_drain(settings: Config, *, as_json: bool = False) -> int:
    """Let jobs be claimed again."""
    with existing_store(settings) as store:
        was_drained = store.throw_back(DRAIN)
    if was_drained:
        open_audit(settings.folders.audit).drain(begins=False)
    words = "jobs begin again" if was_drained else "it was not drained"
    say(words, {"drained": False, "was_drained": was_drained}, as_json=as_json)
    return 0


def wait_until_idle(
    store: Store, wait_seconds: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Wait until no job runs, or the time is up; return how many still run."""
    deadline = now() + wait_seconds
    while (running := len(store.jobs(JobState.RUNNING))) and now() < deadline:
        sleep(POLL_SECONDS)
    return running
