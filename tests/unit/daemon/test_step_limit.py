"""The limit of a single step: what counts as one, and that a hung one ends its process."""

from __future__ import annotations

import subprocess
import sys

from daemon.step_limit import EXIT_HUNG, StepLimit


class Site:
    """A limit of ten seconds with a clock that the test turns, and a process whose end is only noted."""

    def __init__(self) -> None:
        self.time, self.ended = 0.0, 0
        self.limit = StepLimit(seconds=10, now=lambda: self.time, end_process=self._end)
        self.heard: list[tuple[int, int]] = []
        self.progress = self.limit.around(lambda done, total: self.heard.append((done, total)))

    def ends_after(self, seconds: float) -> bool:
        self.time += seconds
        before = self.ended
        self.limit.check()
        return self.ended > before

    def _end(self) -> None:
        self.ended += 1


def test_a_step_within_the_limit_may_follow_another_for_ever() -> None:
    site = Site()
    for done in range(5):
        site.progress(done, 5)
        assert not site.ends_after(9)
    assert site.heard == [(done, 5) for done in range(5)]


def test_a_step_beyond_the_limit_ends_the_process() -> None:
    site = Site()
    site.progress(0, 5)
    assert site.ends_after(11)


def test_nothing_is_limited_before_the_first_step_and_after_the_last() -> None:
    site = Site()
    assert not site.ends_after(1000)
    site.progress(0, 2)
    site.progress(2, 2)
    assert not site.ends_after(1000)


HANGS = """
import threading
from daemon.step_limit import StepLimit
with StepLimit(seconds=0.2) as limit:
    limit.around(lambda done, total: None)(0, 2)
    threading.Event().wait(60)
"""


def test_a_hung_process_is_gone_with_a_code_that_is_started_again() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == EXIT_HUNG
    assert "longer than 0.2 s" in done.stderr
