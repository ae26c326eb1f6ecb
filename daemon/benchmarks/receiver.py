"""Benchmark of the receiver: ours beside DCMTK's, Orthanc's and pynetdicom's, in interleaved repetitions, as ratios."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from daemon.benchmarks.raw_sender import uid_of
from daemon.benchmarks.receivers import CALLED, CALLING, KINDS, Kind, cpu_seconds, pss_mib, running
from dicom_io.part10 import read_file
from dicom_io.synthesis import write_ct_series

MATRIX = 512
OURS = "medsam2d"
AT_THE_DOOR = 8
"""Senders that may ask for their associations at once."""
SETTLE_SECONDS = 0.3
"""What a receiver does after its last answer (closing files, say) counts as its CPU time."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """One receiver with one number of associations: medians of the repetitions."""

    receiver: str
    is_durable: bool
    associations: int
    images_per_second: float
    slowest: float
    fastest: float
    cpu_milliseconds_per_image: float
    pss_mib: float
    """After the last image, with the associations open."""


def measure_throughput(
    associations: Sequence[int], images: int, repetitions: int, names: Sequence[str], say: Callable[[str], None]
) -> tuple[Throughput, ...]:
    """Send `images` CT slices of 512 x 512 in all to each receiver, over each number of associations, `repetitions` times in turn."""
    kinds = [KINDS[name] for name in names if KINDS[name].is_there]
    runs: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    with data_set_file(MATRIX) as file:
        for repetition in range(repetitions):
            for count in associations:
                for kind in kinds:
                    measured = _run(kind, file, count, images)
                    runs.setdefault((kind.name, count), []).append(measured)
                    say(f"{repetition + 1}/{repetitions} {kind.name}, {count} associations: {measured[0]:.0f} images/s")
    return tuple(_median(KINDS[name], count, measured) for (name, count), measured in runs.items())


def table(rates: Sequence[Throughput]) -> Iterator[str]:
    """One line a receiver and number of associations: its rate, ours as a multiple of it, and what an image costs."""
    yield "durable: answers success only after an fsync; ratio: our rate (durable) / that of the receiver"
    for count in sorted({rate.associations for rate in rates}):
        same = [rate for rate in rates if rate.associations == count]
        ours = next((rate for rate in same if rate.receiver == OURS), None)
        for rate in same:
            ratio = f"{ours.images_per_second / rate.images_per_second:5.2f}" if ours else "    -"
            yield (
                f"{count:2} associations  {rate.receiver:36} {'durable' if rate.is_durable else '-':8}"
                f"{rate.images_per_second:6.0f} images/s [{rate.slowest:.0f}..{rate.fastest:.0f}]  ratio {ratio}"
                f"  {rate.cpu_milliseconds_per_image:5.2f} CPU ms/image  {rate.pss_mib:4.0f} MiB PSS"
            )


def measure_memory(associations: int, sizes_mib: Sequence[int]) -> dict[str, float]:
    """Return the PSS of our listener, in MiB: with many open associations that have each sent an image, and while large objects come."""
    found: dict[str, float] = {}
    with running(KINDS[OURS]) as (port, pid):
        found["idle"] = pss_mib(pid)
        with data_set_file(MATRIX) as file, senders_of(port, file, associations, 2 * associations) as senders:
            send_all(senders)
            found[f"{associations} associations"] = pss_mib(pid)
        for size in sizes_mib:
            rows = size * 2**20 // (2 * MATRIX)
            with data_set_file(MATRIX, rows) as file, senders_of(port, file, 1, 1) as senders:
                found[f"object of {size} MiB"] = _peak_pss(pid, senders)
    return found


@contextlib.contextmanager
def data_set_file(columns: int, rows: int | None = None) -> Iterator[Path]:
    """A file with the bytes of a CT slice's data set, whose SOP Instance UID is `uid_of(0)`."""
    with tempfile.TemporaryDirectory(prefix="medsam2d-bench-") as name:
        noise = np.random.default_rng(0).integers(-1000, 1000, (1, min(rows or columns, columns), columns)).astype(np.float64)
        (path,) = write_ct_series(Path(name), noise, np.diag([0.7, 0.7, 1.5, 1.0]))
        instance = dcmread(path)
        instance.SOPInstanceUID = uid_of(0).decode()
        if rows is not None and rows > columns:
            instance.PixelData = instance.PixelData * (rows // columns)
            instance.Rows = min(rows, 65535)
        instance.save_as(path)
        file = Path(name) / "data_set"
        file.write_bytes(read_file(path).encoded)
        yield file


def _run(kind: Kind, file: Path, associations: int, images: int) -> tuple[float, float, float]:
    """Images a second, CPU milliseconds an image and PSS in MiB of one run."""
    with running(kind) as (port, pid), senders_of(port, file, associations, images) as senders:
        before = cpu_seconds(pid)
        start = time.perf_counter()
        sent = send_all(senders)
        seconds = time.perf_counter() - start
        memory = pss_mib(pid)
        time.sleep(SETTLE_SECONDS)
        return sent / seconds, (cpu_seconds(pid) - before) / sent * 1000, memory


@contextlib.contextmanager
def senders_of(port: int, file: Path, associations: int, images: int, first: int = 0) -> Iterator[list[subprocess.Popen[str]]]:
    """Associated senders that wait for their start."""
    each = max(1, images // associations)
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
    with contextlib.ExitStack() as stack:
        senders: list[subprocess.Popen[str]] = []
        for index in range(associations):
            # The door lets only so many connections of one address wait unheard, as it should: knock one after the other.
            if index >= AT_THE_DOOR:
                _expect_ready(senders[index - AT_THE_DOOR])
            arguments = (str(port), CALLING, CALLED, sop_class, syntax, str(file), str(1 + first + index * each), str(each))
            command = [sys.executable, "-S", str(Path(__file__).with_name("raw_sender.py")), *arguments]
            sender = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            stack.callback(sender.kill)
            senders.append(sender)
        for sender in senders[-AT_THE_DOOR:]:
            _expect_ready(sender)
        yield senders


def _expect_ready(sender: subprocess.Popen[str]) -> None:
    if _line(sender) != "ready":
        raise ConnectionError("expected a sender that is associated")


def send_all(senders: Sequence[subprocess.Popen[str]]) -> int:
    """Let all senders send, and return how many images were answered with success; raises where one was not."""
    for sender in senders:
        _start(sender)
    stored = 0
    for sender in senders:
        seconds, answered, expected = (*_line(sender).split(), "", "", "")[:3]
        if not seconds or answered != expected:
            raise RuntimeError(f"expected {expected or 'some'} images stored, got {answered or 'none'}; the receiver refused the others")
        stored += int(answered)
    return stored


def _peak_pss(pid: int, senders: Sequence[subprocess.Popen[str]]) -> float:
    for sender in senders:
        _start(sender)
    peak = 0.0
    while all(sender.poll() is None for sender in senders):
        peak = max(peak, pss_mib(pid))
        time.sleep(0.02)
    return peak


def _start(sender: subprocess.Popen[str]) -> None:
    if sender.stdin is not None:
        sender.stdin.write("go\n")
        sender.stdin.flush()


def _line(sender: subprocess.Popen[str]) -> str:
    return sender.stdout.readline().strip() if sender.stdout is not None else ""


def _median(kind: Kind, associations: int, measured: Sequence[tuple[float, float, float]]) -> Throughput:
    speeds, costs, memories = zip(*measured, strict=True)
    return Throughput(
        receiver=kind.name,
        is_durable=kind.is_durable,
        associations=associations,
        images_per_second=statistics.median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        cpu_milliseconds_per_image=statistics.median(costs),
        pss_mib=statistics.median(memories),
    )
