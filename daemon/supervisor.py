"""The small parent of listener, worker and delivery: starts them, restarts what dies, and stops them in order.

A CUDA fault, an out-of-memory kill or a heavy decode ends one child, never the receiver. A child that ends with exit code 2
met a configuration fault: restarting cannot cure it, so everything stops with that code and the child's own message.
Side roles (status page, notifications) are not worth that: no image waits for them. The service is ready without them, and one
that ends by whatever fault, or falls silent, is started again and again.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from daemon.clock import Clock, system_clock
from daemon.process_record import MOST_ENDS, RoleRecord
from daemon.systemd_notify import notify, watchdog_interval_seconds

LOG = logging.getLogger("medsam2d.supervisor")
EXIT_CONFIG = 2
RESTART_MINIMUM_SECONDS = 1.0
RESTART_MAXIMUM_SECONDS = 30.0
SILENCE_LIMIT_SECONDS = 60.0
"""A child that has said nothing for longer is not making progress; the watchdog is not fed for it."""

VOICE_LIMIT_SECONDS = 5.0
"""How long an ended child's last words are waited for."""


@dataclass(kw_only=True)
class Child:
    """One role's process and what is known of its health."""

    role: str
    process: subprocess.Popen[str] | None = None
    voice: threading.Thread | None = None
    ready: bool = False
    failures: int = 0
    start_at: float = 0.0
    heard_at: float = 0.0
    ended: list[datetime] = field(default_factory=list)
    """When it ended by itself, the latest last."""

    def running(self) -> bool:
        """Return whether the process exists and has not ended."""
        return self.process is not None and self.process.poll() is None


@dataclass(kw_only=True)
class Supervisor:
    """Keeps one child a role alive until told to stop."""

    commands: Mapping[str, Sequence[str]]
    """The command line of each role, in starting order; stopping goes the same way: the listener first, so that nothing new comes in."""
    stop: threading.Event
    on_ready: Callable[[], None]
    side_roles: Collection[str] = ()
    """Those that the service can do without."""
    record: Callable[[Mapping[str, RoleRecord]], None] = lambda roles: None
    """Told whenever a child became ready or ended."""
    now: Callable[[], float] = time.monotonic
    clock: Clock = system_clock
    drain_seconds: float = 60.0
    children: dict[str, Child] = field(default_factory=dict)
    _recorded: Mapping[str, RoleRecord] | None = None
    _announced: bool = False
    _fed_at: float = 0.0

    def run(self) -> int:
        """Supervise until stopped; return the exit code of the service."""
        self.begin()
        try:
            while not self.stop.is_set():
                code = self.step()
                if code is not None:
                    return code
                self.stop.wait(0.1)
            return 0
        finally:
            notify("STOPPING=1", "STATUS=draining")
            self._shut_down()

    def begin(self) -> None:
        """Plan the first start of every role."""
        self.children = {role: Child(role=role) for role in self.commands}

    def step(self) -> int | None:
        """Start what is due, look after what ended; return an exit code if the service cannot go on."""
        for child in self.children.values():
            if child.process is not None and not child.running():
                code = child.process.returncode
                if code == EXIT_CONFIG and child.role not in self.side_roles:
                    LOG.error("%s cannot start with this configuration; see its message above", child.role)
                    return EXIT_CONFIG
                self._plan_restart(child, code)
            if child.process is None and self.now() >= child.start_at:
                self._start(child)
            self._end_if_silent(child)
        self._announce()
        self._record()
        return None

    def hang_up(self, number: int) -> None:
        """Pass a signal (SIGHUP: reload rules) on to every running child."""
        for child in self.children.values():
            if child.running() and child.process is not None:
                child.process.send_signal(number)

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            list(self.commands[child.role]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        child.ready = False
        child.heard_at = self.now()
        child.voice = threading.Thread(target=self._listen, args=(child, child.process.stdout), name=f"{child.role}-voice", daemon=True)
        child.voice.start()

    def _end_if_silent(self, child: Child) -> None:
        """End a side role that hangs: for the others the service manager's watchdog does, and restarts everything."""
        if child.role in self.side_roles and child.running() and self.now() - child.heard_at >= SILENCE_LIMIT_SECONDS:
            LOG.error("%s has been silent for %.0f s; ending it", child.role, SILENCE_LIMIT_SECONDS)
            if child.process is not None:
                child.process.kill()
                child.process.wait()

    def _record(self) -> None:
        roles = {
            child.role: RoleRecord(ready=child.ready and child.running(), ended=tuple(child.ended)) for child in self.children.values()
        }
        if roles == self._recorded:
            return
        self._recorded = roles
        try:
            self.record(roles)
        except OSError as error:
            LOG.warning("the record of processes is not kept (%s)", error.strerror)

    def _listen(self, child: Child, voice: IO[str] | None) -> None:
        for line in voice or ():
            child.heard_at = self.now()
            if line.startswith("ready"):
                child.ready = True
                child.failures = 0
                LOG.info("%s %s", child.role, line.strip())

    def _plan_restart(self, child: Child, code: int) -> None:
        _let_go(child)
        pause = min(RESTART_MAXIMUM_SECONDS, RESTART_MINIMUM_SECONDS * 2**child.failures)
        child.failures += 1
        child.ended = [*child.ended, self.clock()][-MOST_ENDS:]
        child.start_at = self.now() + pause
        LOG.error("%s ended with code %d; starting it again in %.0f s", child.role, code, pause)

    def _announce(self) -> None:
        needed = [child for child in self.children.values() if child.role not in self.side_roles]
        everyone = all(child.ready for child in needed)
        if everyone and not self._announced:
            self._announced = True
            notify("READY=1", "STATUS=receiving")
            self.on_ready()
        interval = watchdog_interval_seconds()
        if not self._announced or interval is None or self.now() - self._fed_at < interval / 2:
            return
        heard = all(child.running() and self.now() - child.heard_at < SILENCE_LIMIT_SECONDS for child in needed)
        if heard:
            self._fed_at = self.now()
            notify("WATCHDOG=1")

    def _shut_down(self) -> None:
        for child in self.children.values():
            if child.process is not None and child.running():
                child.process.terminate()
        deadline = self.now() + self.drain_seconds
        for child in self.children.values():
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - self.now()))
            except subprocess.TimeoutExpired:
                LOG.error("%s did not stop within %.0f s; ending it (its work is kept in the store)", child.role, self.drain_seconds)
                child.process.kill()
                child.process.wait()
        for child in self.children.values():
            _let_go(child)


def _let_go(child: Child) -> None:
    """Close both ends of an ended child's pipes and forget it; its voice thread ends with the stream."""
    if child.voice is not None:
        child.voice.join(VOICE_LIMIT_SECONDS)
    if child.process is not None:
        for stream in (child.process.stdin, child.process.stdout):
            if stream is not None:
                stream.close()
    child.process, child.voice, child.ready = None, None, False
