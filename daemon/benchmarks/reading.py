"""Benchmark of reading: a series of slices to a volume, beside pydicom reading the same files one by one into an array."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID

from dicom_io.series import read_series
from dicom_io.synthesis import write_ct_series
from dicom_io.volume_reader import read_volume

_BATCH = 50
"""Slices that are made at a time, so that making them takes no more memory than reading them."""


@dataclass(frozen=True, kw_only=True)
class ReadingTimes:
    """Seconds, medians of several runs side by side, and what reading takes of memory beside the array."""

    slices: int
    rows: int
    columns: int
    seconds: float
    """From paths to the volume: headers, judgement and voxels."""
    header_seconds: float
    pydicom_seconds: float
    """`dcmread` and `pixel_array` of every file, stacked: no order, no geometry, no modality transform."""
    mebibytes_above_the_array: float

    @property
    def ratio(self) -> float:
        """How many times longer a judged volume in HU takes than plain pixels."""
        return self.seconds / self.pydicom_seconds


def measure_reading(slices: int = 300, rows: int = 512, columns: int = 512, runs: int = 5) -> ReadingTimes:
    """Write an uncompressed CT series of noise into a folder of its own and read it `runs` times in turn with pydicom."""
    with tempfile.TemporaryDirectory(prefix="medsam2d-bench-") as folder:
        paths = _write(Path(folder), slices, rows, columns)
        ours, headers, theirs = [], [], []
        read_volume(read_series(paths))  # both find the files in the page cache
        for _ in range(runs):
            ours.append(_seconds(lambda: read_volume(read_series(paths))))
            theirs.append(_seconds(lambda: np.stack([pydicom.dcmread(path).pixel_array for path in paths])))
            headers.append(_seconds(lambda: read_series(paths)))
        memory = _memory(Path(folder))
    return ReadingTimes(
        slices=slices,
        rows=rows,
        columns=columns,
        seconds=statistics.median(ours),
        header_seconds=statistics.median(headers),
        pydicom_seconds=statistics.median(theirs),
        mebibytes_above_the_array=memory - slices * rows * columns * 4 / 2**20,
    )


def _write(folder: Path, slices: int, rows: int, columns: int) -> list[Path]:
    chance = np.random.default_rng(0)
    affine = np.array([[0, 0, 0.7, 0], [0, 0.7, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    paths: list[Path] = []
    for first in range(0, slices, _BATCH):
        batch = chance.integers(-1000, 1500, (min(_BATCH, slices - first), rows, columns)).astype(np.int16)
        moved = affine.copy()
        moved[2, 3] = first
        written = write_ct_series(folder / f"{first:06d}", batch, moved)
        for path in written:
            dataset = pydicom.dcmread(path)
            # Every batch numbers its own instances: they are told apart here, as one series' are.
            dataset.SOPInstanceUID = UID(f"{dataset.SOPInstanceUID[:48]}.{first}")
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(path)
        paths += written
    return paths


def _memory(folder: Path) -> float:
    """MiB by which a process of its own grows while it reads the series in `folder`."""
    code = f"import {__name__} as bench, sys; print(bench.growth_while_reading(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def growth_while_reading(folder: str) -> float:
    """Return by how many MiB the largest resident size of this process grows while it reads the series in `folder`."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    before = _largest_resident_kib()
    volume = read_volume(read_series(paths))
    grown = _largest_resident_kib() - before
    del volume
    return grown / 1024


def _largest_resident_kib() -> int:
    """VmHWM of this process; `getrusage` would count what its parent held when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
