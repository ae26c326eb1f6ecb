"""Damaged attributes: read as absent or refused by name, and never quoted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset

from dicom_io.errors import InvalidSegmentation, NotDicom, UndecodablePixels
from dicom_io.frame_attributes import items_of, numbers
from dicom_io.instance import read_header
from dicom_io.intensity import modality_transform
from dicom_io.part10 import identify_encoded
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.values import in_words, shown_uid, shown_word, text_of, value_of
from tests.unit.dicom_io.mutations import spoil, write_series

NAME = "Zebedee^Ann"
EARLY_END = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0"
"""A sequence of undefined length that ends within the tag of its first item."""


def _file_that_ends_early(folder: Path) -> Path:
    (path,) = write_series(folder)[:1]
    start = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[:start] + EARLY_END)
    return path


def test_a_file_that_ends_within_a_sequence_is_no_dicom_rather_than_a_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match="broken"):
        read_header(_file_that_ends_early(tmp_path))


def test_a_result_that_ends_within_a_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSegmentation, match="damaged"):
        read_segmentation(_file_that_ends_early(tmp_path))


def test_a_missing_file_is_still_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.dcm")


@pytest.mark.filterwarnings("ignore")
def test_an_instance_that_a_name_identifies_is_refused_without_the_name(tmp_path: Path) -> None:
    def named(dataset: FileDataset, _index: int) -> None:
        dataset.add_new("SeriesInstanceUID", "LO", NAME)

    with pytest.raises(NotDicom, match="SeriesInstanceUID: expected 1 to 64 digits and dots, got 11 characters that are no UID"):
        read_header(spoil(write_series(tmp_path)[:1], named)[0])
    with pytest.raises(NotDicom) as refused:
        identify_encoded(b"\x08\0\x16\0UI\x0c\0" + NAME.encode() + b"\0", "1.2.840.10008.1.2.1")
    assert NAME not in str(refused.value)


def test_an_attribute_of_another_kind_is_absent(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path)[:1]
    content = path.read_bytes()
    place = content.index(b"\x28\0\x10\0US\2\0")
    path.write_bytes(content[:place] + b"\x28\0\x10\0US\3\0\x01\x02\x03" + content[place + 10 :])
    dataset = read_header(path).dataset
    assert value_of(dataset, "Rows") is None
    assert (numbers(dataset, "Rows"), text_of(dataset, "Rows"), items_of(dataset, "PatientName")) == ((), "", ())


def test_what_a_library_quotes_is_left_out_of_its_words() -> None:
    quoted = f"could not convert {NAME!r} of b'{NAME}' at the header's byte 7"
    assert in_words(ValueError(quoted)) == "could not convert ... of ... at the header's byte 7"
    assert in_words(KeyError(NAME)) == "..."
    assert in_words(ValueError()) == "ValueError"
    assert (shown_uid(NAME), shown_word(NAME), shown_uid(""), shown_word("CLOSED_PLANAR")) == (
        "11 characters that are no UID",
        "11 other characters",
        "none",
        "CLOSED_PLANAR",
    )


def test_a_slope_that_makes_voxels_infinite_is_refused() -> None:
    dataset = Dataset()
    dataset.RescaleSlope, dataset.RescaleIntercept = "1e308", "0"
    with pytest.raises(UndecodablePixels, match="expected values below 1e\\+30"):
        modality_transform(dataset, np.ones((2, 2), np.int16))
