"""Other people's readers of segmentation objects, run where they are installed; a test skips where they are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name everyone knows it by)
from numpy.typing import NDArray

from dicom_io.geometry import Float64, kji_to_lps, lps_to_kji

TIMEOUT_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class PlacedMask:
    """A mask on a grid of its reader's choice: `affine` maps the mask's own indices (a, b, c, 1) to LPS millimetres."""

    mask: NDArray[np.bool_]
    affine: Float64


def tool(name: str) -> str:
    """Path of a program, from PATH or from beside this Python; skips the test if it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed (dicom3tools by apt, dcmqi by pip)")
    return found


def dciodvfy_errors(path: Path) -> list[str]:
    """Lines by which dicom3tools' validator calls a file wrong; its exit status is 0 for some errors, so it is not asked."""
    return _error_lines([tool("dciodvfy"), "-new", str(path)])


def dcentvfy_errors(paths: Sequence[Path]) -> list[str]:
    """Lines by which dicom3tools finds that files contradict each other about patient, study or series."""
    return _error_lines([tool("dcentvfy"), *map(str, paths)])


def dcmqi_masks(path: Path, scratch: Path) -> dict[int, PlacedMask]:
    """Segment number -> mask as 3D Slicer would load it (`segimage2itkimage --mergeSegments`); `scratch` is an empty folder."""
    command = [tool("segimage2itkimage"), "--inputDICOM", str(path), "--outputDirectory", str(scratch), "-t", "nrrd", "--mergeSegments"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"segimage2itkimage refused {path.name} ({done.returncode}): {done.stdout[-2000:]}{done.stderr[-2000:]}")
    masks = {}
    for file in sorted(scratch.glob("*.nrrd")):
        image = sitk.ReadImage(str(file))
        labels = sitk.GetArrayFromImage(image)  # (z, y, x)
        for number in np.unique(labels[labels > 0]):
            masks[int(number)] = PlacedMask(mask=labels == number, affine=_affine_of_image(image))
    return masks


def highdicom_masks(path: Path) -> dict[int, PlacedMask]:
    """Segment number -> mask as highdicom reads it back from the file."""
    segmentation = hd.seg.segread(path)
    masks = {}
    for number in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
        masks[int(number)] = PlacedMask(mask=volume.array[..., 0].astype(np.bool_), affine=volume.affine)
    return masks


def on_grid(placed: PlacedMask, affine: Float64, shape: tuple[int, int, int], tolerance_mm: float) -> NDArray[np.bool_]:
    """Carry a mask by millimetres alone to the grid `affine` of `shape` (k, j, i); raises if a voxel lies between voxels."""
    points = kji_to_lps(placed.affine, np.argwhere(placed.mask).astype(np.float64))
    nearest = np.rint(lps_to_kji(affine, points)).astype(np.int64)
    away_mm = np.linalg.norm(kji_to_lps(affine, nearest.astype(np.float64)) - points, axis=-1)
    if away_mm.size and float(away_mm.max()) > tolerance_mm:
        raise AssertionError(f"expected voxels within {tolerance_mm} mm of the grid, got {away_mm.max():.4f} mm")
    grid = np.zeros(shape, np.bool_)
    grid[tuple(nearest.T)] = True
    return grid


def _error_lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    lines = (done.stdout + "\n" + done.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Abort"))]


def _affine_of_image(image: Any) -> Float64:
    """Index (z, y, x) of the array -> LPS millimetres."""
    affine = np.eye(4, dtype=np.float64)
    affine[:3, 3] = image.TransformIndexToPhysicalPoint((0, 0, 0))
    for axis, index in enumerate(((0, 0, 1), (0, 1, 0), (1, 0, 0))):
        affine[:3, axis] = np.asarray(image.TransformIndexToPhysicalPoint(index)) - affine[:3, 3]
    return affine
