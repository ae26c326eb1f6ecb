"""Real series: voxels and millimetres beside an independent reader's, and the reason for each one that is refused."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray

from dicom_io.decode import decode_frames
from dicom_io.errors import (
    UndecodablePixels,
)
from dicom_io.frame_reader import read_frames
from dicom_io.geometry import kji_to_lps
from dicom_io.instance import read_header
from dicom_io.series import Series, find_instances, group_by_series, read_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume

SYNTAXES = "compressed_ct_all_syntaxes"
STS = "ct_pet_mr_sts_rtstruct/STS_002/dicom/STS_002"


@pytest.fixture(scope="module")
def lung(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 134 slices of a chest CT and their contours, unpacked."""
    folder = tmp_path_factory.mktemp("lung")
    with tarfile.open(shared_folder / "data/ct_dicom_rtstruct/LUNG1-001.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def images_of(folder: Path) -> Series:
    """The one series of images in a folder."""
    groups = group_by_series(find_instances(folder)).values()
    (group,) = [group for group in groups if group[0].modality in ("CT", "MR", "PT")]
    return read_series([header.path for header in group])


def expect_as_simpleitk_reads_it(volume: Volume) -> None:
    """Compare with SimpleITK, which is given the files in our order: a fair witness for a regular series."""
    sitk: Any = SimpleITK  # ships no types
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(source.path) for source in volume.sent])
    image = reader.Execute()
    assert np.allclose(sitk.GetArrayFromImage(image), volume.voxels, rtol=1e-6, atol=1e-4)
    slices, rows, columns = volume.voxels.shape
    for k, j, i in ((0, 0, 0), (slices - 1, rows - 1, columns - 1), (slices // 2, 0, columns - 1)):
        theirs = image.TransformIndexToPhysicalPoint((i, j, k))
        assert np.abs(kji_to_lps(volume.affine, [k, j, i]) - theirs).max() < 1e-3


def test_a_chest_ct_of_134_slices_is_read_as_an_independent_reader_does(lung: Path) -> None:
    series = images_of(lung)
    volume = read_volume(series)
    assert volume.voxels.shape == (134, 512, 512)
    assert volume.spacing_mm == pytest.approx((3.0, 0.9765625, 0.9765625))
    assert series.attributes["Modality"] == "CT"
    expect_as_simpleitk_reads_it(volume)


def test_jpeg_2000_slices_with_blanked_uids_and_no_extension_are_read_and_overlap(shared_folder: Path) -> None:
    series = images_of(shared_folder / "data/ct_dicom_j2k_totalseg")
    volume = read_volume(series)
    assert volume.voxels.shape == (20, 512, 512)
    assert volume.spacing_mm[0] == pytest.approx(2.0)
    assert volume.quirks == ("filled-identity", "overlapping-slices")
    assert series.series_instance_uid.startswith("2.25.")
    expect_as_simpleitk_reads_it(volume)


@pytest.mark.parametrize(("kind", "shape"), [("CT", (48, 143, 161)), ("PET", (48, 27, 30)), ("MR_T1", (35, 90, 115))])
def test_ct_pet_and_mr_of_one_patient_are_read(kind: str, shape: tuple[int, int, int], shared_folder: Path) -> None:
    volume = read_volume(images_of(shared_folder / "data" / STS / kind / "image"))
    assert volume.voxels.shape == shape
    expect_as_simpleitk_reads_it(volume)


def test_an_enhanced_mr_volume_is_read_frame_by_frame(shared_folder: Path) -> None:
    path = shared_folder / "data/enhanced_multiframe/IM-0001-0170-0001.dcm"
    series = read_series([path])
    volume = read_volume(series)
    assert volume.voxels.shape == (8, 256, 256)
    assert volume.spacing_mm == pytest.approx((1.2, 1.0, 1.0), abs=1e-3)
    # Columns run towards the feet and rows towards the back, so the normal points to the patient's right, as the frames go.
    assert [source.frame_number for source in volume.sent] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert volume.affine[0, 0] == pytest.approx(-1.2, abs=1e-3)
    stored = decode_frames(series.headers[0]).astype(np.float64)
    assert np.allclose(volume.voxels, stored * 4.25885225885225, rtol=1e-6)


def stored_slice(shared_folder: Path, name: str) -> NDArray[np.generic]:
    return decode_frames(read_header(shared_folder / "data" / SYNTAXES / name))


LOSSLESS = [
    "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2",
    "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1",
    "DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99",
    "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2",
    "RLELosslessTransferSyntax_1.2.840.10008.1.2.5",
    "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57",
    "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70",
    "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80",
    "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90",
]


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_the_same_slice_is_bit_exact_in_every_lossless_syntax(syntax: str, shared_folder: Path) -> None:
    stored = stored_slice(shared_folder, f"CTImage.dcm_{syntax}.dcm")
    assert stored.dtype == np.int16
    assert np.array_equal(stored, stored_slice(shared_folder, "CTImage.dcm"))


@pytest.mark.parametrize(
    ("syntax", "error"), [("JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81", 1), ("JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91", 5)]
)
def test_lossy_syntaxes_come_close(syntax: str, error: int, shared_folder: Path) -> None:
    stored = stored_slice(shared_folder, f"CTImage.dcm_{syntax}.dcm").astype(np.int32)
    assert np.abs(stored - stored_slice(shared_folder, "CTImage.dcm").astype(np.int32)).max() <= error


@pytest.mark.parametrize(
    "name",
    [
        "CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm",
        "TestPattern_JPEG-Baseline_YBRFull.dcm",
        "TestPattern_JPEG-Baseline_YBR422.dcm",
    ],
)
def test_baseline_jpeg_gives_the_pixels_that_dcmtk_gives(name: str, shared_folder: Path, tmp_path: Path) -> None:
    if shutil.which("dcmdjpeg") is None:
        pytest.skip("not installed: dcmdjpeg (apt-get install dcmtk)")
    # +cn: colours stay as they are coded, as ours do.
    subprocess.run(["dcmdjpeg", "+cn", shared_folder / "data" / SYNTAXES / name, tmp_path / "plain.dcm"], check=True, capture_output=True)
    theirs = pydicom.dcmread(tmp_path / "plain.dcm").pixel_array
    ours = stored_slice(shared_folder, name)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs[None])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm", r"1\.2\.840\.10008\.1\.2\.4\.53\): there is no decoder"),
        ("CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", r"1\.2\.840\.10008\.1\.2\.4\.55\): there is no decoder"),
        ("CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm", "python-gdcm failed.*12-bit"),
    ],
)
def test_syntaxes_without_a_decoder_are_refused_by_name(name: str, words: str, shared_folder: Path) -> None:
    with pytest.raises(UndecodablePixels, match=words):
        stored_slice(shared_folder, name)


