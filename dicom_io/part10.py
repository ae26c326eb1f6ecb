"""The Part 10 file around a data set: who an instance is, the header in front of it, and both read back (PS3.10 section 7)."""

from __future__ import annotations

import dataclasses
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_io.errors import DataSetMismatch, NotDicom
from dicom_io.received import ReceivedInstance

SOP_CLASS_UID, SOP_INSTANCE_UID = BaseTag(0x00080016), BaseTag(0x00080018)
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = BaseTag(0x0020000D), BaseTag(0x0020000E)

INFLATED_HEADER_BYTES = 4 << 20
"""How much of a deflated data set is inflated to find its series; more would be a trap rather than a header."""

_UID = re.compile(r"[0-9][0-9.]{0,63}")
"""Looser than PS3.5 section 9.1 (archives hold leading zeros), yet safe as the name of a file."""
_UNREADABLE = (
    InvalidDicomError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""What pydicom and zlib raise on bytes in memory that are no data set."""


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


def identify(received: ReceivedInstance) -> Identity:
    """Return the UIDs of a received instance, from its header up to the Series Instance UID (0020,000E).

    Raises NotDicom where the bytes cannot be read or a UID is absent or malformed, DataSetMismatch where the data set names
    another SOP class or instance than the command (PS3.4 section B.2.3).
    """
    identity = identify_encoded(received.encoded, received.transfer_syntax_uid)
    for name, commanded, found in (
        ("SOP Class UID", received.sop_class_uid, identity.sop_class_uid),
        ("SOP Instance UID", received.sop_instance_uid, identity.sop_instance_uid),
    ):
        if commanded != found:
            raise DataSetMismatch(
                f"{name}: expected {commanded!r} as in the C-STORE command, got {found!r} in the data set; correct the sending system"
            )
    return identity


def identify_encoded(encoded: bytes, transfer_syntax_uid: str) -> Identity:
    """Return the UIDs of a data set's bytes; raises NotDicom where they cannot be read, are absent or malformed."""
    syntax = UID(transfer_syntax_uid)
    try:
        header = _header(encoded, syntax)
        return Identity(
            sop_class_uid=_uid(header, SOP_CLASS_UID, "SOP Class UID (0008,0016)"),
            sop_instance_uid=_uid(header, SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)"),
            series_instance_uid=_uid(header, SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)"),
            study_instance_uid=_uid(header, STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)"),
        )
    except _UNREADABLE as error:
        raise NotDicom(f"data set: expected one in {syntax.name}, got bytes that cannot be read ({error}); send it again") from error


def file_header(received: ReceivedInstance) -> bytes:
    """Return what precedes the data set in a Part 10 file: preamble, prefix and file meta.

    Source (0002,0016) and Receiving (0002,0018) Application Entity Title keep the calling and the called AE title.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(received.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(received.sop_instance_uid)
    meta.TransferSyntaxUID = UID(received.transfer_syntax_uid)
    meta.SourceApplicationEntityTitle = received.calling_ae_title
    meta.ReceivingApplicationEntityTitle = received.called_ae_title
    buffer = BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)  # type: ignore[arg-type]  # any binary stream serves
    return buffer.getvalue()


def read_file(path: Path) -> StoredFile:
    """Return a Part 10 file in two parts; raises NotDicom where it is none, OSError where it cannot be read."""
    stream = BytesIO(path.read_bytes())
    try:
        read_preamble(stream, force=False)
        meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    except _UNREADABLE as error:
        raise NotDicom(f"{path}: expected a DICOM Part 10 file, got bytes that cannot be read ({error}); remove it") from error
    return StoredFile(meta=meta, encoded=stream.read())


def meta_text(meta: Dataset, keyword: str) -> str:
    """Return one attribute of the file meta as text, empty where it is absent."""
    return str(meta.get(keyword, "") or "").strip()


def _header(encoded: bytes, syntax: UID) -> Dataset:
    """The data set up to and with (0020,000E), undecoded."""
    if syntax == DeflatedExplicitVRLittleEndian:
        encoded = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(encoded, INFLATED_HEADER_BYTES)
    return read_dataset(
        BytesIO(encoded),
        # A transfer syntax that pydicom does not know is a compressed one, hence in Explicit VR Little Endian (PS3.5 section A.4).
        is_implicit_VR=syntax.is_implicit_VR if syntax.is_transfer_syntax else False,
        is_little_endian=syntax.is_little_endian if syntax.is_transfer_syntax else True,
        stop_when=lambda tag, _vr, _length: tag > SERIES_INSTANCE_UID,
    )


def _uid(header: Dataset, tag: BaseTag, name: str) -> str:
    """One UID from its raw bytes, so that a malformed one is judged here and not by a warning."""
    element = header.get_item(tag) if tag in header else None
    value = element.value if isinstance(element, RawDataElement) else None
    if value is None or len(value) != cast(RawDataElement, element).length:
        raise NotDicom(f"{name}: expected a UID, got none, or bytes that end within it; correct the sending system")
    text = value.decode("ascii", errors="replace").rstrip("\0 ")
    if not _UID.fullmatch(text):
        raise NotDicom(f"{name}: expected 1 to 64 digits and dots, got {text[:80]!r}; correct the sending system")
    return text
