"""A segmentation object that says something else than was meant does not pass, however well-formed it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_io.errors import InvalidSegmentation
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation, place_frames
from dicom_io.segmentation_reader import read_segmentation
from tests.unit.dicom_io.ct_files import GEOMETRIES, hook_mask, write_enhanced_volume, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

MASKS = np.stack([hook_mask(), hook_mask(2, 8, 5)])
SEGMENTS = (KIDNEY, MASS)

Mutation = Callable[[Dataset], None]


def _changed(part10: bytes, mutate: Mutation) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(part10))
    mutate(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _frames(dataset: Dataset) -> list[Dataset]:
    return list(dataset.PerFrameFunctionalGroupsSequence)


def _reference(frame: Dataset) -> Dataset:
    reference: Dataset = frame.DerivationImageSequence[0].SourceImageSequence[0]
    return reference


def _without_derivation(dataset: Dataset) -> None:
    for frame in _frames(dataset):
        frame.DerivationImageSequence = []


def _with_exchanged_references(dataset: Dataset) -> None:
    first, second = (_reference(frame) for frame in _frames(dataset)[:2])
    first.ReferencedSOPInstanceUID, second.ReferencedSOPInstanceUID = second.ReferencedSOPInstanceUID, first.ReferencedSOPInstanceUID


def _with_moved_frames(dataset: Dataset) -> None:
    for frame in _frames(dataset):
        x, y, z = map(float, frame.PlanePositionSequence[0].ImagePositionPatient)
        frame.PlanePositionSequence[0].ImagePositionPatient = [x + 0.005, y, z]


def _with_two_references(dataset: Dataset) -> None:
    references = _frames(dataset)[0].DerivationImageSequence[0].SourceImageSequence
    references.append(_reference(_frames(dataset)[1]))


def _with_square_pixels(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.9, 0.5]


def _with_turned_planes(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0.999998, 0.002]


def _without_side(dataset: Dataset) -> None:
    del dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence


def _with_one_bit_less(dataset: Dataset) -> None:
    octets = bytearray(dataset.PixelData)
    at = next(index for index, octet in enumerate(octets) if octet)
    octets[at] &= octets[at] - 1
    dataset.PixelData = bytes(octets)


def _set(keyword: str, value: object) -> Mutation:
    return lambda dataset: setattr(dataset, keyword, value)


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "no derivation": (_without_derivation, "expected a derivation reference"),
    "references exchanged": (_with_exchanged_references, "expected a derivation reference"),
    "two references": (_with_two_references, "expected a derivation reference"),
    "locations not preserved": (
        lambda dataset: setattr(_reference(_frames(dataset)[3]), "SpatialLocationsPreserved", "NO"),
        "frame 4: expected a derivation reference",
    ),
    "frames 5 micrometres away": (_with_moved_frames, r"0\.0050 mm away"),
    "rows and columns spaced the other way": (_with_square_pixels, "expected a slice of the volume"),
    "planes turned by 0.1 degrees": (_with_turned_planes, r"0\.0190 mm away"),
    "another frame of reference": (_set("FrameOfReferenceUID", "1.2.3"), "FrameOfReferenceUID: expected"),
    "another patient": (_set("PatientID", "PHANTOM-8"), "PatientID: expected the source's value"),
    "another name": (_set("PatientName", "Möller^Zoé"), "PatientName: expected"),
    "another study": (_set("StudyInstanceUID", "1.2.3"), "StudyInstanceUID: expected"),
    "no referenced series": (_set("ReferencedSeriesSequence", []), "ReferencedSeriesSequence: expected"),
    "another label": (lambda dataset: setattr(dataset.SegmentSequence[0], "SegmentLabel", "Liver"), "segment 1 label: expected"),
    "another code": (
        lambda dataset: setattr(dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0], "CodeValue", "1"),
        "segment 2 type: expected",
    ),
    "no side": (_without_side, "segment 1 laterality: expected"),
    "another tracking": (lambda dataset: setattr(dataset.SegmentSequence[1], "TrackingUID", "1.2.3"), "segment 2 tracking_uid"),
    "one bit less": (_with_one_bit_less, "got 1 others"),
}


@pytest.mark.parametrize("name", [*GEOMETRIES, "enhanced"])
def test_what_was_written_passes(name: str, tmp_path: Path) -> None:
    volume = write_enhanced_volume(tmp_path / "enhanced.dcm") if name == "enhanced" else write_volume(tmp_path, name)
    check_segmentation(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY), volume, MASKS, SEGMENTS)


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_object_that_was_changed_is_caught(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path, "anisotropic")
    mutate, message = MUTATIONS[name]
    part10 = _changed(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY), mutate)
    with pytest.raises(InvalidSegmentation, match=message):
        check_segmentation(part10, volume, MASKS, SEGMENTS)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_masks_flipped_along_any_axis_are_caught(axis: int, tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    flipped: NDArray[np.bool_] = np.flip(MASKS, axis=axis).copy()
    with pytest.raises(InvalidSegmentation, match="expected the voxels that were meant"):
        check_segmentation(write_segmentation(volume, flipped, SEGMENTS, IDENTITY), volume, MASKS, SEGMENTS)


def test_an_object_whose_sources_were_given_in_another_order_is_caught(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    turned = replace(volume, sources=volume.sent[::-1])
    with pytest.raises(InvalidSegmentation, match="expected"):
        check_segmentation(write_segmentation(turned, MASKS, SEGMENTS, IDENTITY), volume, MASKS, SEGMENTS)


def test_every_fault_is_listed_and_no_patient_value_is_told(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)

    def mutate(dataset: Dataset) -> None:
        dataset.PatientID = "SECRET-8"
        _without_derivation(dataset)

    part10 = _changed(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY), mutate)
    with pytest.raises(InvalidSegmentation) as caught:
        check_segmentation(part10, volume, MASKS, SEGMENTS)
    told = str(caught.value)
    assert "12 faults" in told
    assert "SECRET" not in told
    assert "PHANTOM" not in told


def test_bytes_that_are_no_segmentation_are_refused_with_what_they_lack(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    part10 = write_segmentation(volume, MASKS, SEGMENTS, IDENTITY)
    changed = [_changed(part10, _set(keyword, value)) for keyword, value in (("NumberOfFrames", 3), ("SegmentationType", "FRACTIONAL"))]
    for broken in (b"nothing", part10[:2000], *changed):
        with pytest.raises(InvalidSegmentation, match="expected"):
            read_segmentation(broken)
    path = volume.sent[0].path
    assert path is not None
    with pytest.raises(InvalidSegmentation, match="segmentation: expected"):
        read_segmentation(path)


def test_a_frame_that_lies_between_slices_has_no_slice(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    read = read_segmentation(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY))
    shifted = volume.affine.copy()
    shifted[2, 3] += 0.7
    assert set(place_frames(read, shifted)) == {None}
    assert place_frames(read, volume.affine).count(None) == 0
