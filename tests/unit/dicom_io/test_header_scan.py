"""The header scan against pydicom's reader: the same UIDs from the same bytes, and a bounded effort on any bytes."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.errors import RejectedInput
from dicom_io.header_scan import HeaderEnds, scan
from dicom_io.part10 import IDENTIFYING, file_header, identify_encoded
from dicom_io.received import StoreCommand
from tests.component.loopback import small_instance

ENCODINGS = [(True, True), (False, True), (False, False)]


def encoded(instance: Dataset, *, implicit: bool, little: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    write_dataset(stream, instance)
    return stream.getvalue()


def nested(depth: int, *, undefined: bool) -> Dataset:
    """An instance with sequences before its series, each of which holds the next and a Series Instance UID of its own."""
    instance = small_instance()
    inner = Dataset()
    inner.SeriesInstanceUID = "9.9"
    for _ in range(depth):
        outer = Dataset()
        outer.SeriesInstanceUID = "9.8"
        outer.ReferencedSeriesSequence = [inner, Dataset()]
        outer["ReferencedSeriesSequence"].is_undefined_length = undefined
        for item in outer.ReferencedSeriesSequence:
            item.is_undefined_length_sequence_item = undefined
        inner = outer
    instance.ReferencedStudySequence = [inner]
    instance["ReferencedStudySequence"].is_undefined_length = undefined
    return instance


@pytest.mark.parametrize(("implicit", "little"), ENCODINGS)
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_sequences_before_the_series_are_stepped_over(implicit: bool, little: bool, undefined: bool, depth: int) -> None:
    instance = nested(depth, undefined=undefined)
    found = scan(encoded(instance, implicit=implicit, little=little), IDENTIFYING, explicit=not implicit, little=little)
    assert found[0x0020000E].rstrip(b"\0").decode() == instance.SeriesInstanceUID
    assert set(found) == set(IDENTIFYING)


values = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=40)


@given(
    texts=st.dictionaries(
        st.sampled_from(("PatientName", "InstitutionName", "StudyDescription", "Manufacturer", "AdditionalPatientHistory")), values
    ),
    private=st.binary(max_size=60).map(lambda value: value + b"\0" * (len(value) % 2)),
    encoding=st.sampled_from(ENCODINGS),
)
@example(texts={}, private=b"", encoding=(True, True))
@settings(max_examples=60, deadline=None)
def test_any_header_gives_the_uids_that_pydicom_reads(texts: dict[str, str], private: bytes, encoding: tuple[bool, bool]) -> None:
    implicit, little = encoding
    instance = small_instance()
    for keyword, value in texts.items():
        setattr(instance, keyword, value)
    instance.private_block(0x0009, "TEST", create=True).add_new(1, "UN", private)
    stream = encoded(instance, implicit=implicit, little=little)
    read = read_dataset(BytesIO(stream), implicit, little)
    found = scan(stream, IDENTIFYING, explicit=not implicit, little=little)
    assert {tag: value.rstrip(b"\0").decode() for tag, value in found.items()} == {tag: str(read[tag].value) for tag in IDENTIFYING}


def test_an_encoding_that_was_not_agreed_is_read_as_it_is() -> None:
    instance = small_instance()
    for implicit, syntax in ((True, ExplicitVRLittleEndian), (False, ImplicitVRLittleEndian)):
        identity = identify_encoded(encoded(instance, implicit=implicit, little=True), syntax)
        assert identity.series_instance_uid == instance.SeriesInstanceUID


@given(st.binary(max_size=300), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_bytes_lead_to_anything_but_an_answer_or_a_refusal(data: bytes, explicit: bool, little: bool) -> None:
    try:
        assert all(isinstance(value, bytes) for value in scan(data, IDENTIFYING, explicit=explicit, little=little).values())
    except HeaderEnds:
        return


@pytest.mark.parametrize(
    "trap",
    [
        b"\x08\0\x05\0\0\0\0\0" * 100_000,
        b"\x08\0\x40\x11\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\0\x40\x11\xff\xff\xff\xff" * 1000,
    ],
    ids=["elements without end", "depth without end"],
)
def test_a_trap_ends_after_a_bounded_effort(trap: bytes) -> None:
    with pytest.raises(HeaderEnds, match="without end"):
        scan(trap, IDENTIFYING, explicit=False, little=True)


@given(data=st.binary(max_size=200), syntax=st.sampled_from((ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, UID("1.2.3"))))
@settings(max_examples=100, deadline=None)
def test_an_identity_is_found_or_refused_with_a_reason(data: bytes, syntax: str) -> None:
    with pytest.raises(RejectedInput, match="expected"):
        identify_encoded(data, syntax)


@given(st.sampled_from(("SCANNER", "A", "SIXTEEN CHARS 16", "")), st.sampled_from(("1.2", "1.2.3", "2.25.1")))
@settings(max_examples=12, deadline=None)
def test_the_file_meta_is_what_pydicom_writes(calling: str, uid: str) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(uid), UID(uid)
    meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle = calling, "MEDSAM2D"
    stream = BytesIO()
    write_file_meta_info(stream, meta, enforce_standard=True)  # type: ignore[arg-type]
    command = StoreCommand(
        sop_class_uid=uid,
        sop_instance_uid=uid,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae_title=calling,
        called_ae_title="MEDSAM2D",
        peer_address="",
    )
    assert file_header(command) == b"\0" * 128 + b"DICM" + stream.getvalue()
