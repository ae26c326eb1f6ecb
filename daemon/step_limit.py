"""A limit for a single step of the model: a step that hangs takes its process with it, so that the job is tried again.

A kernel that never returns cannot be interrupted from within its process, and the heartbeat beside it would prolong the lease for
ever. So the process ends itself; the supervisor starts another, which takes the job back and counts the attempt as failed, and a
job that does so again and again is quarantined.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

LOG = logging.getLogger("medsam2d.worker")
EXIT_HUNG = 70
"""EX_SOFTWARE of sysexits.h; the supervisor starts a worker again after any code but that of a faulty configuration."""

Progress = Callable[[int, int], None]


def _end_process() -> None:
    logging.shutdown()
    os._exit(EXIT_HUNG)  # no clean-up: it would wait for the very thread that hangs


@dataclass(kw_only=True)
class StepLimit:
    """Watches the pauses between calls of `progress` from the first one until the last (done = total) or the end of the block."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    end_process: Callable[[], None] = _end_process
    _due: float | None = None
    _left: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def __enter__(self) -> StepLimit:
        """Begin to watch."""
        self._watcher = threading.Thread(target=self._watch, name="step-limit", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching."""
        self._left.set()
        if self._watcher is not None:
            self._watcher.join()

    def around(self, progress: Progress) -> Progress:
        """`progress`, with the limit counted anew after each call."""

        def watched(done: int, total: int) -> None:
            self._due = None  # what the listener does is no step
            progress(done, total)
            self._due = None if done >= total else self.now() + self.seconds

        return watched

    def check(self) -> None:
        """End the process if the present step is overdue."""
        if self._due is not None and self.now() > self._due:
            LOG.critical("a step of the model took longer than %g s: this worker ends, and its job is tried again", self.seconds)
            self.end_process()

    def _watch(self) -> None:
        while not self._left.wait(min(1.0, self.seconds / 4)):
            self.check()
