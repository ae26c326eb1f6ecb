"""Enhanced multi-frame CT, MR and PET: each frame by its own functional groups, stacks and dimensions as volumes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_io.errors import DuplicatePositions
from dicom_io.geometry import kji_to_lps
from dicom_io.series import read_series
from dicom_io.volume_reader import read_stack, read_volume
from tests.unit.dicom_io.enhanced_files import Describe, expected_voxels, put, write_enhanced
from tests.unit.dicom_io.mutations import ORIENTATIONS, affine_of


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_frames_are_laid_where_and_scaled_as_their_groups_say(name: str, modality: str, tmp_path: Path) -> None:
    series = read_series([write_enhanced(tmp_path / "image", affine_of(name), modality)])
    volume = read_volume(series)
    assert np.array_equal(volume.voxels, expected_voxels(0))
    corners = [[0, 0, 0], [6, 11, 9]]
    assert np.abs(kji_to_lps(volume.affine, corners) - kji_to_lps(affine_of(name), corners)).max() < 1e-3
    assert [source.frame_number for source in volume.sent] == [7, 6, 5, 4, 3, 2, 1]


def echo(groups: Dataset, k: int, n: int) -> None:
    put(groups, "MREchoSequence", EffectiveEchoTime=4.6 * (n + 1))


def stack_of_frames(groups: Dataset, k: int, n: int) -> None:
    put(groups, "FrameContentSequence", StackID=str(n + 1), InStackPositionNumber=k + 1)


def diffusion(groups: Dataset, k: int, n: int) -> None:
    direction = Dataset()
    direction.DiffusionGradientOrientation = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]][n]
    put(groups, "MRDiffusionSequence", DiffusionBValue=0.0 if n == 0 else 1000.0, DiffusionGradientDirectionSequence=[direction])


def time_point(groups: Dataset, k: int, n: int) -> None:
    put(groups, "TemporalPositionSequence", TemporalPositionTimeOffset=12.5 * n)


def heart_phase(groups: Dataset, k: int, n: int) -> None:
    put(groups, "CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=80.0 * n)


def frame_type(groups: Dataset, k: int, n: int) -> None:
    put(groups, "MRImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "M", ("A", "B", "C")[n]])


def acquisition(groups: Dataset, k: int, n: int) -> None:
    put(groups, "FrameContentSequence", FrameAcquisitionNumber=n + 1)


@pytest.mark.parametrize("describe", [echo, stack_of_frames, diffusion, time_point, heart_phase, frame_type, acquisition])
def test_the_dimensions_of_an_instance_are_volumes_of_their_own(describe: Describe, tmp_path: Path) -> None:
    series = read_series([write_enhanced(tmp_path / "image", affine_of("oblique"), "MR", 3, describe)])
    assert len(series.stacks) == 3
    for n, stack in enumerate(series.stacks):
        volume = read_stack(stack)
        assert np.array_equal(volume.voxels, expected_voxels(n))
        assert [source.frame_number for source in volume.sent] == [3 * (6 - k) + n + 1 for k in range(7)]


def test_frames_of_two_stacks_side_by_side_are_two_volumes(tmp_path: Path) -> None:
    def place(groups: Dataset, k: int, n: int) -> None:
        stack_of_frames(groups, k, n)
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        groups.PlanePositionSequence[0].ImagePositionPatient = [x + 40.0 * n, y, z + 1.0 * n]

    series = read_series([write_enhanced(tmp_path / "image", affine_of("axial"), "MR", 2, place)])
    assert [stack.split for stack in series.stacks] == ["StackID 1", "StackID 2"]
    assert [stack.quirks for stack in series.stacks] == [("split-by-stack",)] * 2
    moved = series.stacks[1].affine[:3, 3] - series.stacks[0].affine[:3, 3]
    assert np.abs(moved - [40.0, 0.0, 1.0]).max() < 1e-3


def test_frames_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    series = read_series([write_enhanced(tmp_path / "image", affine_of("axial"), "CT", 2)])
    assert isinstance(series.refusal, DuplicatePositions)
    assert "image 1 frame 13 and image 1 frame 14" in str(series.refusal)
