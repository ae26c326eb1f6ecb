"""Small CT series written to disk, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from dicom_io.geometry import Float64
from dicom_io.synthesis import SyntheticStudy, write_ct_series

SHAPE = (7, 12, 10)
ORIGIN_MM = (-101.123, -55.456, 33.789)
THIRD = 1.0 / 3.0

# row cosines, column cosines, (slice, row, column) spacing in mm, patient position
ORIENTATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, float, float], str]] = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.8, 0.8), "HFS"),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (3.0, 1.0, 1.0), "HFS"),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (4.0, 1.2, 1.2), "HFS"),
    "oblique": ((2 * THIRD, 2 * THIRD, THIRD), (-2 * THIRD, THIRD, 2 * THIRD), (1.3, 0.7, 0.7), "HFS"),
    "feet-first": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (2.5, 0.8, 0.8), "FFS"),
    "prone": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (2.5, 0.8, 0.8), "HFP"),
    "anisotropic": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.25, 0.5, 0.9), "HFS"),
}

Spoil = Callable[[FileDataset, int], None]


def affine_of(name: str) -> Float64:
    """The 4x4 matrix of one of `ORIENTATIONS`, k ascending along row x column."""
    row, column, spacing, _ = ORIENTATIONS[name]
    affine = np.eye(4)
    affine[:3, 0] = np.cross(row, column) * spacing[0]
    affine[:3, 1] = np.asarray(column) * spacing[1]
    affine[:3, 2] = np.asarray(row) * spacing[2]
    affine[:3, 3] = ORIGIN_MM
    return affine


def voxels(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.int16]:
    """Voxels that are all different from one another, HU."""
    return (np.arange(np.prod(shape), dtype=np.int16) - 500).reshape(shape)


def write_series(folder: Path, name: str = "axial") -> tuple[Path, ...]:
    """A small series in one of `ORIENTATIONS`."""
    return write_ct_series(folder, voxels(), affine_of(name), SyntheticStudy(patient_position=ORIENTATIONS[name][3]))


def spoil(paths: Sequence[Path], change: Spoil) -> tuple[Path, ...]:
    """Rewrite each file after `change(dataset, its index)`."""
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        change(dataset, index)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.save_as(path)
    return tuple(paths)


def shift(dataset: FileDataset, offset_mm: Sequence[float]) -> None:
    """Move an image in the patient."""
    position = np.asarray(dataset.ImagePositionPatient, np.float64) + np.asarray(offset_mm)
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
