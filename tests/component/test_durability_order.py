"""What the kernel saw: bytes synced, then named, then the name synced, then the row synced, and only then the answer.

A process that is killed keeps the page cache, so that no crash test on one machine can tell a missing fsync; strace can.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.component.durable_listener import MUTATIONS
from tests.component.loopback import CT_EXPLICIT, associated, small_instance

REPOSITORY = Path(__file__).resolve().parents[2]
INTACT = (1, 2, 3)
CALL = re.compile(r"^(?P<thread>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>)?(?P<text>.*)$")
SYNCS = ("fsync", "fdatasync")
NAMING = ("link", "linkat", "rename", "renameat", "renameat2")


@dataclass(frozen=True)
class Call:
    """One system call: the lines of the trace at which it began and had ended."""

    name: str
    text: str
    begin: int
    end: int


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The calls of a listener that received instances one after the other, the mutated ones last."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    folder = tmp_path_factory.mktemp("durable")
    trace = folder / "trace"
    strace = [
        "strace",
        "-f",
        "-y",
        "-s",
        "256",
        "-o",
        str(trace),
        "-e",
        f"trace={','.join((*SYNCS, *NAMING, 'sendto'))}",
    ]
    command = [*strace, sys.executable, "-m", "tests.component.durable_listener", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            pytest.skip("strace may not trace here (ptrace is not permitted)")
        with associated(int(said), [CT_EXPLICIT]) as association:
            for number in (*INTACT, *MUTATIONS.values()):
                assert association.send_c_store(small_instance(number)).Status == 0x0000
        process.communicate()
    return list(parse(trace.read_text()))


@pytest.mark.parametrize("number", INTACT)
def test_every_step_is_durable_before_the_next_and_all_before_the_answer(calls: list[Call], number: int) -> None:
    assert faults(calls, number) == []


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_removing_or_moving_any_step_is_seen(calls: list[Call], mutation: int) -> None:
    assert faults(calls, mutation) != []


def parse(trace: str) -> Iterator[Call]:
    """Complete calls in the order of their ends; a call that another thread interrupts stands on two lines."""
    begun: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(trace.splitlines()):
        match = CALL.match(line)
        if match is None:
            continue
        thread, resumed, text = match["thread"], match["resumed"], match["text"]
        if text.endswith("<unfinished ...>"):
            begun[thread] = (text, number)
        elif resumed:
            start, begin = begun.pop(thread)
            yield Call(resumed, start + text, begin, number)
        elif "(" in text:
            yield Call(text.split("(")[0], text, number, number)


def faults(calls: list[Call], number: int) -> list[str]:
    """What is missing or out of order in the receipt of one instance, in the words of the durability contract."""
    uid = str(small_instance(number).SOPInstanceUID)
    name = next((call for call in calls if call.name in NAMING and f"/{uid}.dcm" in call.text), None)
    if name is None:
        return ["the instance never got its name"]
    temporary = re.search(r"/incoming/\w+\.part", name.text)
    answer = next((call for call in calls if call.name == "sendto" and call.begin > name.begin and uid in call.text), None)
    if temporary is None or answer is None:
        return ["expected a temporary name and an answer"]
    folder = re.search(r"(/instances/[^\"]*)/[^/\"]*\.dcm", name.text)
    assert folder is not None
    bytes_synced = [call for call in calls if call.name in SYNCS and temporary[0] in call.text and call.end < name.begin]
    name_synced = [call for call in calls if call.name in SYNCS and f"{folder[1]}>" in call.text and name.end < call.begin < answer.begin]
    after = name_synced[0].end if name_synced else answer.begin
    store_synced = [
        call for call in calls if call.name in SYNCS and "store.sqlite" in call.text and after < call.begin and call.end < answer.begin
    ]
    missing = {
        "the bytes were not synced before they had their name": bytes_synced,
        "the folder was not synced between the name and the answer": name_synced,
        "the store was not synced between the folder and the answer": store_synced,
    }
    return [fault for fault, found in missing.items() if not found]
