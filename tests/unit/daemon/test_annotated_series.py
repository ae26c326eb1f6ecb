"""DICOM series and the segmentation objects that outline them become labelled volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daemon.annotated_series import read_annotated_series
from daemon.arrays import RejectedArrays
from daemon.datasets import Reading, read_families
from daemon.folds import Fold
from dicom_io.segmentation import write_segmentation
from tests.unit.dicom_io.ct_files import hook_mask, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS


def test_overlapping_segments_become_volumes_of_their_own_on_the_series_grid(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "kidneys" / "ct", "oblique")
    masks = np.stack([hook_mask(), hook_mask(2, 8, 5)])
    assert (masks[0] & masks[1]).any()
    (tmp_path / "kidneys" / "seg.dcm").write_bytes(write_segmentation(volume, masks, (KIDNEY, MASS), IDENTITY))
    first, second = read_families(tmp_path, Reading(window=(-200.0, 300.0)))["kidneys"]
    assert (list(first.structures), list(second.structures)) == (["Left kidney"], ["Mass"])
    assert np.array_equal(first.mask("Left kidney"), masks[0])
    assert np.array_equal(second.mask("Mass"), masks[1])
    assert first.spacing_mm is not None
    assert np.allclose(first.spacing_mm, volume.spacing_mm)
    expected = np.clip((volume.voxels + 200) / 500, 0, 1) * 255
    assert np.abs(first.frames - expected).max() <= 1


def test_dicom_is_refused_for_a_fold_as_its_names_do_not_keep_a_patient_on_one_side(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "kidneys" / "ct")
    (tmp_path / "kidneys" / "seg.dcm").write_bytes(write_segmentation(volume, hook_mask()[None], (KIDNEY,), IDENTITY))
    with pytest.raises(RejectedArrays, match="got DICOM"):
        read_families(tmp_path, Reading(fold=Fold(index=0, count=2)))


def test_a_series_that_nothing_outlines_is_left_out(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    assert list(read_annotated_series(tmp_path, None)) == []


def test_a_real_segmentation_by_another_tool_lies_on_its_series(shared_folder: Path) -> None:
    folder = shared_folder / "data" / "seg_and_sr_dcmqi" / "segmentations"
    found = [volume for volume in read_annotated_series(folder, (-160.0, 240.0)) if len(volume.frames) == 3]
    assert found
    assert all(volume.mask(name).any() for volume in found for name in volume.structures)


def test_contours_of_a_real_structure_set_lie_on_the_series_that_they_were_drawn_on(shared_folder: Path) -> None:
    place = shared_folder / "data" / "ct_pet_mr_sts_rtstruct" / "STS_003" / "dicom" / "STS_003" / "PET"
    (volume,) = read_annotated_series(place, None)
    assert len(volume.frames) == 51
    assert len(volume.structures) == 1
    (tumour,) = (volume.mask(name) for name in volume.structures)
    assert 3 < np.count_nonzero(tumour.any(axis=(1, 2))) < 51
    assert volume.frames[tumour].mean() > 3 * volume.frames[~tumour].mean(), "the tumour takes up more than its surroundings"