def test_jpeg_2000_streams_padded_with_ones_are_whole(shared_folder: Path) -> None:
    assert stored_slice(shared_folder, "CT1_J2KR").max() == 2278


def test_a_truncated_jpeg_2000_instance_is_refused(shared_folder: Path) -> None:
    header = read_header(shared_folder / "data/enhanced_multiframe_pydicom/emri_small_jpeg_2k_lossless_too_short.dcm")
    with pytest.raises(UndecodablePixels, match="the file ends before its pixel data do"):
        decode_frames(header)


@pytest.mark.parametrize("name", ["emri_small_RLE.dcm", "emri_small_big_endian.dcm", "emri_small_jpeg_ls_lossless.dcm"])
def test_multi_frame_syntaxes_are_bit_exact(name: str, shared_folder: Path) -> None:
    folder = shared_folder / "data/enhanced_multiframe_pydicom"
    expected = decode_frames(read_header(folder / "emri_small.dcm"))
    assert expected.shape == (10, 64, 64)
    assert np.array_equal(decode_frames(read_header(folder / name)), expected)


def test_a_colour_cine_becomes_rgb_frames_with_their_time(shared_folder: Path) -> None:
    stack = read_frames(read_header(shared_folder / "data/us_multiframe/examples_ybr_color.dcm"))
    assert stack.frames.shape == (30, 240, 320, 3)
    assert stack.frames.dtype == np.uint8
    assert stack.frame_time_ms is not None
    assert [source.frame_number for source in stack.sources] == list(range(1, 31))


@pytest.mark.parametrize("name", ["TestPattern_RGB.dcm", "TestPattern_Palette.dcm", "US-YBR_FULL_422-EVRLE.dcm"])
def test_single_colour_pictures_become_one_rgb_frame(name: str, shared_folder: Path) -> None:
    stack = read_frames(read_header(shared_folder / "data" / SYNTAXES / name))
    assert stack.frames.shape[0] == 1
    assert stack.frames.shape[3] == 3
    assert stack.frame_time_ms is None


def test_signed_ct_values_belong_in_a_volume(shared_folder: Path) -> None:
    with pytest.raises(UndecodablePixels, match="expected unsigned values"):
        read_frames(read_header(shared_folder / "data" / SYNTAXES / "CTImage.dcm"))
