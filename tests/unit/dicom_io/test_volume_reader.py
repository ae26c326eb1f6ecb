"""Pixels of a judged series: each instance by its own signedness, slope and padding; damage is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import HEVCMP51, JPEGLSLossless, RLELossless

from dicom_io import limits
from dicom_io.errors import NoPixels, UndecodablePixels
from dicom_io.series import read_series
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import spoil, voxels, write_series


def test_sources_name_the_instance_of_each_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    volume = read_volume(read_series(paths[::-1]))
    assert [source.path for source in volume.sent] == list(paths)
    assert [source.sop_instance_uid for source in volume.sent] == [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    assert volume.padding is None


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    def rescale(dataset: FileDataset, index: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = str(index + 1), str(-10 * index)

    volume = read_volume(read_series(spoil(write_series(tmp_path), rescale)))
    k = np.arange(7, dtype=np.float32)[:, None, None]
    assert np.array_equal(volume.voxels, voxels() * (k + 1) - 10 * k)


def test_mixed_signedness_is_decoded_instance_by_instance(tmp_path: Path) -> None:
    def unsign(dataset: FileDataset, index: int) -> None:
        if index % 2:
            stored = np.frombuffer(dataset.PixelData, "<i2").astype(np.int32) + 1024
            dataset.PixelData = stored.astype("<u2").tobytes()
            dataset.PixelRepresentation, dataset.RescaleIntercept = 0, "-1024"

    volume = read_volume(read_series(spoil(write_series(tmp_path), unsign)))
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))


def test_padding_takes_the_smallest_value_of_the_image_and_is_marked(tmp_path: Path) -> None:
    def pad(dataset: FileDataset, index: int) -> None:
        stored = np.frombuffer(dataset.PixelData, "<i2").copy()
        stored[:15] = -2000
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", "SS", -2000)

    volume = read_volume(read_series(spoil(write_series(tmp_path), pad)))
    assert volume.padding is not None
    assert volume.padding.sum() == 7 * 15
    assert volume.padding[:, 0, :].all()
    assert volume.voxels.min() == voxels()[0, 1, 5]
    assert (volume.voxels[volume.padding] == volume.voxels.min()).all()
    assert volume.quirks == ("padding",)


def test_padding_that_is_stated_but_never_used_leaves_no_mark(tmp_path: Path) -> None:
    def state(dataset: FileDataset, index: int) -> None:
        dataset.add_new("PixelPaddingValue", "SS", -2000)

    volume = read_volume(read_series(spoil(write_series(tmp_path), state)))
    assert (volume.padding, volume.quirks) == (None, ())


def test_monochrome1_keeps_its_values(tmp_path: Path) -> None:
    def invert(dataset: FileDataset, index: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    volume = read_volume(read_series(spoil(write_series(tmp_path), invert)))
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_compression_does_not_change_a_voxel(syntax: str, tmp_path: Path) -> None:
    def compress(dataset: FileDataset, index: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    volume = read_volume(read_series(spoil(write_series(tmp_path), compress)))
    assert np.array_equal(volume.voxels, voxels().astype(np.float32))


@pytest.mark.parametrize("lost", [2, 40, 120])
def test_native_pixels_that_are_cut_short_are_refused(lost: int, tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:-lost])
    with pytest.raises(UndecodablePixels, match=r"image 4 \(Explicit VR Little Endian.*decoder pydicom failed"):
        read_volume(read_series(paths))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels_that_are_cut_short_are_refused(syntax: str, tmp_path: Path) -> None:
    def compress(dataset: FileDataset, index: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    paths = spoil(write_series(tmp_path), compress)
    paths[3].write_bytes(paths[3].read_bytes()[:-80])
    with pytest.raises(UndecodablePixels, match="the file ends before its pixel data do"):
        read_volume(read_series(paths))


def test_a_code_stream_without_its_end_is_refused(tmp_path: Path) -> None:
    def tear(dataset: FileDataset, index: int) -> None:
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData.replace(b"\xff\xd9", b"\x12\x34")

    with pytest.raises(UndecodablePixels, match="ends without its end-of-image marker"):
        read_volume(read_series(spoil(write_series(tmp_path), tear)))


def test_video_has_no_decoder(tmp_path: Path) -> None:
    def film(dataset: FileDataset, index: int) -> None:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = HEVCMP51

    with pytest.raises(UndecodablePixels, match=r"HEVC.*there is no decoder"):
        read_volume(read_series(spoil(write_series(tmp_path), film)))


def test_an_image_without_pixel_data_is_refused(tmp_path: Path) -> None:
    def strip(dataset: FileDataset, index: int) -> None:
        del dataset.PixelData

    with pytest.raises(NoPixels, match="expected pixel data, got none"):
        read_volume(read_series(spoil(write_series(tmp_path), strip)))


def test_a_pixel_bomb_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    def inflate(dataset: FileDataset, index: int) -> None:
        dataset.Rows = dataset.Columns = 65535

    with pytest.raises(UndecodablePixels, match=f"expected at most {limits.MAXIMUM_SAMPLES} samples"):
        read_volume(read_series(spoil(write_series(tmp_path), inflate)))
