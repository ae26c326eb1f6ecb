"""A chaos point is silent unless it is named, ends the process at the visit that was asked for, and only once where asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.chaos_points import KILL_AT, KILL_ONCE, read_points

SCRIPT = "from daemon.chaos_points import reach\nfor _ in range(3):\n    reach('a')\n    print('past', flush=True)\n"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )


def test_without_the_variable_nothing_happens() -> None:
    assert run().stdout == "past\n" * 3


def test_the_named_visit_ends_the_process_by_sigkill() -> None:
    done = run(**{KILL_AT: "b,a:2"})
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "past\n")


def test_a_point_that_remembers_kills_once_whatever_restarts(tmp_path: Path) -> None:
    asked = {KILL_AT: "a", KILL_ONCE: str(tmp_path)}
    assert [run(**asked).returncode for _ in range(2)] == [-signal.SIGKILL, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_visit_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="second"):
        read_points({KILL_AT: "a:second"})
