"""The geometry corpus: small series in every orientation and oddity, each with a marker that no flip, turn or swap maps onto itself.

Truth is kept by file: which rows and columns are marked on which instance (and frame). So whoever reads the result is
measured against the files themselves, not against how we read them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from dicom_io.gaps import GapPolicy
from dicom_io.geometry import Float64
from dicom_io.series import read_series
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from dicom_io.uids import derive_uid
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_stack
from tests.unit.dicom_io.ct_files import GEOMETRIES, write_enhanced_volume

SLICES, ROWS, COLUMNS = 10, 24, 20
AFFINE_TOLERANCE_MM = 1e-3
AXES: Mapping[str, tuple[float, float, float]] = {
    f"{sign}{name}": (x * factor, y * factor, z * factor)
    for name, (x, y, z) in (("x", (1.0, 0.0, 0.0)), ("y", (0.0, 1.0, 0.0)), ("z", (0.0, 0.0, 1.0)))
    for sign, factor in (("+", 1.0), ("-", -1.0))
}

Frame = tuple[str, int]
"""SOP Instance UID, and the frame's number in it, from 1."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A series on disk, the volume to segment, and where the marker is."""

    name: str
    folder: Path
    volume: Volume
    marked: Mapping[Frame, NDArray[np.bool_]]
    """(row, column) bool of every frame with a marked pixel."""

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(1, k, j, i): the marker on the volume's grid, laid down by instance; nothing on bridged slices."""
        masks = np.zeros((1, *self.volume.voxels.shape), np.bool_)
        for k, source in enumerate(self.volume.sources):
            if source is not None:
                masks[0, k] |= self.marked.get((source.sop_instance_uid, source.frame_number), False)
        return masks

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the series, also those that are not slices of the volume."""
        return tuple(sorted(self.folder.iterdir()))


Maker = Callable[[str, Path], Case]


def marker(number: int, shape: tuple[int, int] = (ROWS, COLUMNS)) -> NDArray[np.bool_]:
    """(row, column): a hook whose arms grow at different rates from slice to slice."""
    mask = np.zeros(shape, np.bool_)
    mask[3 : 8 + number, 2:4] = True
    mask[3:5, 2 : 6 + 2 * (number // 2)] = True
    mask[8 + number, 5] = True
    return mask


def affine(
    row: Sequence[float], column: Sequence[float], spacing: tuple[float, float, float], step: Sequence[float] | None = None
) -> Float64:
    """4x4 of row and column cosines and (dk, dj, di) mm; `step`: direction of the slices where it is not the normal."""
    matrix = np.eye(4)
    matrix[:3, 0] = np.asarray(np.cross(row, column) if step is None else step) * spacing[0]
    matrix[:3, 1], matrix[:3, 2] = np.asarray(column) * spacing[1], np.asarray(row) * spacing[2]
    matrix[:3, 3] = (-101.3, 55.75, 33.125)
    return matrix


def plain(row: Sequence[float], column: Sequence[float], spacing: tuple[float, float, float], position: str = "HFS") -> Maker:
    """A regular series that is read as the service reads it."""
    return lambda name, folder: _read(name, folder, affine(row, column, spacing), position)


def against(row: Sequence[float], column: Sequence[float], spacing: tuple[float, float, float]) -> Maker:
    """The same with its files and instance numbers against the normal."""

    def make(name: str, folder: Path) -> Case:
        matrix = affine(row, column, spacing)
        matrix[:3, 3] += (SLICES - 1) * matrix[:3, 0]
        matrix[:3, 0] *= -1.0
        return _read(name, folder, matrix, "HFS")

    return make


def _read(name: str, folder: Path, matrix: Float64, position: str) -> Case:
    paths = _write(name, folder, matrix, position)
    return Case(name=name, folder=folder, volume=_as_served(paths, matrix), marked=_marked(paths))


def _as_served(paths: Sequence[Path], matrix: Float64, gaps: GapPolicy = "refuse", number: int = 0) -> Volume:
    """The volume that the service makes of these files, the `number`-th of their series; it lies where it was made."""
    volume = read_stack(read_series(paths, gaps).expect_stacks()[number])
    if matrix[:3, 0] @ volume.affine[:3, 0] > 0:  # files against the normal: the volume begins at the other end
        np.testing.assert_allclose(volume.affine, matrix, atol=AFFINE_TOLERANCE_MM)
    return volume


def _write(name: str, folder: Path, matrix: Float64, position: str = "HFS", slices: int = SLICES) -> tuple[Path, ...]:
    seed = sum(name.encode()) * 1000 + len(name)
    study = SyntheticStudy(seed=seed, series_instance_uid=derive_uid("2.25", name), patient_position=position)
    return write_ct_series(folder, np.zeros((slices, ROWS, COLUMNS), np.int16), matrix, study)


def _marked(paths: Sequence[Path]) -> dict[Frame, NDArray[np.bool_]]:
    """The marker on all slices but the first two and the last, in the order of the files."""
    marked = {number: path for number, path in enumerate(paths) if 2 <= number < len(paths) - 1 or len(paths) == 1}
    return {(str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID), 1): marker(number) for number, path in marked.items()}


def tilt(degrees: float) -> Maker:
    """A gantry tilted about x: slices step straight along z, and aside of their normal."""

    def make(name: str, folder: Path) -> Case:
        angle = math.radians(degrees)
        matrix = affine((1.0, 0.0, 0.0), (0.0, math.cos(angle), math.sin(angle)), (3.0, 0.7, 0.7), (0.0, 0.0, 1.0))
        paths = _write(name, folder, matrix)
        return Case(name=name, folder=folder, volume=_as_served(paths, matrix), marked=_marked(paths))

    return make


def gap(name: str, folder: Path) -> Case:
    """Two slices are missing and were bridged."""
    matrix = affine((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7))
    paths = list(_write(name, folder, matrix))
    marked = _marked(paths)
    for missing in (4, 5):
        del marked[str(pydicom.dcmread(paths[missing]).SOPInstanceUID), 1]
        paths[missing].unlink()
    sent = [path for path in paths if path.exists()]
    return Case(name=name, folder=folder, volume=_as_served(sent, matrix, "bridge"), marked=marked)


def longest_run(name: str, folder: Path) -> Case:
    """Spacing changes after the seventh slice; the volume is the run before."""
    matrix = affine((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7))
    paths = _write(name, folder, matrix)
    for number in (7, 8, 9):
        _move(paths[number], (0.0, 0.0, 2.5 * (number - 6)))
    marked = _marked(paths[:7])
    return Case(name=name, folder=folder, volume=_as_served(paths, matrix, "longest_run"), marked=marked)


def jitter(name: str, folder: Path) -> Case:
    """Positions that lie up to 8 micrometres off the grid, as rounded ones do."""
    matrix = affine((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7))
    paths = _write(name, folder, matrix)
    generator = np.random.default_rng(11)
    for path in paths:
        _move(path, generator.uniform(-0.008, 0.008, 3))
    return Case(name=name, folder=folder, volume=read_stack(read_series(paths).stack), marked=_marked(paths))


def phases(name: str, folder: Path) -> Case:
    """Two phases in one series, in the same places; the second one is segmented."""
    matrix = affine((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7))
    first = _write(name, folder, matrix)
    second = [_twin(path, folder / f"phase2.{path.name}", acquisition=2) for path in first]
    return Case(name=name, folder=folder, volume=_as_served([*first, *second], matrix, number=1), marked=_marked(second))


def duplicate(name: str, folder: Path) -> Case:
    """One instance lies there twice, under two names."""
    matrix = affine((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7))
    paths = _write(name, folder, matrix)
    again = folder / "again.dcm"
    again.write_bytes(paths[4].read_bytes())
    volume = _as_served([*paths, again], matrix)
    again.unlink()  # the readers take a file for an image
    return Case(name=name, folder=folder, volume=volume, marked=_marked(paths))


def single_slice(name: str, folder: Path) -> Case:
    """One slice, whose step is its thickness."""
    matrix = affine((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (4.0, 0.7, 0.9))
    paths = _write(name, folder, matrix, slices=1)
    return Case(name=name, folder=folder, volume=_as_served(paths, matrix), marked=_marked(paths))


def enhanced(geometry: str) -> Maker:
    """One multi-frame instance with its frames against the slice order."""

    def make(name: str, folder: Path) -> Case:
        folder.mkdir(parents=True)
        volume = write_enhanced_volume(folder / "enhanced.dcm", geometry)
        shape = (volume.voxels.shape[1], volume.voxels.shape[2])
        dataset = pydicom.dcmread(folder / "enhanced.dcm")
        # Each case has UIDs of its own: the readers look at all of them in one process.
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(derive_uid("2.25", name))
        dataset.save_as(folder / "enhanced.dcm")
        uid = str(dataset.SOPInstanceUID)
        # Which frame lies where is told by how the file was made, not by how it is read.
        marked = {(uid, source.frame_number): marker(k, shape) for k, source in enumerate(volume.sent) if 2 <= k < 7}
        served = _as_served([folder / "enhanced.dcm"], volume.affine)
        return Case(name=name, folder=folder, volume=served, marked=marked)

    return make


def _move(path: Path, offset_mm: Sequence[float] | Float64) -> None:
    dataset = pydicom.dcmread(path)
    position = np.asarray(dataset.ImagePositionPatient, np.float64) + np.asarray(offset_mm)
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.save_as(path)


def _twin(path: Path, copy: Path, acquisition: int) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(derive_uid("2.25", "twin", str(dataset.SOPInstanceUID)))
    dataset.AcquisitionNumber, dataset.InstanceNumber = acquisition, int(dataset.InstanceNumber) + 100
    dataset.save_as(copy)
    return copy


def _permutations() -> Iterator[tuple[str, Maker]]:
    """All 48: six directions of the rows, four of the columns, and files along or against the normal."""
    for (row_name, row), (column_name, column) in itertools.permutations(AXES.items(), 2):
        if row_name[1] == column_name[1]:
            continue
        yield f"rows{row_name} columns{column_name}", plain(row, column, (2.5, 0.6, 0.8))
        yield f"rows{row_name} columns{column_name} against", against(row, column, (2.5, 0.6, 0.8))


THIRD = 1.0 / 3.0
X, Y, Z = AXES["+x"], AXES["+y"], AXES["+z"]
CASES: Mapping[str, Maker] = {
    **dict(_permutations()),
    "oblique": plain((2 * THIRD, 2 * THIRD, THIRD), (-2 * THIRD, THIRD, 2 * THIRD), (1.3, 0.7, 0.7)),
    "oblique against": against((2 * THIRD, -THIRD, 2 * THIRD), (THIRD, -2 * THIRD, -2 * THIRD), (1.3, 0.7, 0.9)),
    "slightly oblique": plain((0.9998477, 0.0174524, 0.0), (-0.0174524, 0.9998477, 0.0), (3.0, 0.7, 0.7)),
    "double oblique": plain(tuple(GEOMETRIES["oblique"][0]), tuple(GEOMETRIES["oblique"][1]), (2.0, 0.75, 0.5)),
    "prone": plain((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (2.5, 0.7, 0.7), "HFP"),
    "decubitus right": plain((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (2.5, 0.7, 0.7), "HFDR"),
    "decubitus left": plain((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (2.5, 0.7, 0.7), "HFDL"),
    "feet first": plain((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.7, 0.7), "FFS"),
    "feet first prone": plain((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (2.5, 0.7, 0.7), "FFP"),
    "anisotropic": plain(X, Y, (1.25, 0.5, 0.9)),
    "thick": plain(X, Y, (10.0, 0.3, 0.3)),
    "thin": plain(X, Z, (0.1, 1.4, 1.1)),
    "jitter": jitter,
    "tilt": tilt(15.0),
    "tilt back": tilt(-8.0),
    "gap": gap,
    "longest run": longest_run,
    "phases": phases,
    "duplicate": duplicate,
    "single slice": single_slice,
    "enhanced": enhanced("axial"),
    "enhanced oblique": enhanced("oblique"),
}
"""Name -> how the series is made."""
