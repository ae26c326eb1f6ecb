"""The encoder of frames says, element for element, what highdicom says, in both forms."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from dicom_io.errors import InvalidSegmentation
from dicom_io.geometry import PlaneGeometry
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.segmentation_frames import binary_frames, labelmap_frames, overlapping
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.segmentation_source import SourceHeaders, SourcePlane
from dicom_io.segmentation_types import LABEL_MAP_SEGMENTATION_STORAGE, SegmentationForm
from dicom_io.volume import Volume
from tests.unit.dicom_io.ct_files import GEOMETRIES, hook_mask, write_enhanced_volume, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

APART = np.stack([hook_mask(), hook_mask(2, 8, 5) & ~hook_mask()])
TOGETHER = np.stack([hook_mask(), hook_mask(2, 8, 5)])
SEGMENTS = (KIDNEY, MASS)


def plain_highdicom(volume: Volume, masks: NDArray[np.bool_], kind: str, syntax: str = ExplicitVRLittleEndian) -> pydicom.Dataset:
    """The object that highdicom makes by itself of the same files and masks."""
    described = [
        hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=segment.label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Kidney,
            algorithm_type="AUTOMATIC",
            algorithm_identification=hd.AlgorithmIdentificationSequence(name="x", family=codes.cid7162.ArtificialIntelligence, version="1"),
        )
        for segment in SEGMENTS
    ]
    images = [pydicom.dcmread(path) for path in dict.fromkeys(source.path for source in volume.sources if source is not None) if path]
    written = hd.seg.Segmentation(
        source_images=images,
        pixel_array=np.moveaxis(masks, 0, -1).astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=IDENTITY.series_instance_uid,
        series_number=1,
        sop_instance_uid=IDENTITY.sop_instance_uid,
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
    )
    buffer = BytesIO()
    written.save_as(buffer)
    return pydicom.dcmread(BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_binary_frames_are_those_of_highdicom(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path, name)
    ours = pydicom.dcmread(BytesIO(write_segmentation(volume, TOGETHER, SEGMENTS, IDENTITY)))
    theirs = plain_highdicom(volume, TOGETHER, "BINARY")
    assert ours.PerFrameFunctionalGroupsSequence == theirs.PerFrameFunctionalGroupsSequence
    assert (
        ours.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence == theirs.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    )
    assert ours.PixelData == theirs.PixelData
    assert (ours.NumberOfFrames, ours.SegmentsOverlap) == (theirs.NumberOfFrames, theirs.SegmentsOverlap)
    assert [index.DimensionIndexPointer for index in ours.DimensionIndexSequence] == [
        index.DimensionIndexPointer for index in theirs.DimensionIndexSequence
    ]


def test_a_single_segment_is_named_on_every_frame_and_nowhere_else(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    read = pydicom.dcmread(BytesIO(write_segmentation(volume, TOGETHER[:1], [KIDNEY], IDENTITY)))
    assert "SegmentIdentificationSequence" not in read.SharedFunctionalGroupsSequence[0]
    named = [frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in read.PerFrameFunctionalGroupsSequence]
    assert named == [1] * read.NumberOfFrames


def test_label_map_frames_are_those_of_highdicom(tmp_path: Path) -> None:
    volume = write_volume(tmp_path, "oblique")
    ours = pydicom.dcmread(BytesIO(write_segmentation(volume, APART, SEGMENTS, IDENTITY, form=SegmentationForm.LABELMAP)))
    theirs = plain_highdicom(volume, APART, "LABELMAP", RLELossless)
    assert ours.SOPClassUID == theirs.SOPClassUID == LABEL_MAP_SEGMENTATION_STORAGE
    assert ours.PerFrameFunctionalGroupsSequence == theirs.PerFrameFunctionalGroupsSequence
    np.testing.assert_array_equal(ours.pixel_array, theirs.pixel_array)
    assert ours.file_meta.TransferSyntaxUID == RLELossless


@pytest.mark.parametrize("name", [*GEOMETRIES, "enhanced"])
def test_a_label_map_says_the_same_as_the_binary_object_of_the_same_masks(name: str, tmp_path: Path) -> None:
    volume = write_enhanced_volume(tmp_path / "enhanced.dcm") if name == "enhanced" else write_volume(tmp_path, name)
    forms = {}
    for form in SegmentationForm:
        part10 = write_segmentation(volume, APART, SEGMENTS, IDENTITY, form=form)
        check_segmentation(part10, volume, APART, SEGMENTS)
        forms[form] = read_segmentation(part10)
    binary, labelmap = forms[SegmentationForm.BINARY], forms[SegmentationForm.LABELMAP]
    assert labelmap.segments == binary.segments
    said = [
        {(frame.segment_number, frame.source_sop_instance_uid, frame.source_frame_number) for frame in read.frames}
        for read in forms.values()
    ]
    assert said[0] == said[1]
    assert labelmap.masks.sum() == binary.masks.sum() == APART.sum()


def test_segments_that_overlap_are_refused_in_a_label_map_with_the_cure(tmp_path: Path) -> None:
    assert overlapping(TOGETHER)
    assert not overlapping(APART)
    with pytest.raises(InvalidSegmentation, match="expected none that overlap in a label map, got some; write BINARY"):
        write_segmentation(write_volume(tmp_path), TOGETHER, SEGMENTS, IDENTITY, form=SegmentationForm.LABELMAP)


def test_more_labels_than_eight_bits_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSegmentation, match="expected at most 255 in a label map, got 256"):
        labelmap_frames([hook_mask()] * 256, _headers(9))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_frames_that_do_not_fill_whole_bytes_follow_each_other_without_padding(count: int) -> None:
    mask = np.random.default_rng(7).random((count, 5, 7)) > 0.4
    mask[:, 0, 0] = True
    encoded = binary_frames([mask], _headers(count))
    bits = np.unpackbits(np.frombuffer(encoded.pixel_data, np.uint8), count=count * 35, bitorder="little")
    np.testing.assert_array_equal(bits.reshape(mask.shape), mask[::-1])
    assert len(encoded.pixel_data) % 2 == 0


def test_a_slice_that_was_interpolated_gets_no_frame() -> None:
    mask = np.ones((5, 8, 8), np.bool_)
    headers = _headers(5, without=2)
    assert binary_frames([mask], headers).count == labelmap_frames([mask], headers).count == 4


def _headers(slices: int, without: int | None = None) -> SourceHeaders:
    planes = {
        k: SourcePlane(
            sop_class_uid="1.2",
            sop_instance_uid=f"1.2.{k}",
            frame_number=None,
            slice_thickness_mm=1.0,
            geometry=PlaneGeometry(
                position_mm=(0.0, 0.0, float(k)),
                row_cosines=(1.0, 0.0, 0.0),
                column_cosines=(0.0, 1.0, 0.0),
                row_spacing_mm=1.0,
                column_spacing_mm=1.0,
            ),
        )
        for k in range(slices)
        if k != without
    }
    return SourceHeaders(first=pydicom.Dataset(), lossy=None, planes=planes, carried=MappingProxyType({}), instances=())
