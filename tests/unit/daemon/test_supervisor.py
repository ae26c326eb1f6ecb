"""The supervisor and the life of its children, with real processes and a clock of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.child import Life, repeat
from daemon.errors import Transient
from daemon.process_record import RoleRecord, read_processes, write_processes
from daemon.supervisor import EXIT_CONFIG, SILENCE_LIMIT_SECONDS, Supervisor

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


def supervisor(
    programs: dict[str, str], clock: Callable[[], float] = time.monotonic, side_roles: tuple[str, ...] = ()
) -> tuple[Supervisor, list[str]]:
    announced: list[str] = []
    commands = {role: [sys.executable, "-c", program] for role, program in programs.items()}
    made = Supervisor(
        commands=commands, stop=threading.Event(), side_roles=side_roles, on_ready=lambda: announced.append("ready"), now=clock
    )  # fmt: skip
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


def test_a_side_role_that_cannot_start_stops_nothing_and_is_tried_again() -> None:
    fakes = Fakes()
    made, announced = supervisor({"listener": OBEDIENT, "web": CONFUSED}, fakes.now, ("web",))
    recorded: list[Mapping[str, RoleRecord]] = []
    made.record = recorded.append
    made.begin()
    try:
        made.step()
        web = made.children["web"]
        assert web.process is not None
        web.process.wait(30)
        deadline = time.monotonic() + 30
        while not announced and time.monotonic() < deadline:
            assert made.step() is None
            time.sleep(0.01)
        assert announced == ["ready"]
        assert web.process is None
        fakes.moment = web.start_at
        made.step()
        assert web.process is not None
        assert (recorded[-1]["listener"].ready, len(recorded[-1]["web"].ended)) == (True, 1)
    finally:
        made._shut_down()


def test_a_side_role_that_falls_silent_is_ended_and_started_again() -> None:
    fakes = Fakes()
    made, _ = supervisor({"web": OBEDIENT}, fakes.now, ("web",))
    made.begin()
    try:
        made.step()
        first = made.children["web"].process
        assert first is not None
        fakes.moment = SILENCE_LIMIT_SECONDS - 1
        made.step()
        assert first.poll() is None
        made.children["web"].heard_at = 0.0
        fakes.moment = SILENCE_LIMIT_SECONDS
        made.step()
        assert first.returncode == -signal.SIGKILL
        made.step()
        fakes.moment = made.children["web"].start_at
        made.step()
        assert made.children["web"].process not in (None, first)
    finally:
        made._shut_down()


def test_the_record_of_processes_counts_only_while_its_supervisor_runs(tmp_path: Path) -> None:
    assert read_processes(tmp_path) == {}
    ended = datetime(2026, 1, 2, tzinfo=UTC)
    record = {"worker": RoleRecord(ready=True, ended=(ended, ended + timedelta(minutes=5)))}
    write_processes(tmp_path, record)
    assert read_processes(tmp_path) == record
    assert record["worker"].ends_within(timedelta(minutes=10), ended + timedelta(minutes=12)) == record["worker"].ended[1:]
    kept = (tmp_path / "processes.json").read_text()
    (tmp_path / "processes.json").write_text(kept.replace(str(os.getpid()), str(2**22 + 1)))
    assert read_processes(tmp_path) == {}
    (tmp_path / "processes.json").write_text("[]")
    assert read_processes(tmp_path) == {}


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
