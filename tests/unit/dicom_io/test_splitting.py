"""A series that holds several volumes comes apart into them, each with its own voxels and millimetres; what cannot is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from dicom_io.errors import DuplicatePositions, MixedGeometry, NotAVolume, SeveralVolumes, TooFewSlices
from dicom_io.geometry import kji_to_lps
from dicom_io.series import Series, read_series
from dicom_io.volume_reader import read_stack, read_volume
from tests.unit.dicom_io.mutations import affine_of, shift, spoil, voxels, write_series

State = Callable[[FileDataset, int, int], None]
"""What the image of slice k in volume n says."""


def write_volumes(folder: Path, count: int, state: State, slices: tuple[int, ...] = tuple(range(7))) -> tuple[Path, ...]:
    """A series of `count` volumes in one place, whose voxels differ by 100 a volume."""
    paths: list[Path] = []
    for n in range(count):

        def change(dataset: FileDataset, k: int, n: int = n) -> None:
            dataset.SOPInstanceUID = generate_uid()
            dataset.InstanceNumber = 7 * n + k + 1
            dataset.RescaleIntercept = str(100 * n)
            state(dataset, k, n)

        written = spoil(write_series(folder / str(n)), change)
        paths += [written[k] for k in slices]
    return tuple(paths)


def expect_volumes(series: Series, count: int) -> None:
    assert len(series.stacks) == count
    assert series.refused == ()
    for n, stack in enumerate(series.stacks):
        volume = read_stack(stack)
        assert np.array_equal(volume.voxels, voxels().astype(np.float32) + 100 * n)
        corners = [[0, 0, 0], [6, 11, 9]]
        assert np.abs(kji_to_lps(volume.affine, corners) - kji_to_lps(affine_of("axial"), corners)).max() < 1e-3


def acquisition(dataset: FileDataset, k: int, n: int) -> None:
    dataset.AcquisitionNumber = n + 1


def echo(dataset: FileDataset, k: int, n: int) -> None:
    dataset.EchoTime = str((5, 12.5, 100)[n])


def b_value(dataset: FileDataset, k: int, n: int) -> None:
    dataset.add_new(0x00189087, "FD", (0.0, 500.0, 1000.0)[n])


def siemens_b_value(dataset: FileDataset, k: int, n: int) -> None:
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", str(400 * n))


def general_electric_b_value(dataset: FileDataset, k: int, n: int) -> None:
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [1000000000 + 50 * n, 8, 0, 0])


def philips_b_value(dataset: FileDataset, k: int, n: int) -> None:
    block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", 300.0 * n)


def gradient(dataset: FileDataset, k: int, n: int) -> None:
    dataset.add_new(0x00189087, "FD", 1000.0)
    dataset.add_new(0x00189089, "FD", ([0.0, 0.6, 0.8], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])[n])


def time_point(dataset: FileDataset, k: int, n: int) -> None:
    dataset.TemporalPositionIdentifier = n + 1


def image_type(dataset: FileDataset, k: int, n: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ("A", "M", "P")[n]]


def trigger(dataset: FileDataset, k: int, n: int) -> None:
    """Cardiac phases whose trigger times drift from slice to slice."""
    dataset.TriggerTime = str(10.5 * k + 40 * n)


def clock(dataset: FileDataset, k: int, n: int) -> None:
    """A dynamic series over midnight: every image has a time of its own."""
    minute = 23 * 60 + 58 + n
    dataset.AcquisitionDate = "20000101" if minute < 24 * 60 else "20000102"
    dataset.AcquisitionTime = f"{minute // 60 % 24:02d}{minute % 60:02d}{k * 3:02d}"


def energy(dataset: FileDataset, k: int, n: int) -> None:
    dataset.KVP = str((80, 100, 140)[n])


def kernel(dataset: FileDataset, k: int, n: int) -> None:
    dataset.ConvolutionKernel = ("B20", "B31", "B70")[n]


@pytest.mark.parametrize(
    ("state", "quirk"),
    [
        (acquisition, "split-by-acquisition"),
        (echo, "split-by-echo"),
        (b_value, "split-by-b-value"),
        (siemens_b_value, "split-by-b-value"),
        (general_electric_b_value, "split-by-b-value"),
        (philips_b_value, "split-by-b-value"),
        (gradient, "split-by-diffusion-direction"),
        (time_point, "split-by-temporal-position"),
        (image_type, "split-by-image-type"),
        (trigger, "split-by-cardiac-phase"),
        (clock, "split-by-acquisition-time"),
        (energy, "split-by-energy"),
        (kernel, "split-by-kernel"),
    ],
)
def test_volumes_in_one_place_come_apart_by_what_tells_them_apart(state: State, quirk: str, tmp_path: Path) -> None:
    series = read_series(write_volumes(tmp_path, 3, state))
    expect_volumes(series, 3)
    assert {stack.quirks for stack in series.stacks} == {(quirk,)}
    assert len({stack.split for stack in series.stacks}) == 3
    with pytest.raises(SeveralVolumes, match="holds 3 volumes"):
        read_volume(series)


def test_two_attributes_are_taken_together_where_one_is_not_enough(tmp_path: Path) -> None:
    def echo_and_phase(dataset: FileDataset, k: int, n: int) -> None:
        dataset.EchoTime, dataset.AcquisitionNumber = str(10 * (n // 2 + 1)), n % 2 + 1

    series = read_series(write_volumes(tmp_path, 4, echo_and_phase))
    expect_volumes(series, 4)
    assert series.stacks[3].split == "EchoTime 20, AcquisitionNumber 2"


def test_slices_with_an_acquisition_number_each_stay_one_volume(tmp_path: Path) -> None:
    def count(dataset: FileDataset, index: int) -> None:
        dataset.AcquisitionNumber, dataset.ContentTime = index + 1, f"1200{index:02d}"

    assert read_series(spoil(write_series(tmp_path), count)).stack.quirks == ()


def test_phases_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DuplicatePositions, match=r"14 images lie in only 7 places: .*nothing in their headers tells whole volumes apart"):
        read_volume(read_series(write_volumes(tmp_path, 2, lambda dataset, k, n: None)))


def test_times_that_are_the_same_for_one_place_tell_nothing(tmp_path: Path) -> None:
    def tie(dataset: FileDataset, k: int, n: int) -> None:
        dataset.AcquisitionTime = f"12{k:02d}{0 if k == 3 else n:02d}"

    assert isinstance(read_series(write_volumes(tmp_path, 2, tie)).refusal, DuplicatePositions)


def test_of_a_slice_that_was_taken_again_the_newest_counts(tmp_path: Path) -> None:
    def taken_again(dataset: FileDataset, k: int, n: int) -> None:
        dataset.ContentTime = f"12{k:02d}{n:02d}"

    again = write_volumes(tmp_path, 2, taken_again)
    stack = read_series([*again[:7], again[7 + 4]]).stack
    assert stack.quirks == ("repeated-slices",)
    expected = voxels().astype(np.float32)
    expected[4] += 100
    assert np.array_equal(read_stack(stack).voxels, expected)


def test_a_repeated_slice_of_unknown_age_is_refused(tmp_path: Path) -> None:
    again = write_volumes(tmp_path, 2, lambda dataset, k, n: None)
    assert isinstance(read_series([*again[:7], again[7 + 4]]).refusal, DuplicatePositions)


def test_a_phase_without_all_its_slices_does_not_spoil_the_other(tmp_path: Path) -> None:
    paths = write_volumes(tmp_path, 2, acquisition)
    series = read_series([path for index, path in enumerate(paths) if index != 9])
    assert [stack.split for stack in series.stacks] == ["AcquisitionNumber 1"]
    assert [(refused.error.code, len(refused.headers)) for refused in series.refused] == [("uneven-spacing", 6)]


def test_two_blocks_of_different_spacing_come_apart_by_their_acquisition(tmp_path: Path) -> None:
    def stretch(dataset: FileDataset, index: int) -> None:
        dataset.AcquisitionNumber = 1 if index < 4 else 2
        shift(dataset, (0.0, 0.0, max(0, index - 3) * 2.5))

    series = read_series(spoil(write_series(tmp_path), stretch))
    assert [len(stack.frames) for stack in series.stacks] == [4, 3]
    assert [round(float(np.linalg.norm(stack.affine[:3, 0])), 6) for stack in series.stacks] == [2.5, 5.0]


def test_a_localizer_in_the_series_is_left_out_with_its_reason(tmp_path: Path) -> None:
    def scout(dataset: FileDataset, index: int) -> None:
        if index == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    series = read_series(spoil(write_series(tmp_path), scout))
    assert len(series.stack.frames) == 6
    (refused,) = series.refused
    assert refused.error.code == "not-a-volume"
    assert "a localizer (scout), not a slice" in refused.reason


@pytest.mark.parametrize("word", ["LOCALIZER", "SCREEN SAVE", "DOSE_INFO", "CSA REPORT", "MOSAIC"])
def test_screens_reports_and_mosaics_that_call_themselves_ct_are_never_volumes(word: str, tmp_path: Path) -> None:
    def mark(dataset: FileDataset, index: int) -> None:
        dataset.ImageType = ["DERIVED", "SECONDARY", word]

    series = read_series(spoil(write_series(tmp_path), mark))
    assert (series.stacks, type(series.refusal)) == ((), NotAVolume)


def paint(dataset: FileDataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = bytes(12 * 10 * 3)


def index_palette(dataset: FileDataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


def present_in_colour(dataset: FileDataset) -> None:
    dataset.PixelPresentation = "COLOR"


@pytest.mark.parametrize("colour", [paint, index_palette, present_in_colour])
def test_colour_maps_are_never_volumes(colour: Callable[[FileDataset], None], tmp_path: Path) -> None:
    series = read_series(spoil(write_series(tmp_path), lambda dataset, index: colour(dataset)))
    assert (series.stacks, type(series.refusal)) == ((), NotAVolume)
    assert "in colour" in str(series.refusal)


def test_a_reformatted_slice_of_another_plane_is_left_out(tmp_path: Path) -> None:
    sagittal = shutil.copy(write_series(tmp_path / "b", "sagittal")[0], tmp_path / "sagittal")
    paths = write_series(tmp_path / "a")

    def adopt(dataset: FileDataset, index: int) -> None:
        dataset.SOPInstanceUID = generate_uid()

    series = read_series([*paths, *spoil([Path(sagittal)], adopt)])
    assert len(series.stack.frames) == 7
    assert [type(refused.error) for refused in series.refused] == [TooFewSlices]


@pytest.mark.parametrize("name", ["sagittal", "coronal"])
def test_two_stacks_of_different_planes_are_two_volumes(name: str, tmp_path: Path) -> None:
    def adopt(dataset: FileDataset, index: int) -> None:
        dataset.SOPInstanceUID = generate_uid()

    series = read_series([*write_series(tmp_path / "a"), *spoil(write_series(tmp_path / "b", name), adopt)])
    for stack, expected in zip(series.stacks, ("axial", name), strict=True):
        assert "split-by-geometry" in stack.quirks
        corners = [[0, 0, 0], [6, 11, 9]]
        assert np.abs(kji_to_lps(stack.affine, corners) - kji_to_lps(affine_of(expected), corners)).max() < 1e-3


def test_two_pixel_spacings_are_two_volumes(tmp_path: Path) -> None:
    def zoom(dataset: FileDataset, index: int) -> None:
        if index >= 4:
            dataset.PixelSpacing = ["0.4", "0.4"]

    series = read_series(spoil(write_series(tmp_path), zoom))
    assert [len(stack.frames) for stack in series.stacks] == [4, 3]


def test_a_fan_of_planes_is_refused_and_costs_no_time(tmp_path: Path) -> None:
    def turn(dataset: FileDataset, index: int) -> None:
        angle = np.radians(index * 20)
        dataset.ImageOrientationPatient = [f"{value:.9f}" for value in (np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0)]

    with pytest.raises(MixedGeometry, match="mixes 7 geometries, and none of them is a volume"):
        read_volume(read_series(spoil(write_series(tmp_path), turn)))
