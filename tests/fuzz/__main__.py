"""The fuzz of everything but the association: `python -m tests.fuzz --seed 7 --inputs 100000` runs each surface in a child process.

A child that raises, dies or stalls is a fault: the surface, the seed and the number of the input are printed with the command that
repeats it, and the exit status is 1. `--record FILE` adds up what was run, by surface and seed.
"""

from __future__ import annotations

import argparse
import json
import mmap
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.surface import Surface, run
from tests.fuzz.surfaces import SHARES, surface

STALL_SECONDS = 120.0
"""Without a next input: a wait that no processor time tells of."""
ADDRESS_SPACE = 12 << 30
"""Bytes that a child may map: a flood of memory ends in an error and not in the machine's."""
_NUMBER = struct.Struct("<q")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a child said."""

    name: str
    inputs: int
    seconds: float
    outcomes: dict[str, int]
    fault: str = ""


def main() -> int:
    """Run from the command line."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--inputs", type=int, default=10_000, help="in all, shared out among the surfaces")
    options.add_argument("--surface", choices=sorted(SHARES), action="append", help="this one alone; may be repeated")
    options.add_argument("--first", type=int, default=0, help="with --count: the first input of one surface, to repeat a fault")
    options.add_argument("--count", type=int, help="the number after the last input of one surface")
    options.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--record", type=Path, help="JSON file of surface -> seed -> inputs, which is added to")
    given = options.parse_args()
    names = given.surface or list(SHARES)
    if given.count is not None:
        return _here(surface(names[0]), given)
    whole = sum(SHARES[name] for name in names)
    reports = [_child(name, given.seed, -(-given.inputs * SHARES[name] // whole)) for name in names]
    _print_table(reports)
    if given.record:
        _add_up(given.record, given.seed, reports)
    return int(any(report.fault for report in reports))


def _here(one: Surface, given: argparse.Namespace) -> int:
    """Run inputs of one surface in this process, and print the outcomes as the last line."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        progress = _shared(given.progress) if given.progress else None

        def began(number: int) -> None:
            if progress is not None:
                _NUMBER.pack_into(progress, 0, number)

        tally = run(one, Path(folder) / one.name, given.seed, given.count, first=given.first, began=began)
    print(json.dumps(tally.outcomes))  # noqa: T201
    return 0


def _child(name: str, seed: int, count: int) -> Report:
    start = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="fuzz-") as file:
        file.write(bytes(_NUMBER.size))
        file.flush()
        progress = _shared(Path(file.name))
        command = [sys.executable, "-m", "tests.fuzz", "--surface", name, "--seed", str(seed), "--count", str(count)]
        with subprocess.Popen([*command, "--progress", file.name], stdout=subprocess.PIPE, text=True) as process:
            stalled = _stalls(process, progress)
            said = process.stdout.read() if process.stdout else ""
        (number,) = _NUMBER.unpack_from(progress, 0)
    seconds = time.monotonic() - start
    if process.returncode == 0:
        return Report(name=name, inputs=count, seconds=seconds, outcomes=json.loads(said.splitlines()[-1]))
    why = "stalls" if stalled else f"ends with {process.returncode}"
    repeat = f"python -m tests.fuzz --surface {name} --seed {seed} --first {number} --count {number + 1}"
    return Report(name=name, inputs=number, seconds=seconds, outcomes={}, fault=f"{why} at input {number}; repeat: {repeat}")


def _stalls(process: subprocess.Popen[str], progress: mmap.mmap) -> bool:
    """Wait for the end of a child; kill it and return True where it goes on with one input for too long."""
    last, since = -1, time.monotonic()
    while True:
        try:
            process.wait(1.0)
            return False
        except subprocess.TimeoutExpired:
            (number,) = _NUMBER.unpack_from(progress, 0)
            if number != last:
                last, since = number, time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                process.kill()
                return True


def _shared(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _NUMBER.size)


def _print_table(reports: list[Report]) -> None:
    print(f"{'surface':<10} {'inputs':>8} {'s':>6}  outcomes")  # noqa: T201
    for report in reports:
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(report.outcomes.items(), key=lambda pair: -pair[1]))
        print(f"{report.name:<10} {report.inputs:>8} {report.seconds:>6.0f}  {outcomes or 'FAULT: ' + report.fault}")  # noqa: T201
    faults = sum(bool(report.fault) for report in reports)
    print(f"{sum(report.inputs for report in reports)} inputs, {faults} surface(s) with a fault")  # noqa: T201


def _add_up(record: Path, seed: int, reports: list[Report]) -> None:
    past: dict[str, dict[str, int]] = json.loads(record.read_text()) if record.exists() else {}
    for report in reports:
        of_surface = past.setdefault(report.name, {})
        of_surface[str(seed)] = max(report.inputs, of_surface.get(str(seed), 0))
    record.write_text(json.dumps(past, indent=1) + "\n")
    print(f"{sum(sum(seeds.values()) for seeds in past.values())} inputs in all seeds so far")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
