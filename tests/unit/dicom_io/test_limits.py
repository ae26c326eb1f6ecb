"""Headers and streams that promise more than anyone sends are refused before anything is allocated for them."""

from __future__ import annotations

import resource
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io import limits, values
from dicom_io.errors import NotAVolume, NotDicom, UndecodablePixels
from dicom_io.instance import read_header
from dicom_io.series import read_series
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import spoil, write_series


def deflate(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def test_a_deflated_series_is_read(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    expected = read_volume(read_series(paths)).voxels
    for path in paths:
        deflate(path)
    assert (read_volume(read_series(paths)).voxels == expected).all()


def test_a_deflate_bomb_is_refused_without_being_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAXIMUM_INFLATED_BYTES", 2**24)
    (path,) = write_series(tmp_path)[:1]
    deflate(path)
    content = path.read_bytes()
    meta = content.index(b"1.2.840.10008.1.2.1.99")
    # The file keeps its meta information; its data set becomes 256 MiB of zeros in 256 KiB.
    start = 132 + 12 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    assert meta < start
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(content[:start] + b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotDicom, match="inflates to more"):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_sequences_in_sequences_without_end_are_no_dicom(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path)[:1]
    nested = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    content = path.read_bytes()
    start = 132 + 12 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(content[:start] + nested)
    with pytest.raises(NotDicom, match="broken"):
        read_header(path)
    assert RecursionError in values.READING_ERRORS


def test_a_million_frames_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    def promise(dataset: FileDataset, index: int) -> None:
        dataset.NumberOfFrames = 2_000_000_000

    series = read_series(spoil(write_series(tmp_path)[:1], promise))
    assert isinstance(series.refusal, NotAVolume)
    assert "expected at most 20000" in str(series.refusal)


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (65535, 16386)])
def test_a_matrix_beyond_the_limit_is_refused_before_it_is_allocated(rows: int, columns: int, tmp_path: Path) -> None:
    def inflate(dataset: Dataset, index: int) -> None:
        dataset.Rows, dataset.Columns = rows, columns

    with pytest.raises(UndecodablePixels, match="expected at most"):
        read_volume(read_series(spoil(write_series(tmp_path), inflate)))
