"""One instance on disk: its header, its identity and its place, without its pixels.

Three oddities of real archives are met here, so that nobody behind has to: files without the Part 10 preamble, files
without file meta information, and instances whose identifying UIDs were blanked when they were made anonymous.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset as read_elements
from pydicom.filereader import read_preamble
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.errors import NotDicom
from dicom_io.frame_attributes import frame_count, plane_of_frame
from dicom_io.geometry import PlaneGeometry
from dicom_io.limits import expect_inflatable
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.uids import UUID_ROOT, derive_uid
from dicom_io.values import READING_ERRORS, in_words, is_damage, is_uid, shown_uid, text_of

DEFER_BYTES = 65536
"""Elements larger than this stay on disk until someone asks: scanners put raw data of many megabytes in private elements."""

# Attributes that tell one study from another, and one series from another in a study. All come before Series Instance UID
# (0020,000E), so that a parse that stops there derives the same stand-ins as a parse of the whole header.
_STUDY_MARKS = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyTime", "StudyDescription")
_SERIES_MARKS = ("Modality", "SeriesDate", "SeriesTime", "SeriesDescription", "ProtocolName", "StationName")
_ANY_OF = ("SeriesTime", "StudyTime", "AccessionNumber", "PatientID")
_NATIVE_SYNTAXES = {
    # (implicit VR, little endian) as pydicom found them
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceHeader:
    """What an instance says of itself."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    transfer_syntax_uid: str
    number_of_frames: int
    plane: PlaneGeometry | None
    """Where the frame lies; None for several frames (see `plane_of_frame`) and where the instance does not say."""
    dataset: Dataset
    """The header without pixel data; UIDs that the file left empty are filled in (see `fill_identity`)."""
    filled: tuple[str, ...] = ()
    """Keywords of the identifying UIDs that the data set left empty."""


def read_header(path: Path) -> InstanceHeader:
    """Read the header of a DICOM file; its name and extension do not matter.

    Raises NotDicom if the file is not DICOM or cannot be identified; OSError if it cannot be opened.
    """
    with without_pydicom_warnings():
        dataset, filled = _read_identified(path)
        return _header(path, dataset, filled)


def read_dataset(path: Path) -> FileDataset:
    """Return the header as a pydicom data set without pixels, its identity filled in as `read_header` does.

    Raises NotDicom if the file is not DICOM or cannot be identified; OSError if it cannot be opened.
    """
    with without_pydicom_warnings():
        return _read_identified(path)[0]


def fill_identity(dataset: Dataset, sop_class_uid: str, sop_instance_uid: str) -> tuple[str, ...]:
    """Fill the identifying UIDs that are absent or empty in `dataset`, in place; return their keywords.

    SOP Class and Instance UID come from the arguments: the file meta information, or the C-STORE command. Study and
    Series Instance UID become stand-ins derived from patient, dates, times and descriptions, equal for the instances
    of one series. Raises NotDicom if nothing tells the series from others, since patients must never be mixed.
    """
    given = {"SOPClassUID": sop_class_uid, "SOPInstanceUID": sop_instance_uid}
    filled = []
    for keyword, uid in given.items():
        if not text_of(dataset, keyword):
            if not uid:
                raise NotDicom(f"expected {keyword} in the data set or in the file meta information, got none; send the instance again")
            _fill(dataset, keyword, uid)
            filled.append(keyword)
    marks = {"StudyInstanceUID": ("study", _STUDY_MARKS), "SeriesInstanceUID": ("series", (*_STUDY_MARKS, *_SERIES_MARKS))}
    for keyword, (what, keywords) in marks.items():
        if not text_of(dataset, keyword):
            if not any(text_of(dataset, mark) for mark in _ANY_OF):
                raise NotDicom(f"expected {keyword}, or one of {', '.join(_ANY_OF)} to stand in for it, got none; send it with its UIDs")
            entropy = [text_of(dataset, mark) for mark in keywords]
            _fill(dataset, keyword, derive_uid(UUID_ROOT, "stand-in", what, *entropy))
            filled.append(keyword)
    return tuple(filled)


