"""Chaos points: named places in the code where a test may kill the process, to prove that nothing is lost there.

`reach("delivery.store-response-received")` does nothing unless the environment names that point:

    MEDSAM2D_KILL_AT=POINT[:N][,POINT[:N]...]   kill -9 this process when it reaches the point for the N-th time (default 1)
    MEDSAM2D_KILL_ONCE=FOLDER                   each point kills once only, whatever restarts: a file in FOLDER remembers it

Only tests set these. Whoever can set the environment of the service can end it anyway.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

KILL_AT, KILL_ONCE = "MEDSAM2D_KILL_AT", "MEDSAM2D_KILL_ONCE"


def end_process() -> None:
    """End this process as a power cut would: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(kw_only=True)
class ChaosPoints:
    """Which points kill, at which visit, and how often they have been visited."""

    deadly: Mapping[str, int]
    """Point -> at which visit of this process, from 1."""
    memory: Path | None
    """A folder in which a point that has killed leaves a file, so that it kills no more."""
    end: Callable[[], None] = end_process
    _visits: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, point: str) -> None:
        """Visit a point; may not return."""
        if point not in self.deadly:
            return
        with self._lock:
            self._visits[point] = self._visits.get(point, 0) + 1
            due = self._visits[point] == self.deadly[point]
        if due and self._is_first(point):
            self.end()

    def _is_first(self, point: str) -> bool:
        if self.memory is None:
            return True
        try:
            (self.memory / point).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def read_points(environment: Mapping[str, str]) -> ChaosPoints:
    """Return what the environment asks for; raises ValueError where a visit is no number."""
    deadly: dict[str, int] = {}
    for word in filter(None, environment.get(KILL_AT, "").split(",")):
        point, _, visit = word.partition(":")
        deadly[point.strip()] = int(visit or 1)
    memory = environment.get(KILL_ONCE)
    return ChaosPoints(deadly=deadly, memory=Path(memory) if memory else None)


reach: Callable[[str], None] = read_points(os.environ).reach
"""Visit a point of this process; does nothing unless a test's environment names it."""
