"""Writing a segmentation object: what stands in it, read back from its bytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from dicom_io.errors import InvalidSegmentation, MissingGeometry
from dicom_io.segmentation import without_empty_segments, write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.volume import Volume
from tests.unit.dicom_io.ct_files import (
    ENHANCED_UID,
    FRAME_OF_REFERENCE_UID,
    SERIES_UID,
    SLICES,
    hook_mask,
    patient_and_study,
    write_enhanced_volume,
    write_volume,
)
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS, labelled

REPOSITORY = Path(__file__).resolve().parents[3]
MASKS = np.stack([hook_mask(), hook_mask(2, 8, 5)])
SEGMENTS = (KIDNEY, MASS)


def _read(part10: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(part10))


def _change(volume: Volume, change: Callable[[Dataset], None]) -> None:
    for source in volume.sent:
        assert source.path is not None
        image = pydicom.dcmread(source.path)
        change(image)
        image.save_as(source.path)


def test_the_object_is_a_binary_segmentation_in_explicit_little_endian_with_only_the_frames_that_hold_voxels(tmp_path: Path) -> None:
    read = _read(write_segmentation(write_volume(tmp_path), MASKS, SEGMENTS, IDENTITY))
    assert read.SOPClassUID == SegmentationStorage
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (read.SegmentationType, read.SegmentsOverlap, read.LossyImageCompression) == ("BINARY", "YES", "00")
    assert read.NumberOfFrames == np.count_nonzero(MASKS.any(axis=(2, 3)))
    assert read.FrameOfReferenceUID == FRAME_OF_REFERENCE_UID


def test_segments_that_keep_apart_are_declared_so_and_lose_no_voxel(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    masks = np.stack([hook_mask(), hook_mask(2, 8, 5) & ~hook_mask()])
    part10 = write_segmentation(volume, masks, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, masks, SEGMENTS)
    assert _read(part10).SegmentsOverlap == "NO"


def test_every_frame_names_the_one_source_image_that_it_was_drawn_on(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    read = _read(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY))
    places = {source.sop_instance_uid: volume.affine[2, 3] + k * volume.affine[2, 0] for k, source in enumerate(volume.sent)}
    for frame in read.PerFrameFunctionalGroupsSequence:
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert reference.SpatialLocationsPreserved == "YES"
        assert "ReferencedFrameNumber" not in reference
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        assert z == pytest.approx(places[reference.ReferencedSOPInstanceUID], abs=1e-6)
    (series,) = read.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == SERIES_UID
    assert len(series.ReferencedInstanceSequence) == SLICES


def test_a_multi_frame_source_is_referenced_by_frame_number(tmp_path: Path) -> None:
    volume = write_enhanced_volume(tmp_path / "enhanced.dcm", "oblique")
    part10 = write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, MASKS, SEGMENTS)
    read = _read(part10)
    references = [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in read.PerFrameFunctionalGroupsSequence]
    numbers = {int(reference.ReferencedFrameNumber) for reference in references}
    assert numbers == {SLICES - k for k in range(SLICES) if MASKS[:, k].any()}
    (instance,) = read.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == ENHANCED_UID


def test_patient_study_and_what_else_holds_for_the_result_is_carried_and_the_clock_is_the_sources(tmp_path: Path) -> None:
    read = _read(write_segmentation(write_volume(tmp_path), MASKS, SEGMENTS, IDENTITY))
    source = patient_and_study()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime"):
        assert read[keyword].value == source[keyword].value
    for keyword in ("AccessionNumber", "BodyPartExamined", "TimezoneOffsetFromUTC", "PositionReferenceIndicator"):
        assert read[keyword].value == source[keyword].value
    # 02:30:15.25 UTC on 1 March is the evening before in a zone three and a half hours behind.
    assert (read.SeriesDate, read.ContentDate, read.InstanceCreationDate) == ("20240229", "20240229", "20240229")
    assert (read.SeriesTime, read.ContentTime, read.InstanceCreationTime) == ("230015.250000",) * 3
    scanner, algorithm, _ = read.ContributingEquipmentSequence
    assert scanner.Manufacturer == "Phantom Works"
    assert algorithm.ContributionDescription == "AI algorithm MedSAM2 1"


def test_an_empty_or_odd_source_header_is_carried_as_it_is_and_nothing_is_invented(tmp_path: Path) -> None:
    header = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "FrameOfReferenceUID"):
        setattr(header, keyword, patient_and_study()[keyword].value)
    header.PatientSex = "U"
    header.add_new("StudyID", "SH", "")
    header["StudyID"]._value = "LONGER THAN 16 CHARACTERS"
    header.SliceThickness = None
    volume = write_volume(tmp_path, "axial", header)
    part10 = write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, MASKS, SEGMENTS)
    read = _read(part10)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyTime"):
        assert not read[keyword].value
    assert (read.PatientSex, read.get_item("StudyID").value) == ("U", b"LONGER THAN 16 CHARACTERS ")
    assert "TimezoneOffsetFromUTC" not in read
    assert float(read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == 2.5


def test_lossy_compression_of_any_source_image_is_inherited(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    path = volume.sent[4].path
    assert path is not None
    image = pydicom.dcmread(path)
    image.LossyImageCompression, image.LossyImageCompressionRatio, image.LossyImageCompressionMethod = "01", "10.5", "ISO_10918_1"
    image.save_as(path)
    read = _read(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY))
    assert (read.LossyImageCompression, float(read.LossyImageCompressionRatio)) == ("01", 10.5)
    assert read.LossyImageCompressionMethod == "ISO_10918_1"


def test_a_segment_says_what_it_is_who_made_it_and_how_to_show_it(tmp_path: Path) -> None:
    dataset = _read(write_segmentation(write_volume(tmp_path), MASKS, SEGMENTS, IDENTITY))
    kidney, mass = dataset.SegmentSequence
    assert dataset.ContentCreatorName == "MEDSAM2D^AUTOMATIC"
    assert (dataset.SeriesNumber, dataset.SeriesDescription) == (9001, "Kidney, AI, not for diagnosis")
    assert kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert (kidney.SegmentAlgorithmType, mass.SegmentAlgorithmType) == ("AUTOMATIC", "SEMIAUTOMATIC")
    assert mass.AnatomicRegionSequence[0].CodeValue == "64033007"
    assert (mass.TrackingID, mass.TrackingUID) == (MASS.tracking_id, MASS.tracking_uid)
    algorithm = kidney.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    assert algorithm.AlgorithmParameters == f"weights={'ab' * 32},rule=kidney"
    assert len(kidney.RecommendedDisplayCIELabValue) == 3


@pytest.mark.parametrize(("label", "character_set"), [("Left kidney", "ISO_IR 100"), ("左腎", "ISO_IR 192"), ("Почка", "ISO_IR 192")])
def test_labels_in_any_script_survive_and_so_does_the_patients_name(tmp_path: Path, label: str, character_set: str) -> None:
    read = _read(write_segmentation(write_volume(tmp_path), MASKS, labelled(label), IDENTITY))
    assert read.SpecificCharacterSet == character_set
    assert read.SegmentSequence[0].SegmentLabel == label
    assert read.PatientName == "Möller^Zoë"


def test_equal_input_gives_equal_bytes_also_in_another_process(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    first = write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)
    assert write_segmentation(volume, MASKS, SEGMENTS, IDENTITY) == first
    program = (
        "import sys, pathlib; from tests.unit.dicom_io import test_segmentation as t, ct_files as c; "
        "v = c.write_volume(pathlib.Path(sys.argv[1])); "
        "sys.stdout.buffer.write(t.write_segmentation(v, t.MASKS, t.SEGMENTS, t.IDENTITY))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, cwd=REPOSITORY, timeout=120)
    assert done.stdout == first


def test_a_segment_without_voxels_stays_described_unless_the_caller_drops_it(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    masks = np.stack([np.zeros_like(hook_mask()), hook_mask()])
    part10 = write_segmentation(volume, masks, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, masks, SEGMENTS)
    assert len(_read(part10).SegmentSequence) == 2
    kept, described = without_empty_segments(masks, SEGMENTS)
    assert described == (replace(MASS, number=1),)
    check_segmentation(write_segmentation(volume, kept, described, IDENTITY), volume, kept, described)


def test_what_no_object_can_be_made_of_is_refused_with_the_cure(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    with pytest.raises(InvalidSegmentation, match="got none; send a report instead"):
        write_segmentation(volume, np.zeros_like(MASKS), SEGMENTS, IDENTITY)
    with pytest.raises(InvalidSegmentation, match="expected one for each of 2 segments, got 1"):
        write_segmentation(volume, MASKS[:1], SEGMENTS, IDENTITY)
    with pytest.raises(InvalidSegmentation, match=r"expected the numbers 1 to 1 in order, got \[2\]"):
        write_segmentation(volume, MASKS[1:], [MASS], IDENTITY)


def test_a_volume_that_no_dicom_images_stand_behind_is_refused(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    sources = (replace(volume.sent[0], path=None), *volume.sent[1:])
    with pytest.raises(InvalidSegmentation, match="can only be made of DICOM images"):
        write_segmentation(replace(volume, sources=sources), MASKS, SEGMENTS, IDENTITY)
    exchanged = (replace(volume.sent[0], path=volume.sent[1].path), *volume.sent[1:])
    with pytest.raises(InvalidSegmentation, match="read the series again"):
        write_segmentation(replace(volume, sources=exchanged), MASKS, SEGMENTS, IDENTITY)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing"])
def test_a_source_without_place_is_refused(tmp_path: Path, keyword: str) -> None:
    volume = write_volume(tmp_path)
    _change(volume, lambda image: delattr(image, keyword))
    with pytest.raises(MissingGeometry, match="expected position, orientation and pixel spacing"):
        write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)


def test_sources_of_two_series_are_refused(tmp_path: Path) -> None:
    first, second = (write_volume(tmp_path / name) for name in "ab")
    _change(second, lambda image: setattr(image, "SeriesInstanceUID", "1.2.3"))
    mixed = replace(first, sources=(*first.sent[:4], *second.sent[4:]))
    with pytest.raises(InvalidSegmentation, match="got 2 series; make one object for each"):
        write_segmentation(mixed, MASKS, SEGMENTS, IDENTITY)


def test_a_source_without_frame_of_reference_gives_a_result_without_one(tmp_path: Path) -> None:
    volume = replace(write_volume(tmp_path), frame_of_reference_uid="")
    _change(volume, lambda image: delattr(image, "FrameOfReferenceUID"))
    part10 = write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)
    check_segmentation(part10, volume, MASKS, SEGMENTS)
    assert "FrameOfReferenceUID" not in _read(part10)


@pytest.mark.parametrize(
    "change", [{"number": 0}, {"label": ""}, {"label": "x" * 65}, {"label": "a\\b"}, {"tracking_uid": "x"}, {"color_rgb": (0, 0, 256)}]
)
def test_a_segment_that_dicom_cannot_write_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got"):
        replace(KIDNEY, **change)  # type: ignore[arg-type]


def test_a_source_that_hides_how_it_was_made_anonymous_still_gives_a_valid_result(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    _change(volume, lambda image: setattr(image, "PatientIdentityRemoved", "YES"))
    read = _read(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY))
    assert read.PatientIdentityRemoved == "YES"
    assert read.DeidentificationMethod == "Not stated by the source"
