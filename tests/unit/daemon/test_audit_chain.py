"""The chain of audit records: whoever changes one is found out, and several writers keep it whole."""

from __future__ import annotations

import json
import multiprocessing
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.audit_chain import GENESIS, AuditChain, records, verify
from daemon.clock import system_clock
from tests.component.store_site import FakeClock


def chain_of(folder: Path, count: int) -> AuditChain:
    chain = AuditChain(folder, FakeClock())
    for number in range(count):
        chain.append("tested", {"number": number, "text": "Ä\n"})
    return chain


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("audit-*.jsonl")
    return path


def test_each_record_holds_the_hash_of_the_one_before(tmp_path: Path) -> None:
    chain_of(tmp_path, 3)
    found = list(records(tmp_path))
    assert [record.previous for record in found] == [GENESIS, found[0].hash, found[1].hash]
    assert [record.details["number"] for record in found] == [0, 1, 2]
    assert verify(tmp_path) is None


def test_the_trail_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    chain_of(tmp_path / "audit", 1)
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path / "audit").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("position", range(0, 900, 13))
def test_any_flipped_bit_is_found_at_its_record(tmp_path: Path, position: int) -> None:
    chain_of(tmp_path, 4)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    position %= data.rindex(b"\n")
    line = data[:position].count(b"\n") + 1
    data[position] ^= 1
    path.write_bytes(bytes(data))
    broken = verify(tmp_path)
    assert broken is not None
    assert (broken.path, broken.line) == (path, line)


def test_a_removed_record_breaks_the_chain_at_the_one_after(tmp_path: Path) -> None:
    chain_of(tmp_path, 4)
    lines = only_file(tmp_path).read_text().splitlines(keepends=True)
    only_file(tmp_path).write_text("".join([lines[0], *lines[2:]]))
    broken = verify(tmp_path)
    assert broken is not None
    assert broken.line == 2
    assert "missing, inserted or moved" in broken.reason


def test_a_record_rewritten_with_a_fitting_hash_breaks_the_chain_at_the_one_after(tmp_path: Path) -> None:
    chain_of(tmp_path, 3)
    other = tmp_path / "other"
    chain_of(other, 1).append("tested", {"number": 99})
    lines = only_file(tmp_path).read_text().splitlines(keepends=True)
    forged = only_file(other).read_text().splitlines(keepends=True)[1]
    only_file(tmp_path).write_text("".join([lines[0], forged, lines[2]]))
    broken = verify(tmp_path)
    assert broken is not None
    assert broken.line == 3


def test_the_chain_goes_on_over_midnight_and_when_the_clock_is_set_back(tmp_path: Path) -> None:
    clock = FakeClock()
    chain = AuditChain(tmp_path, clock)
    for step in (timedelta(0), timedelta(days=1), timedelta(days=-1)):
        clock.now += step
        chain.append("tested", {})
    assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob("audit-*"))] == [1, 2]
    assert verify(tmp_path) is None


def test_a_line_that_a_crash_tore_is_replaced_by_the_next_record(tmp_path: Path) -> None:
    chain = chain_of(tmp_path, 2)
    with only_file(tmp_path).open("ab") as stream:
        stream.write(b'{"at":"2026')
    assert verify(tmp_path) is None
    chain.append("tested", {})
    assert verify(tmp_path) is None
    assert len(list(records(tmp_path))) == 3


def test_a_torn_first_line_of_a_new_day_does_not_lose_the_chain(tmp_path: Path) -> None:
    chain = chain_of(tmp_path, 2)
    last = list(records(tmp_path))[-1]
    (tmp_path / "audit-2026-01-03.jsonl").write_bytes(b'{"at"')
    assert chain.append("tested", {}).previous == last.hash
    assert verify(tmp_path) is None


def test_long_records_are_chained_too(tmp_path: Path) -> None:
    chain = AuditChain(tmp_path, FakeClock())
    for _ in range(3):
        chain.append("tested", {"uids": [f"1.2.{number}" for number in range(20000)]})
    assert verify(tmp_path) is None


def append_some(folder: Path, count: int) -> None:
    for number in range(count):
        AuditChain(folder, system_clock).append("tested", {"number": number})


def test_several_processes_and_threads_append_to_one_unbroken_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=append_some, args=(tmp_path, 20))
    thread = threading.Thread(target=append_some, args=(tmp_path, 20))
    process.start()
    thread.start()
    append_some(tmp_path, 20)
    thread.join(60)
    process.join(60)
    assert verify(tmp_path) is None
    assert len(list(records(tmp_path))) == 60


def test_a_record_is_plain_json_on_one_line(tmp_path: Path) -> None:
    chain_of(tmp_path, 1)
    (line,) = only_file(tmp_path).read_text().splitlines()
    assert json.loads(line)["details"] == {"number": 0, "text": "Ä\n"}
