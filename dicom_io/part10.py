"""The Part 10 file around a data set: who an instance is, the header in front of it, and both read back (PS3.10 section 7)."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from pydicom import __version__ as pydicom_version
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, DeflatedExplicitVRLittleEndian

from dicom_io.errors import DataSetMismatch, NotDicom
from dicom_io.header_scan import Encoded, HeaderEnds, scan
from dicom_io.received import StoreCommand
from dicom_io.values import READING_ERRORS, in_words, is_uid, shown_uid, text_of

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
IDENTIFYING = frozenset((SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID))
IMPLEMENTATION_VERSION = f"PYDICOM {pydicom_version}"

INFLATED_HEADER_BYTES = 4 << 20
"""How much of a deflated data set is inflated to find its series; more would be a trap rather than a header."""

MAXIMUM_META_BYTES = 64 << 10
"""How much of a file is read for its file meta, which takes some 400 bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """The UIDs that place an instance; each is safe as a file name."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A Part 10 file, read back: its file meta and the bytes of its data set."""

    meta: Dataset
    encoded: bytes


def identify(command: StoreCommand, encoded: Encoded, start: int = 0) -> Identity:
    """Return the UIDs of a received data set, from its header up to the Series Instance UID (0020,000E).

    Raises NotDicom where the bytes cannot be read or a UID is absent or malformed, DataSetMismatch where the data set names
    another SOP class or instance than the command (PS3.4 section B.2.3).
    """
    identity = identify_encoded(encoded, command.transfer_syntax_uid, start)
    for name, commanded, found in (
        ("SOP Class UID", command.sop_class_uid, identity.sop_class_uid),
        ("SOP Instance UID", command.sop_instance_uid, identity.sop_instance_uid),
    ):
        if commanded != found:
            raise DataSetMismatch(
                f"{name}: expected {commanded!r} as in the C-STORE command, got {found!r} in the data set; correct the sending system"
            )
    return identity


def identify_encoded(encoded: Encoded, transfer_syntax_uid: str, start: int = 0) -> Identity:
    """Return the UIDs of a data set that begins at byte `start`; raises NotDicom where they cannot be read, are absent or malformed."""
    syntax = UID(transfer_syntax_uid)
    try:
        if syntax == DeflatedExplicitVRLittleEndian:
            with memoryview(encoded) as view, view[start:] as deflated:
                encoded, start = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(deflated, INFLATED_HEADER_BYTES), 0
        # A transfer syntax that pydicom does not know is a compressed one, hence in Explicit VR Little Endian (PS3.5 section A.4).
        explicit = not syntax.is_implicit_VR if syntax.is_transfer_syntax else True
        little = syntax.is_little_endian if syntax.is_transfer_syntax else True
        header = scan(encoded, IDENTIFYING, explicit=explicit, little=little, start=start)
    except (HeaderEnds, zlib.error) as error:
        encoding = syntax.name if syntax.is_transfer_syntax else shown_uid(transfer_syntax_uid)
        raise NotDicom(f"data set: expected one in {encoding}, got bytes that cannot be read ({error}); send it again") from error
    return Identity(
        sop_class_uid=_uid(header, SOP_CLASS_UID, "SOP Class UID (0008,0016)"),
        sop_instance_uid=_uid(header, SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)"),
        series_instance_uid=_uid(header, SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)"),
        study_instance_uid=_uid(header, STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)"),
    )


def file_header(command: StoreCommand) -> bytes:
    """Return what precedes the data set in a Part 10 file: preamble, prefix and file meta (PS3.10 section 7.1).

    Source (0002,0016) and Receiving (0002,0018) Application Entity Title keep the calling and the called AE title.
    Raises NotDicom where the command's UIDs are none.
    """
    for name, uid in (("SOP Class UID", command.sop_class_uid), ("SOP Instance UID", command.sop_instance_uid)):
        if not is_uid(uid):
            raise NotDicom(f"{name} of the command: expected 1 to 64 digits and dots, got {shown_uid(uid)}; correct the sending system")
    elements = b"".join(
        (
            b"\2\0\1\0OB\0\0\2\0\0\0\0\1",
            _element(0x0002, b"UI", command.sop_class_uid),
            _element(0x0003, b"UI", command.sop_instance_uid),
            _element(0x0010, b"UI", command.transfer_syntax_uid),
            _element(0x0012, b"UI", PYDICOM_IMPLEMENTATION_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION),
            _element(0x0016, b"AE", command.calling_ae_title),
            _element(0x0018, b"AE", command.called_ae_title),
        )
    )
    return b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + len(elements).to_bytes(4, "little") + elements


def _element(number: int, vr: bytes, text: str) -> bytes:
    """An element of the file meta, in Explicit VR Little Endian; UIDs are padded with NUL, text with a space (PS3.5 section 6.2)."""
    value = text.encode("ascii", errors="replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def read_file(path: Path) -> StoredFile:
    """Return a Part 10 file in two parts; raises NotDicom where it is none, OSError where it cannot be read."""
    meta, start = read_meta(path)
    with path.open("rb") as stream:
        stream.seek(start)
        return StoredFile(meta=meta, encoded=stream.read())


def read_meta(path: Path) -> tuple[Dataset, int]:
    """Return the file meta and where the data set begins; raises NotDicom where it is no Part 10 file, OSError."""
    with path.open("rb") as stream:
        start = BytesIO(stream.read(MAXIMUM_META_BYTES))
    try:
        read_preamble(start, force=False)
        meta = read_dataset(start, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    except (*READING_ERRORS, OSError) as error:
        raise NotDicom(f"{path}: expected a DICOM Part 10 file, got bytes that cannot be read ({in_words(error)}); remove it") from error
    return meta, start.tell()


def meta_text(meta: Dataset, keyword: str) -> str:
    """Return one attribute of the file meta as text, empty where it is absent."""
    return text_of(meta, keyword).rstrip("\0 ")


def _uid(header: Mapping[int, bytes], tag: int, name: str) -> str:
    value = header.get(tag)
    if value is None:
        raise NotDicom(f"{name}: expected a UID, got none; correct the sending system")
    text = value.decode("ascii", errors="replace").rstrip("\0 ")
    if not is_uid(text):
        raise NotDicom(f"{name}: expected 1 to 64 digits and dots, got {shown_uid(text)}; correct the sending system")
    return text
