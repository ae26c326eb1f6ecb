"""Made-up series keep to the standard and repeat themselves byte by byte."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dicom_io.geometry import kji_to_lps
from dicom_io.series import read_series
from dicom_io.synthesis import Modality, SyntheticStudy, write_ct_series
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import ORIENTATIONS, affine_of, voxels


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_independent_validator_finds_no_error(name: str, modality: Modality, tmp_path: Path) -> None:
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    path = write_ct_series(tmp_path, voxels(), affine_of(name), modality=modality)[0]
    said = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr + said.stdout


def test_the_same_study_has_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    first, again, other = (
        write_ct_series(tmp_path / name, voxels(), affine_of("axial"), SyntheticStudy(seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert read_series(first).series_instance_uid != read_series(other).series_instance_uid


def test_ct_and_mr_of_one_seed_share_study_and_frame_of_reference_but_not_the_series(tmp_path: Path) -> None:
    ct = read_series(write_ct_series(tmp_path / "ct", voxels(), affine_of("axial")))
    mr = read_series(write_ct_series(tmp_path / "mr", voxels(), affine_of("axial"), modality="MR"))
    assert ct.study_instance_uid == mr.study_instance_uid
    assert ct.stack.frame_of_reference_uid == mr.stack.frame_of_reference_uid != ""
    assert ct.series_instance_uid != mr.series_instance_uid


def test_any_rotation_survives_to_a_thousandth_of_a_millimetre(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    for trial in range(12):
        rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
        rotation[:, 0] *= np.linalg.det(rotation)
        affine = np.eye(4)
        # (slice, column, row) directions, right-handed so that k ascends along row x column
        affine[:3, :3] = rotation[:, [2, 1, 0]] * random.uniform(0.3, 4.0, 3)
        affine[:3, 3] = random.uniform(-300.0, 300.0, 3)
        written = voxels((5, 64, 48))
        volume = read_volume(read_series(write_ct_series(tmp_path / str(trial), written, affine)))
        corners = [[0, 0, 0], [4, 63, 47], [4, 0, 47], [0, 63, 0]]
        assert np.abs(kji_to_lps(volume.affine, corners) - kji_to_lps(affine, corners)).max() < 1e-3
        assert np.array_equal(volume.voxels, written.astype(np.float32))


def test_values_beyond_sixteen_bits_and_skewed_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected -32768 to 32767"):
        write_ct_series(tmp_path, np.full((3, 2, 2), 40000.0), affine_of("axial"))
    skewed = affine_of("axial")
    skewed[:3, 1] += 0.1 * skewed[:3, 2]
    with pytest.raises(ValueError, match="perpendicular"):
        write_ct_series(tmp_path, voxels(), skewed)
    with pytest.raises(ValueError, match=r"expected shape \(k, j, i\)"):
        write_ct_series(tmp_path, voxels()[0], affine_of("axial"))
