"""The supervisor and the life of its children, with real processes and a clock of the test's own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.child import Life, repeat
from daemon.errors import Transient
from daemon.supervisor import EXIT_CONFIG, Supervisor

OBEDIENT = """
import sys
print("ready for tests", flush=True)
sys.stdin.read()
"""
CONFUSED = "import sys; print('bad setting', file=sys.stderr); sys.exit(2)"
FRAIL = "import sys; sys.exit(1)"


class Fakes:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.moment = 0.0

    def now(self) -> float:
        return self.moment


def supervisor(programs: dict[str, str], clock: Callable[[], float] = time.monotonic) -> tuple[Supervisor, list[str]]:
    announced: list[str] = []
    commands = {role: [sys.executable, "-c", program] for role, program in programs.items()}
    made = Supervisor(commands=commands, stop=threading.Event(), on_ready=lambda: announced.append("ready"), now=clock)
    return made, announced


def test_readiness_is_announced_once_every_child_is_ready_and_stopping_ends_them_all() -> None:
    made, announced = supervisor({"listener": OBEDIENT, "worker": OBEDIENT})
    thread = threading.Thread(target=made.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not announced and time.monotonic() < deadline:
        time.sleep(0.02)
    made.stop.set()
    thread.join(30)
    assert announced == ["ready"]
    assert not any(child.running() for child in made.children.values())


def test_a_child_that_met_a_configuration_fault_stops_the_service_with_its_exit_code() -> None:
    made, announced = supervisor({"listener": OBEDIENT, "worker": CONFUSED})
    assert made.run() == EXIT_CONFIG
    assert announced == []
    assert not any(child.running() for child in made.children.values())


def test_a_child_that_dies_is_started_again_after_a_pause_that_doubles() -> None:
    fakes = Fakes()
    made, _ = supervisor({"worker": FRAIL}, fakes.now)
    made.begin()
    child = made.children["worker"]
    pauses: list[float] = []
    for _ in range(3):
        made.step()
        assert child.process is not None
        child.process.wait(30)
        made.step()
        assert child.process is None
        pauses.append(child.start_at - fakes.moment)
        fakes.moment = child.start_at
    assert pauses == [1.0, 2.0, 4.0]


def test_a_supervised_child_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    program = """
from daemon.child import Life, repeat
life = Life(supervised=True)
life.begin()
life.ready("now")
repeat(life, 0.05, lambda: False)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready now\n"
    child.stdin.close()  # what the kernel does when the supervisor is killed
    assert child.wait(30) == 0
    child.stdout.close()


def test_a_child_at_a_terminal_says_that_it_is_ready_but_not_that_it_lives(capsys: pytest.CaptureFixture[str]) -> None:
    life = Life(supervised=False)
    life.ready("on 127.0.0.1:11112")
    life.alive()
    assert capsys.readouterr().out == "ready on 127.0.0.1:11112\n"


def test_a_passing_fault_of_the_database_pauses_a_loop_and_does_not_end_it() -> None:
    life = Life(supervised=False)
    outcomes: Iterator[bool | Transient] = iter([Transient("database is locked"), True, False])

    def work() -> bool:
        outcome = next(outcomes, None)
        if outcome is None:
            life.stop.set()
            return True
        if isinstance(outcome, Transient):
            raise outcome
        return outcome

    repeat(life, 0.0, work)
    assert life.stop.is_set()
