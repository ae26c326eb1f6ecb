"""Missing slices: refused by default; by a rule's choice the longest run, or a bridge that moves no slice that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from dicom_io.errors import UnevenSpacing
from dicom_io.gaps import GapPolicy
from dicom_io.geometry import kji_to_lps
from dicom_io.series import read_series, with_gap_policy
from dicom_io.slice_stack import Refused, SliceStack
from dicom_io.volume_reader import read_stack
from tests.unit.dicom_io.mutations import shift, spoil, voxels, write_series


def without(folder: Path, missing: Sequence[int], policy: GapPolicy, name: str = "axial") -> SliceStack:
    paths = [path for k, path in enumerate(write_series(folder, name)) if k not in missing]
    return read_series(paths, policy).stack


@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_a_bridge_interpolates_what_is_missing_and_leaves_the_others_in_their_place(name: str, tmp_path: Path) -> None:
    stack = without(tmp_path, [2, 3], "bridge", name)
    volume = read_stack(stack)
    assert volume.bridged == (2, 3)
    assert volume.quirks == ("bridged-gaps",)
    assert volume.voxels.shape == (7, 12, 10)
    meant = voxels().astype(np.float32)
    assert np.array_equal(np.delete(volume.voxels, [2, 3], axis=0), np.delete(meant, [2, 3], axis=0))
    # The voxels of a slice rise evenly from slice to slice, so that interpolation must find the missing ones.
    assert np.allclose(volume.voxels, meant, atol=1e-3)
    for k, frame in enumerate(stack.frames):
        if frame is not None:
            assert np.abs(kji_to_lps(volume.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


def test_a_bridge_over_a_tilted_stack_keeps_the_shear(tmp_path: Path) -> None:
    def tilt(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 2.5 * np.tan(np.radians(15)), 0.0))

    paths = spoil(write_series(tmp_path), tilt)
    stack = read_series([*paths[:3], *paths[4:]], "bridge").stack
    assert stack.quirks == ("bridged-gaps", "gantry-tilt")
    for k, frame in enumerate(stack.frames):
        if frame is not None:
            assert np.abs(kji_to_lps(stack.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


def test_spacing_that_doubles_is_bridged_on_the_finer_grid(tmp_path: Path) -> None:
    def stretch(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, max(0, index - 3) * 2.5))

    stack = read_series(spoil(write_series(tmp_path), stretch), "bridge").stack
    assert [frame is not None for frame in stack.frames] == [True] * 4 + [False, True] * 3


def test_the_longest_run_is_taken_and_the_rest_left_out_with_its_reason(tmp_path: Path) -> None:
    paths = [path for k, path in enumerate(write_series(tmp_path)) if k != 2]
    series = read_series(paths, "longest_run")
    volume = read_stack(series.stack)
    assert np.array_equal(volume.voxels, voxels()[3:].astype(np.float32))
    assert volume.quirks == ("longest-run",)
    assert [(len(refused.headers), refused.error.code) for refused in series.refused] == [(2, "uneven-spacing")]


@pytest.mark.parametrize(
    ("missing", "policy", "words"),
    [
        ([3], "refuse", r"\(1 slice\(s\) missing\)"),
        ([1, 2, 3, 4], "bridge", "up to 4 in a row"),
        ([1, 4], "longest_run", "no 3 of 5 slices follow each other"),
    ],
)
def test_what_a_policy_cannot_mend_is_refused_in_its_own_words(missing: list[int], policy: GapPolicy, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnevenSpacing, match=words):
        without(tmp_path, missing, policy)


def test_gaps_of_no_common_step_are_not_bridged(tmp_path: Path) -> None:
    def stretch(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, max(0, index - 3) * 0.9))

    with pytest.raises(UnevenSpacing, match=r"is no multiple of 2\.500 mm"):
        _ = read_series(spoil(write_series(tmp_path), stretch), "bridge").stack


def test_a_refused_part_can_be_judged_again_by_another_policy_without_reading_a_file(tmp_path: Path) -> None:
    paths = list(write_series(tmp_path))
    series = read_series([*paths[:3], *paths[4:]])
    (refused,) = series.refused
    for path in paths:
        path.unlink()
    bridged, still = with_gap_policy(refused, "bridge"), with_gap_policy(refused, "refuse")
    assert isinstance(bridged, SliceStack)
    assert isinstance(still, Refused)
    assert still.error.code == "uneven-spacing"
