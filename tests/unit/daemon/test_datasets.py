"""Labelled data in every form that is read, and the cure named where a form is not."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from daemon.arrays import RejectedArrays
from daemon.datasets import Reading, evenly_chosen, pair_images, read_families
from daemon.folds import Fold
from model.training.volumes import LabelledVolume

FRAMES = np.random.default_rng(0).integers(0, 255, (4, 8, 9)).astype(np.uint8)
LABELS = np.zeros((4, 8, 9), np.uint8)
LABELS[1:3, 2:5, 2:5] = 1
LABELS[1:3, 6:8, 2:5] = 7


def write_npz(path: Path, **arrays: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{"imgs": FRAMES, "gts": LABELS, **arrays})  # type: ignore[arg-type]


def write_image(path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


def test_an_npz_without_names_has_a_structure_for_each_label_value(tmp_path: Path) -> None:
    write_npz(tmp_path / "organs" / "one.npz")
    (volume,) = read_families(tmp_path, Reading())["organs"]
    assert volume.structures == {"1": 1, "7": 7}
    assert volume.spacing_mm is None
    assert np.array_equal(volume.frames, FRAMES)
    assert np.count_nonzero(volume.mask("7")) == 12


def test_only_named_structures_of_an_npz_are_known_and_its_split_is_kept(tmp_path: Path) -> None:
    meta = json.dumps({"labels": {"liver": 1}, "split": "val"})
    write_npz(tmp_path / "organs" / "one.npz", meta=meta, spacing=np.array([5.0, 1.0, 1.0]))
    write_npz(tmp_path / "organs" / "two.npz")
    validation = read_families(tmp_path, Reading(split="val"))["organs"]
    training = read_families(tmp_path, Reading(split="train"))["organs"]
    assert [volume.case for volume in validation] == ["one", "two"]
    assert [volume.case for volume in training] == ["two"]
    assert [v.case for v in read_families(tmp_path, Reading(split="val", marked_only=True))["organs"]] == ["one"]
    assert validation[0].structures == {"liver": 1}
    assert validation[0].spacing_mm == (5.0, 1.0, 1.0)


def test_a_fold_decides_in_place_of_marks_for_every_form_of_file(tmp_path: Path) -> None:
    write_npz(tmp_path / "organs" / "case_3.npz", meta=json.dumps({"labels": {"liver": 1}, "split": "train"}))
    write_npz(tmp_path / "organs" / "case_4.npz", meta=json.dumps({"labels": {"liver": 1}, "split": "val"}))
    write_image(tmp_path / "organs" / "case_6.nii.gz", FRAMES)
    write_image(tmp_path / "organs" / "case_6_mask.nii.gz", LABELS)
    write_image(tmp_path / "organs" / "case_7.nii.gz", FRAMES)
    write_image(tmp_path / "organs" / "case_7_mask.nii.gz", LABELS)
    with h5py.File(tmp_path / "organs" / "case_9.h5", "w") as file:
        file["image"], file["label"] = FRAMES, LABELS
    (tmp_path / "organs" / "LICENSE").write_text("a file without a suffix, as DICOM has it, is no case")
    fold = Fold(index=0, count=3)
    kept_aside = read_families(tmp_path, Reading(split="val", marked_only=True, fold=fold))["organs"]
    trained_on = read_families(tmp_path, Reading(split="train", fold=fold))["organs"]
    assert [volume.case for volume in kept_aside] == ["case_3", "case_9", "case_6"]
    assert [volume.case for volume in trained_on] == ["case_4", "case_7"]


def test_a_fold_without_a_case_says_what_folds_go_by(tmp_path: Path) -> None:
    write_npz(tmp_path / "organs" / "liver.npz")
    with pytest.raises(RejectedArrays, match="first number in a case's name"):
        read_families(tmp_path, Reading(split="val", fold=Fold(index=0, count=2)))


@pytest.mark.parametrize(("held", "most", "chosen"), [(7, 3, [0, 3, 6]), (4, 3, [0, 2, 3]), (2, 5, [0, 1]), (5, 1, [0]), (0, 3, [])])
def test_cases_are_chosen_evenly_from_first_to_last(held: int, most: int, chosen: list[int]) -> None:
    volumes = [LabelledVolume(frames=FRAMES, labels=LABELS, structures={"1": 1}, spacing_mm=None, case=str(place)) for place in range(held)]
    assert [volume.case for volume in evenly_chosen(volumes, most)] == [str(place) for place in chosen]


def test_pairs_of_images_are_found_by_name_or_folder_and_windowed(tmp_path: Path) -> None:
    voxels = FRAMES.astype(np.float32) * 10 - 1000
    write_image(tmp_path / "a" / "images" / "case_3.nii.gz", voxels)
    write_image(tmp_path / "a" / "labels" / "case_3.nii.gz", LABELS)
    write_image(tmp_path / "b" / "liver-seg.nrrd", LABELS)
    write_image(tmp_path / "b" / "liver.nrrd", voxels)
    families = read_families(tmp_path, Reading(window=(-1000.0, 1550.0)))
    for name in ("a", "b"):
        (volume,) = families[name]
        assert np.abs(volume.frames.astype(int) - FRAMES).max() <= 1
        assert np.array_equal(volume.labels, LABELS)
        assert volume.spacing_mm == (3.0, 2.0, 1.0)


def test_an_image_without_its_labels_is_named(tmp_path: Path) -> None:
    files = [tmp_path / "image_1.nii.gz", tmp_path / "label_1.nii.gz", tmp_path / "image_2.nii.gz"]
    with pytest.raises(RejectedArrays, match=r"got one of them: image_2\.nii\.gz"):
        pair_images(files, tmp_path)


def test_two_files_for_one_case_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "one_mask.nii.gz", tmp_path / "one_label.nii.gz"]
    with pytest.raises(RejectedArrays, match="give them different names"):
        pair_images(files, tmp_path)


def test_an_hdf5_file_holds_image_and_label(tmp_path: Path) -> None:
    (tmp_path / "heart").mkdir()
    with h5py.File(tmp_path / "heart" / "patient.h5", "w") as file:
        file["image"], file["label"] = FRAMES.astype(np.float32) / 255, LABELS
    (volume,) = read_families(tmp_path, Reading(window=(0.0, 1.0)))["heart"]
    assert np.abs(volume.frames.astype(int) - FRAMES).max() <= 1
    assert volume.structures == {"1": 1, "7": 7}


def test_files_in_the_folder_itself_are_one_family(tmp_path: Path) -> None:
    write_npz(tmp_path / "one.npz")
    assert list(read_families(tmp_path, Reading())) == [tmp_path.name]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"imgs": FRAMES.astype(np.float32)}, "expected uint8"),
        ({"gts": LABELS[:3]}, "one \\(D, H, W\\) shape"),
        ({"gts": LABELS.astype(np.int16) * 100}, "whole label values of 0 to 255"),
    ],
)
def test_arrays_of_another_form_are_refused_with_what_was_expected(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    write_npz(tmp_path / "organs" / "one.npz", **arrays)
    with pytest.raises(RejectedArrays, match=message):
        read_families(tmp_path, Reading())


def test_a_folder_without_a_case_says_what_it_should_hold(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RejectedArrays, match="image and mask pairs"):
        read_families(tmp_path, Reading())
