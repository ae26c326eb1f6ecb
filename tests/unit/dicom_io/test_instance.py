"""Headers of real archives: without preamble, without file meta information, with blanked UIDs, cut short."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_io.errors import NotDicom
from dicom_io.instance import fill_identity, read_dataset, read_header
from dicom_io.quiet import without_pydicom_warnings
from tests.unit.dicom_io.mutations import ORIGIN_MM, write_series


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One CT slice."""
    return write_series(tmp_path)[0]


def test_a_header_says_what_the_instance_says(path: Path) -> None:
    header = read_header(path)
    stored = pydicom.dcmread(path)
    assert (header.sop_instance_uid, header.series_instance_uid) == (stored.SOPInstanceUID, stored.SeriesInstanceUID)
    assert (header.modality, header.number_of_frames, header.filled) == ("CT", 1, ())
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert header.plane is not None
    assert header.plane.position_mm == pytest.approx(ORIGIN_MM)
    assert "PixelData" not in header.dataset


def test_a_file_without_preamble_is_read(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])
    assert read_header(path).plane is not None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_bare_data_set_is_read_and_its_transfer_syntax_found(path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(path)
    bare = Dataset()
    bare.update({element.tag: element for element in dataset if element.keyword != "PixelData"})
    bare.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian)
    header = read_header(path)
    assert header.transfer_syntax_uid == syntax
    assert header.plane is not None


def test_a_large_private_element_is_read_on_demand_also_from_a_deflated_file(path: Path) -> None:
    blob = bytes(range(256)) * 1024
    for syntax in (None, DeflatedExplicitVRLittleEndian):
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x0029, "ACME", create=True)
        block.add_new(0x10, "OB", blob)
        dataset.file_meta.TransferSyntaxUID = syntax or dataset.file_meta.TransferSyntaxUID
        dataset.save_as(path)
        assert read_header(path).dataset[0x0029, 0x1010].value == blob


def test_blanked_uids_are_filled_from_the_file_and_derived_alike_for_a_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths:
        dataset = pydicom.dcmread(path)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            dataset[keyword].value = ""
        # Written as it is, since the file meta information must keep what the data set lost.
        dataset.save_as(path, enforce_file_format=False)
    headers = [read_header(path) for path in paths]
    assert headers[0].filled == ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    assert len({header.series_instance_uid for header in headers}) == 1
    assert len({header.sop_instance_uid for header in headers}) == 7
    assert headers[0].series_instance_uid.startswith("2.25.")
    assert headers[0].series_instance_uid != headers[0].study_instance_uid
    assert read_dataset(paths[0]).SOPInstanceUID == headers[0].sop_instance_uid


def test_stand_in_uids_keep_patients_apart() -> None:
    uids = []
    for patient in ("A", "B"):
        dataset = Dataset()
        dataset.PatientID, dataset.SeriesTime = patient, "101112"
        fill_identity(dataset, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")
        uids.append(dataset.SeriesInstanceUID)
    assert uids[0] != uids[1]


def test_an_instance_that_nothing_tells_from_others_is_refused() -> None:
    with pytest.raises(NotDicom, match="to stand in for it"):
        fill_identity(Dataset(), "1.2.840.10008.5.1.4.1.1.2", "1.2.3")
    with pytest.raises(NotDicom, match="expected SOPClassUID"):
        fill_identity(Dataset(), "", "1.2.3")


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"\x08\x00\x05\x00" + b"\xff" * 300, b"\x00" * 128 + b"DICM"])
def test_bytes_that_only_begin_like_dicom_are_refused(content: bytes, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(content)
    with pytest.raises(NotDicom):
        read_header(broken)


@pytest.mark.parametrize("length", [140, 300, 500, 700])
def test_a_header_that_is_cut_short_is_refused_or_lacks_only_what_was_cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    try:
        header = read_header(path)
    except NotDicom:
        return
    assert header.plane is None


def test_a_stray_private_element_and_an_overlong_value_do_not_disturb(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x0009, 0x10FF), "UN", b"stray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.AccessionNumber = "an accession number that is far too long"
        dataset.save_as(path)
    assert read_header(path).plane is not None


def test_warnings_come_back_when_the_last_reader_has_left() -> None:
    with without_pydicom_warnings():
        with without_pydicom_warnings():
            warnings.warn("a value is too long", UserWarning, stacklevel=1)
        warnings.warn("a value is too long", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning):
        warnings.warn("a value is too long", UserWarning, stacklevel=1)