def _fill(dataset: Dataset, keyword: str, uid: str) -> None:
    """Put an element in the place of whatever stood there: a damaged one would be read before it takes a value."""
    dataset.add_new(keyword, "UI", UID(uid))


def _header(path: Path, dataset: FileDataset, filled: tuple[str, ...]) -> InstanceHeader:
    frames = frame_count(dataset)
    return InstanceHeader(
        path=path,
        sop_class_uid=_uid(path, dataset, "SOPClassUID"),
        sop_instance_uid=_uid(path, dataset, "SOPInstanceUID"),
        series_instance_uid=_uid(path, dataset, "SeriesInstanceUID"),
        study_instance_uid=_uid(path, dataset, "StudyInstanceUID"),
        modality=text_of(dataset, "Modality"),
        transfer_syntax_uid=_uid(path, dataset.file_meta, "TransferSyntaxUID"),
        number_of_frames=frames,
        plane=plane_of_frame(dataset, 1) if frames == 1 else None,
        dataset=dataset,
        filled=filled,
    )


def _uid(path: Path, dataset: Dataset, keyword: str) -> str:
    """A UID that is safe to name; trailing NULs and spaces are padding, which its data set loses too."""
    stated = text_of(dataset, keyword)
    uid = stated.rstrip("\0 ")
    if not is_uid(uid):
        raise NotDicom(f"{path.name}: {keyword}: expected 1 to 64 digits and dots, got {shown_uid(uid)}; send it again")
    if uid != stated:
        _fill(dataset, keyword, uid)
    return uid


def _read_identified(path: Path) -> tuple[FileDataset, tuple[str, ...]]:
    dataset = _read(path)
    _complete_file_meta(dataset)
    meta = dataset.file_meta
    try:
        filled = fill_identity(dataset, text_of(meta, "MediaStorageSOPClassUID"), text_of(meta, "MediaStorageSOPInstanceUID"))
    except NotDicom as error:
        raise NotDicom(f"{path.name}: {error}") from error
    return dataset, filled


def _read(path: Path) -> FileDataset:
    _expect_dicom(path)
    try:
        # pydicom looks for a deferred element at its inflated offset in the deflated file.
        return pydicom.dcmread(path, stop_before_pixels=True, defer_size=None if _is_deflated(path) else DEFER_BYTES, force=True)
    except READING_ERRORS as error:
        raise _broken(path, error) from error
    except OSError as error:
        if not is_damage(error):
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> NotDicom:
    return NotDicom(f"{path.name}: expected a DICOM file, got a broken one ({in_words(error)}); send it again")


def _is_deflated(path: Path) -> bool:
    """Whether the data set is deflated; raises NotDicom if it inflates beyond `dicom_io.limits`."""
    with path.open("rb") as file:
        read_preamble(file, force=True)
        meta = read_elements(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if text_of(meta, "TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
        offset = file.tell()
    expect_inflatable(path, offset)
    return True


def _expect_dicom(path: Path) -> None:
    """Raise NotDicom unless the file begins as Part 10 (PS3.10 7.1), as file meta information or as a data set without it."""
    with path.open("rb") as file:
        start = file.read(132)
    group = start[:4]
    # Group 0002 or 0008, little endian, and group 0008 big endian, each with a small element number.
    bare = group[:2] in (b"\x02\x00", b"\x08\x00") and group[3:] == b"\x00"
    bare_big_endian = group[:3] == b"\x00\x08\x00"
    if start[128:] != b"DICM" and not bare and not bare_big_endian:
        raise NotDicom(f"{path.name}: expected 'DICM' after a preamble of 128 bytes (PS3.10 7.1), got {start[128:]!r}")


def _complete_file_meta(dataset: FileDataset) -> None:
    """State the transfer syntax that pydicom found where the file does not."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if not text_of(dataset.file_meta, "TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        _fill(dataset.file_meta, "TransferSyntaxUID", _NATIVE_SYNTAXES.get((bool(implicit), bool(little)), ImplicitVRLittleEndian))
