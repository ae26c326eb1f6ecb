"""A series that is one volume is ordered exactly; what is none is refused with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
from dicom_io.geometry import kji_to_lps, spacing_mm, tilt_degrees
from dicom_io.series import find_instances, group_by_series, read_series
from dicom_io.slice_stack import SliceStack
from dicom_io.synthesis import write_ct_series
from dicom_io.volume_reader import read_stack, read_volume
from tests.unit.dicom_io.mutations import ORIENTATIONS, Spoil, affine_of, shift, spoil, voxels, write_series


def stack_of(paths: Sequence[Path]) -> SliceStack:
    """The one volume of a series; raises why there is none."""
    return read_series(paths).stack


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_is_read_with_its_own_affine_and_voxels(name: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path, name)
    stack = stack_of(paths)
    volume = read_stack(stack)
    corners = [[0, 0, 0], [6, 11, 9], [6, 0, 9], [0, 11, 0]]
    assert np.abs(kji_to_lps(volume.affine, corners) - kji_to_lps(affine_of(name), corners)).max() < 1e-3
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))
    assert stack.quirks == ()


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_affine_puts_the_first_pixel_of_each_slice_where_its_instance_says(name: str, tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path, name))
    for k, frame in enumerate(stack.sent):
        assert np.abs(kji_to_lps(stack.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


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

    stack = stack_of(spoil(write_series(tmp_path), thicken))
    assert np.linalg.norm(stack.affine[:3, 0]) == pytest.approx(2.5)
    assert stack.quirks == ("overlapping-slices",)


def test_an_instance_that_was_stored_twice_counts_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    again = shutil.copy(paths[2], tmp_path / "again")
    stack = stack_of([*paths, Path(again)])
    assert len(stack.headers) == len(paths)
    assert stack.quirks == ("duplicate-instances",)


@pytest.mark.parametrize("pattern", ["-+-+-+-", "+-----+", "-++--++", "+++----", "-------"])
def test_position_jitter_up_to_a_hundredth_of_a_millimetre_is_accepted_and_reported(pattern: str, tmp_path: Path) -> None:
    def jitter(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, 0.01 if pattern[index] == "+" else -0.01))

    stack = stack_of(spoil(write_series(tmp_path), jitter))
    if len(set(pattern)) == 1:  # all shifted alike: no jitter
        assert stack.quirks == ()
        return
    assert stack.quirks == ("position-jitter",)
    assert np.linalg.norm(stack.affine[:3, 0]) == pytest.approx(2.5, abs=0.01)


def test_a_missing_slice_is_refused_between_its_neighbours(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    with pytest.raises(UnevenSpacing, match=r"5\.000 mm between image 3 at .* and image 5 at .* \(1 slice\(s\) missing\)"):
        stack_of([path for index, path in enumerate(paths) if index != 3])


def test_mixed_spacing_is_refused(tmp_path: Path) -> None:
    def stretch(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, 0.0, max(0, index - 3) * 1.25))

    with pytest.raises(UnevenSpacing, match=r"2\.500 mm apart, but 3\.750 mm"):
        stack_of(spoil(write_series(tmp_path), stretch))


def test_slices_that_step_sideways_are_refused(tmp_path: Path) -> None:
    def zigzag(dataset: FileDataset, index: int) -> None:
        shift(dataset, ((-1) ** index * 0.5, 0.0, 0.0))

    with pytest.raises(UnevenSpacing, match="do not lie on one grid"):
        stack_of(spoil(write_series(tmp_path), zigzag))


@pytest.mark.parametrize("degrees", [0.2, 15.0, -20.0, 30.0])
def test_a_tilted_series_keeps_its_shear_to_the_thousandth_of_a_millimetre(degrees: float, tmp_path: Path) -> None:
    def tilt(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 2.5 * np.tan(np.radians(degrees)), 0.0))

    stack = stack_of(spoil(write_series(tmp_path), tilt))
    assert stack.quirks == ("gantry-tilt",)
    assert tilt_degrees(stack.affine) == pytest.approx(abs(degrees), abs=1e-4)
    for k, frame in enumerate(stack.sent):
        assert np.abs(kji_to_lps(stack.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3
    assert np.array_equal(read_stack(stack).voxels, voxels().astype(np.float32))


def test_slices_that_step_more_aside_than_along_are_no_stack(tmp_path: Path) -> None:
    def slide(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 5.0, 0.0))

    with pytest.raises(GantryTilt, match=r"step aside by 63\.4 degrees"):
        stack_of(spoil(write_series(tmp_path), slide))


def test_a_shear_of_a_few_hundredths_of_a_degree_is_carried_exactly(tmp_path: Path) -> None:
    def lean(dataset: FileDataset, index: int) -> None:
        shift(dataset, (0.0, index * 2.5 * np.tan(np.radians(0.05)), 0.0))

    stack = stack_of(spoil(write_series(tmp_path), lean))
    for k, frame in enumerate(stack.sent):
        assert np.abs(kji_to_lps(stack.affine, [k, 0, 0]) - frame.plane.position_mm).max() < 1e-3


def test_two_images_in_one_place_are_refused(tmp_path: Path) -> None:
    def second_phase(dataset: FileDataset, index: int) -> None:
        dataset.SOPInstanceUID = generate_uid()

    paths = write_series(tmp_path)
    phase = spoil([Path(shutil.copy(path, tmp_path / f"phase-{index}")) for index, path in enumerate(paths)], second_phase)
    with pytest.raises(DuplicatePositions, match="14 images lie in only 7 places"):
        stack_of([*paths, *phase])


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
        stack_of(spoil(write_series(tmp_path), change))


def lose_position(dataset: FileDataset, index: int) -> None:
    del dataset.ImagePositionPatient


def lose_orientation(dataset: FileDataset, index: int) -> None:
    dataset.ImageOrientationPatient = ["1", "0", "0", "1", "0", "0"]


def lose_spacing(dataset: FileDataset, index: int) -> None:
    dataset.PixelSpacing = None


@pytest.mark.parametrize("change", [lose_position, lose_orientation, lose_spacing])
def test_images_without_a_place_in_the_patient_are_refused(change: Spoil, tmp_path: Path) -> None:
    with pytest.raises(MissingGeometry, match="7 of 7 frames have no place"):
        stack_of(spoil(write_series(tmp_path), change))


def test_a_missing_frame_of_reference_is_a_quirk(tmp_path: Path) -> None:
    def forget(dataset: FileDataset, index: int) -> None:
        del dataset.FrameOfReferenceUID

    stack = stack_of(spoil(write_series(tmp_path), forget))
    assert (stack.frame_of_reference_uid, stack.quirks) == ("", ("no-frame-of-reference",))


def test_no_instance_is_no_series() -> None:
    with pytest.raises(TooFewSlices, match="no instance"):
        read_series([])


def test_two_slices_are_a_volume_whose_spacing_nothing_confirms(tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path)[:2])
    assert (len(stack.frames), stack.quirks) == (2, ("two-slices",))


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path, "oblique")[3:4])
    assert stack.quirks == ("single-slice",)
    assert spacing_mm(stack.affine) == pytest.approx((1.3, 0.7, 0.7), abs=1e-6)
    assert np.array_equal(read_stack(stack).voxels, voxels()[3:4].astype(np.float32))


def test_a_single_slice_without_a_thickness_is_no_volume(tmp_path: Path) -> None:
    def thin(dataset: FileDataset, index: int) -> None:
        del dataset.SliceThickness

    with pytest.raises(TooFewSlices, match="without a Slice Thickness"):
        stack_of(spoil(write_series(tmp_path)[:1], thin))


def test_secondary_captures_are_no_volume(tmp_path: Path) -> None:
    def capture(dataset: FileDataset, index: int) -> None:
        dataset.SOPClassUID = SecondaryCaptureImageStorage

    with pytest.raises(NotAVolume, match=r"no slice \(Secondary Capture Image Storage\)"):
        stack_of(spoil(write_series(tmp_path), capture))


def test_instances_without_an_image_are_refused(tmp_path: Path) -> None:
    def strip(dataset: FileDataset, index: int) -> None:
        del dataset.Rows, dataset.Columns, dataset.PixelData

    with pytest.raises(NoPixels, match="holds no image"):
        stack_of(spoil(write_series(tmp_path), strip))


def test_instances_of_two_series_are_no_volume(tmp_path: Path) -> None:
    def leave(dataset: FileDataset, index: int) -> None:
        if index == 2:
            dataset.SeriesInstanceUID = generate_uid()

    with pytest.raises(NotAVolume, match="differ in Series Instance UID"):
        stack_of(spoil(write_series(tmp_path), leave))


def test_attributes_are_text_by_keyword_as_they_were_stored(tmp_path: Path) -> None:
    def describe(dataset: FileDataset, index: int) -> None:
        dataset.KVP = "120.00"
        dataset.ConvolutionKernel = ["Br38f", "3"]
        dataset.add_new((0x0009, 0x0010), "LO", "ACME")
        dataset.add_new((0x0009, 0x1001), "UN", b"\x01\x02")

    attributes = stack_of(spoil(write_series(tmp_path), describe)).attributes
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
        stack_of([tmp_path / "notes.txt"])
