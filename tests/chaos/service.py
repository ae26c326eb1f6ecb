"""The service under chaos: its processes by role, ended by kill -9, by a named point, or all at once as by a power cut."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from daemon.chaos_points import KILL_AT, KILL_ONCE
from tests.e2e.harness import MEDSAM2D, Running, Site, serving

POINTS = (
    "receiver.bytes-durable",
    "receiver.named",
    "receiver.names-durable",
    "receiver.recorded",
    "arrivals.queued",
    "worker.claimed",
    "worker.segmented",
    "file.bytes-durable",
    "file.named",
    "worker.results-durable",
    "worker.audited",
    "worker.finished",
    "delivery.claimed",
    "delivery.store-request-sent",
    "delivery.store-response-received",
    "delivery.stored-kept",
    "delivery.commitment-begun",
    "delivery.commitment-request-sent",
    "delivery.commitment-response-received",
    "delivery.commitment-report-received",
    "delivery.commitment-report-kept",
    "delivery.delivered-kept",
)
"""Every named place of an image's way at which a process may end."""
ROLES = ("listener", "worker", "delivery")


@dataclass(kw_only=True)
class Service:
    """`medsam2d serve` and workers beside it, with a new choice of deadly points at each start."""

    site: Site
    draw: random.Random
    other_workers: int = 0
    points_at_once: int = 8
    starts: int = 0
    _running: ExitStack = field(default_factory=ExitStack)
    _service: Running | None = None
    _others: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *, deadly: bool = True) -> None:
        """Start everything and wait until it is ready."""
        self.starts += 1
        environment = self._deadly_points() if deadly else {}
        self._service = self._running.enter_context(serving(self.site, **environment))
        self.keep_others()

    def stop(self) -> None:
        """Ask everything to end in good order."""
        for process in self._others.values():
            process.terminate()
        for process in self._others.values():
            process.wait(120)
        self._others.clear()
        self._running.close()
        self._service = None

    def power_cut(self) -> None:
        """kill -9 everything at once."""
        for process in self._others.values():
            process.kill()
            process.wait(30)
        self._others.clear()
        if self._service is not None:
            self._service.kill_everything()
        self._running.close()
        self._service = None

    def processes(self) -> dict[str, list[int]]:
        """Role -> the processes of it that live now."""
        found: dict[str, list[int]] = {role: [] for role in ROLES}
        if self._service is not None:
            for pid in _children(self._service.process.pid):
                for role in ROLES:
                    if role in _command(pid):
                        found[role].append(pid)
        found["worker"] += [process.pid for process in self._others.values() if process.poll() is None]
        return found

    def signal(self, role: str, number: int) -> int | None:
        """Send a signal to a process of a role, and return which; None where none lives at this moment."""
        living = self.processes()[role]
        if not living:
            return None
        pid = self.draw.choice(living)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return pid
        return None

    def kill(self, role: str) -> bool:
        """kill -9 one process of a role; say whether there was one."""
        return self.signal(role, signal.SIGKILL) is not None

    def keep_others(self) -> None:
        """Start the workers beside the service that have ended, as a service manager does."""
        for number in range(self.other_workers):
            process = self._others.get(number)
            if process is None or process.poll() is not None:
                with (self.site.folder / f"worker-{number}.log").open("ab") as log:
                    command = [*MEDSAM2D, "worker", "--config", str(self.site.config)]
                    self._others[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def points_hit(self) -> list[str]:
        """The named points at which a process ended, once for each time."""
        return sorted(path.name for path in (self.site.folder / "points").glob("*/*"))

    def _deadly_points(self) -> dict[str, str]:
        memory = self.site.folder / "points" / f"{self.starts:03d}"
        memory.mkdir(parents=True)
        chosen = self.draw.sample(POINTS, self.points_at_once)
        return {KILL_AT: ",".join(f"{point}:{self.draw.randint(1, 4)}" for point in chosen), KILL_ONCE: str(memory)}


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _command(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []
