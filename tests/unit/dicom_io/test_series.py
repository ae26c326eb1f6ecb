"""Series that are one regular volume are ordered exactly; all others are refused with their reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from dicom_io.errors import (
    DuplicatePositions,
    GantryTilt,
    MissingGeometry,
    MixedGeometry,
    NoPixels,
    NotAVolume,
    NotDicom,
    TooFewSlices,
    UnevenSpacing,
)
from dicom_io.geometry import kji_to_lps
from dicom_io.series import find_instances, group_by_series, read_series
from dicom_io.synthesis import write_ct_series
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import ORIENTATIONS, Spoil, affine_of, shift, spoil, voxels, write_series


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_is_read_with_its_own_affine_and_voxels(name: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path, name)
    series = read_series(paths)
    volume = read_volume(series)
    corners = [[0, 0, 0], [6, 11, 9], [6, 0, 9], [0, 11, 0]]
    assert np.abs(kji_to_lps(volume.affine, corners) - kji_to_lps(affine_of(name), corners)).max() < 1e-3
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))
    assert series.quirks == ()


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_affine_puts_the_first_pixel_of_each_slice_where_its_instance_says(name: str, tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path, name))
    for k, frame in enumerate(series.frames):
        assert np.abs(kji_to_lps(series.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


def test_order_comes_from_positions_whatever_names_and_numbers_say(tmp_path: Path) -> None:
    def scramble(dataset: FileDataset, index: int) -> None:
        dataset.InstanceNumber, dataset.SliceLocation = 100 - 13 * index, "0"

    paths = spoil(write_series(tmp_path), scramble)
    renamed = [shutil.move(path, tmp_path / f"{(5 * index) % 7}") for index, path in enumerate(paths)]
    volume = read_volume(read_series([Path(path) for path in renamed]))
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))


def test_a_stack_that_was_written_against_its_normal_still_ascends_along_it(tmp_path: Path) -> None:
    descending = affine_of("axial")
    descending[:3, 0] *= -1.0
    volume = read_volume(read_series(write_ct_series(tmp_path, voxels(), descending)))
    assert np.array_equal(volume.voxels, voxels()[::-1].astype(np.float32))
    assert np.allclose(volume.affine[:3, 0], [0.0, 0.0, 2.5])
    assert np.allclose(volume.affine[:3, 3], kji_to_lps(descending, [6, 0, 0]))


def test_spacing_comes_from_positions_and_a_thicker_slice_is_a_quirk(tmp_path: Path) -> None:
    def thicken(dataset: FileDataset, index: int) -> None:
        dataset.SliceThickness = "5"

    series = read_series(spoil(write_series(tmp_path), thicken))
    assert np.linalg.norm(series.affine[:3, 0]) == pytest.approx(2.5)
    assert series.quirks == ("overlapping-slices",)


def test_an_instance_that_was_stored_twice_counts_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    again = shutil.copy(paths[2], tmp_path / "again")
    series = read_series([*paths, Path(again)])
    assert len(series.headers) == len(paths)
    assert series.quirks == ("duplicate-instances",)


@pytest.mark.parametrize("pattern", ["-+-+-+-", "+-----+", "-++--++", "+++----", "-------"])
def test_position_jitter_up_to_a_hundredth_of_a_millimetre_is_accepted_and_reported(pattern: str, tmp_path: Path) -> None:
    def jitter(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, 0.01 if pattern[index] == "+" else -0.01))

    series = read_series(spoil(write_series(tmp_path), jitter))
    if len(set(pattern)) == 1:  # all shifted alike: no jitter
        assert series.quirks == ()
        return
    assert series.quirks == ("position-jitter",)
    assert np.linalg.norm(series.affine[:3, 0]) == pytest.approx(2.5, abs=0.01)


def test_a_missing_slice_is_refused_between_its_neighbours(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    with pytest.raises(UnevenSpacing, match=r"5\.000 mm between image 3 at .* and image 5 at .* \(1 slice\(s\) missing\)"):
        read_series([path for index, path in enumerate(paths) if index != 3])


def test_mixed_spacing_is_refused(tmp_path: Path) -> None:
    def stretch(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, max(0, index - 3) * 1.25))

    with pytest.raises(UnevenSpacing, match=r"2\.500 mm apart, but 3\.750 mm"):
        read_series(spoil(write_series(tmp_path), stretch))


def test_slices_that_step_sideways_are_refused(tmp_path: Path) -> None:
    def zigzag(dataset: FileDataset, index: int) -> None:
        shift(dataset, ((-1) ** index * 0.5, 0.0, 0.0))

    with pytest.raises(UnevenSpacing, match="do not lie on one grid"):
        read_series(spoil(write_series(tmp_path), zigzag))


@pytest.mark.parametrize("degrees", [0.2, 15.0, -20.0])
def test_a_tilted_series_is_refused_with_its_angle(degrees: float, tmp_path: Path) -> None:
    def tilt(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 2.5 * np.tan(np.radians(degrees)), 0.0))

    with pytest.raises(GantryTilt, match=rf"sheared by {abs(degrees):.2f} degrees"):
        read_series(spoil(write_series(tmp_path), tilt))


def test_a_shear_of_a_few_hundredths_of_a_degree_is_carried_exactly(tmp_path: Path) -> None:
    def lean(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 2.5 * np.tan(np.radians(0.05)), 0.0))

    series = read_series(spoil(write_series(tmp_path), lean))
    for k, frame in enumerate(series.frames):
        assert np.abs(kji_to_lps(series.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


def test_two_images_in_one_place_are_refused(tmp_path: Path) -> None:
    def second_phase(dataset: FileDataset, index: int) -> None:
        dataset.SOPInstanceUID = generate_uid()

    paths = write_series(tmp_path)
    phase = spoil([Path(shutil.copy(path, tmp_path / f"phase-{index}")) for index, path in enumerate(paths)], second_phase)
    with pytest.raises(DuplicatePositions, match="14 images lie in only 7 places"):
        read_series([*paths, *phase])


def turn(dataset: FileDataset, index: int) -> None:
    if index == 4:
        dataset.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]


def widen(dataset: FileDataset, index: int) -> None:
    if index == 4:
        dataset.PixelSpacing = ["0.8", "0.9"]


def shrink(dataset: FileDataset, index: int) -> None:
    if index == 4:
        dataset.Rows = 6
        dataset.PixelData = dataset.PixelData[: 6 * 10 * 2]


def leave_the_frame_of_reference(dataset: FileDataset, index: int) -> None:
    if index == 4:
        dataset.FrameOfReferenceUID = generate_uid()


@pytest.mark.parametrize("change", [turn, widen, shrink, leave_the_frame_of_reference])
def test_mixed_geometry_is_refused(change: Spoil, tmp_path: Path) -> None:
    with pytest.raises(MixedGeometry, match="image 5 has"):
        read_series(spoil(write_series(tmp_path), change))


def lose_position(dataset: FileDataset, index: int) -> None:
    del dataset.ImagePositionPatient


def lose_orientation(dataset: FileDataset, index: int) -> None:
    dataset.ImageOrientationPatient = ["1", "0", "0", "1", "0", "0"]


def lose_spacing(dataset: FileDataset, index: int) -> None:
    dataset.PixelSpacing = None


@pytest.mark.parametrize("change", [lose_position, lose_orientation, lose_spacing])
def test_images_without_a_place_in_the_patient_are_refused(change: Spoil, tmp_path: Path) -> None:
    with pytest.raises(MissingGeometry, match="7 of 7 frames have no place"):
        read_series(spoil(write_series(tmp_path), change))


def test_a_missing_frame_of_reference_is_a_quirk(tmp_path: Path) -> None:
    def forget(dataset: FileDataset, index: int) -> None:
        del dataset.FrameOfReferenceUID

    series = read_series(spoil(write_series(tmp_path), forget))
    assert (series.frame_of_reference_uid, series.quirks) == ("", ("no-frame-of-reference",))


def test_two_slices_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(TooFewSlices, match=r"has 2 slice\(s\)"):
        read_series(write_series(tmp_path)[:2])
    with pytest.raises(TooFewSlices, match="no instance"):
        read_series([])


def test_a_localizer_among_the_slices_is_refused(tmp_path: Path) -> None:
    def scout(dataset: FileDataset, index: int) -> None:
        if index == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    with pytest.raises(NotAVolume, match="1 of 7 instances are localizers"):
        read_series(spoil(write_series(tmp_path), scout))


def test_secondary_captures_are_no_volume(tmp_path: Path) -> None:
    def capture(dataset: FileDataset, index: int) -> None:
        dataset.SOPClassUID = SecondaryCaptureImageStorage

    with pytest.raises(NotAVolume, match="Secondary Capture Image Storage, not a slice"):
        read_series(spoil(write_series(tmp_path), capture))


def test_instances_without_an_image_are_refused(tmp_path: Path) -> None:
    def strip(dataset: FileDataset, index: int) -> None:
        del dataset.Rows, dataset.Columns, dataset.PixelData

    with pytest.raises(NoPixels, match="without an image"):
        read_series(spoil(write_series(tmp_path), strip))


def test_instances_of_two_series_are_no_volume(tmp_path: Path) -> None:
    def leave(dataset: FileDataset, index: int) -> None:
        if index == 2:
            dataset.SeriesInstanceUID = generate_uid()

    with pytest.raises(NotAVolume, match="differ in Series Instance UID"):
        read_series(spoil(write_series(tmp_path), leave))


def test_attributes_are_text_by_keyword_as_they_were_stored(tmp_path: Path) -> None:
    def describe(dataset: FileDataset, index: int) -> None:
        dataset.KVP = "120.00"
        dataset.ConvolutionKernel = ["Br38f", "3"]
        dataset.add_new((0x0009, 0x0010), "LO", "ACME")
        dataset.add_new((0x0009, 0x1001), "UN", b"\x01\x02")

    attributes = read_series(spoil(write_series(tmp_path), describe)).attributes
    assert attributes["KVP"] == "120.00"
    assert attributes["ConvolutionKernel"] == ("Br38f", "3")
    assert attributes["ImageType"] == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert attributes["Rows"] == "12"
    assert attributes["PatientName"] == "Phantom^Synthetic"
    assert attributes["ReferringPhysicianName"] == ""
    assert "PixelData" not in attributes
    assert all(key.isalnum() for key in attributes)


def test_a_folder_is_grouped_by_series_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_ct_series(tmp_path / "b" / "deeper", voxels(), affine_of("axial"), modality="MR")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "empty").touch()
    groups = group_by_series(find_instances(tmp_path))
    assert [len(group) for group in groups.values()] == [7, 7]
    assert {header.modality for group in groups.values() for header in group} == {"CT", "MR"}


def test_a_text_file_is_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(NotDicom, match="expected 'DICM' after a preamble"):
        read_series([tmp_path / "notes.txt"])
