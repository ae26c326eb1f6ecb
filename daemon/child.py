"""The life of a child process: how it tells that it is ready and alive, and how it learns that it must stop.

A child stops on SIGTERM or SIGINT, and, when supervised, as soon as its standard input ends: the supervisor holds the other
end, so that a supervisor that was killed outright takes its children with it instead of leaving them on the port.
Towards the supervisor it writes one word a line on standard output: `ready <text>` once, then `alive` while it makes progress.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from daemon.errors import Transient

LOG = logging.getLogger("medsam2d.loop")


@dataclass(kw_only=True)
class Life:
    """Stop and reload requests for this process, and its voice towards the supervisor."""

    supervised: bool
    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Install the signal handlers and, when supervised, watch standard input for its end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self.reload.set())
        if self.supervised:
            threading.Thread(target=self._watch_supervisor, name="supervisor-watch", daemon=True).start()

    def ready(self, text: str) -> None:
        """Tell the supervisor (or the person at the terminal) that the work can begin."""
        self._say(f"ready {text}")

    def alive(self) -> None:
        """Tell the supervisor that the work makes progress; says nothing at a terminal."""
        if self.supervised:
            self._say("alive")

    def _watch_supervisor(self) -> None:
        # The descriptor itself: a thread that waits inside sys.stdin would hold its lock when the interpreter ends.
        while os.read(0, 4096):
            pass
        self.stop.set()

    def _say(self, line: str) -> None:
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.stop.set()


def repeat(life: Life, pause_seconds: float, work: Callable[[], bool]) -> None:
    """Call `work` until stopped; pause after each call that found nothing to do, or met a passing fault of disk or database."""
    while not life.stop.is_set():
        try:
            busy = work()
        except Transient as error:
            LOG.warning("will be tried again [%s] %s", error.code, error)
            busy = False
        life.alive()
        if not busy:
            life.stop.wait(pause_seconds)
