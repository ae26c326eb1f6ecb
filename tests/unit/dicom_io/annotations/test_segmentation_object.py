"""Segmentations as annotations: every kind and encoding, on their own grid and on others, and the reports that speak of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from dicom_io.annotations.annotation import Mask
from dicom_io.annotations.collect import is_annotation_class, read_annotations
from dicom_io.annotations.placed import PlacedAnnotation, PlacedMask
from dicom_io.annotations.placement import masks_on, place
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.segmentation import write_segmentation
from dicom_io.series import find_instances
from dicom_io.volume import Volume
from tests.unit.dicom_io.annotations.drawings import TRACKING_UID, content, group, item, measurements, report
from tests.unit.dicom_io.ct_files import COLUMNS, GEOMETRIES, ROWS, SLICES, hook_mask, write_enhanced_volume, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS


def placed_mask(placed: PlacedAnnotation, volume: Volume) -> NDArray[np.bool_]:
    assert isinstance(placed.shape, PlacedMask)
    slices, rows, columns = volume.voxels.shape
    return placed.shape.volume((slices, rows, columns))


def written(volume: Volume, path: Path) -> InstanceHeader:
    path.write_bytes(write_segmentation(volume, np.stack([hook_mask(), hook_mask(shift=6)]), (KIDNEY, MASS), IDENTITY))
    return read_header(path)


def by_highdicom(folder: Path, path: Path, kind: str, pixels: NDArray[np.generic], segments: int = 1) -> InstanceHeader:
    images = [pydicom.dcmread(header.path) for header in find_instances(folder)]
    images.sort(key=lambda image: -int(image.SOPInstanceUID.split(".")[-1]))  # slice order of `write_volume`
    for image in images:
        image.StudyTime, image.ReferringPhysicianName = "101112", ""
    algorithm = hd.AlgorithmIdentificationSequence(name="x", family=codes.cid7162.ArtificialIntelligence, version="1")
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"Segment {number}",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Kidney,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number in range(1, segments + 1)
    ]
    hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid="1.2.826.0.1.3680043.8.498.81",
        series_number=9,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.82",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="x",
        device_serial_number="x",
    ).save_as(path)
    return read_header(path)


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_a_binary_segment_comes_back_voxel_by_voxel_in_every_orientation(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", name)
    result = read_annotations([written(volume, tmp_path / "seg.dcm")], find_instances(tmp_path / "ct"))
    assert result.rejected == ()
    kidney, mass = (place(one, volume, "x") for one in result.found)
    assert (placed_mask(kidney, volume) == hook_mask()).all()
    assert (placed_mask(mass, volume) == hook_mask(shift=6)).all()
    assert (kidney.label, kidney.tracking_uid, kidney.algorithm_type) == ("Left kidney", KIDNEY.tracking_uid, "AUTOMATIC")
    assert mass.concept is not None
    assert mass.site is not None
    assert (mass.concept.value, mass.site.value, mass.algorithm_type, mass.notes) == ("4147007", "64033007", "SEMIAUTOMATIC", ())


def test_a_segment_on_enhanced_frames_lies_on_the_right_slices(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    volume = write_enhanced_volume(tmp_path / "ct" / "enhanced.dcm", "oblique")
    result = read_annotations([written(volume, tmp_path / "seg.dcm")], find_instances(tmp_path / "ct"))
    placed = place(result.found[0], volume)
    assert (placed_mask(placed, volume) == hook_mask()).all()
    assert placed.drawn_here


def test_only_what_is_covered_is_kept_in_memory(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    shape = read_annotations([written(volume, tmp_path / "seg.dcm")], find_instances(tmp_path / "ct")).found[0].shape
    assert isinstance(shape, Mask)
    assert len(shape.frames) == 5
    assert all(frame.mask.shape[0] <= 12 and frame.mask[0].any() and frame.mask[:, 0].any() for frame in shape.frames)


def test_fractions_of_a_half_and_more_are_inside(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    fractions = np.zeros((SLICES, ROWS, COLUMNS), np.float32)
    fractions[3, 4:8, 5:9] = (0.2, 0.45, 0.55, 1.0)
    header = by_highdicom(tmp_path / "ct", tmp_path / "seg.dcm", "FRACTIONAL", fractions)
    placed = place(read_annotations([header], find_instances(tmp_path / "ct")).found[0], volume)
    assert (placed.graphic, placed.algorithm_type) == ("FRACTIONAL", "AUTOMATIC")
    assert (placed_mask(placed, volume) == (fractions >= 0.5)).all()


def test_a_label_map_gives_each_of_its_segments(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "sagittal")
    labels = hook_mask().astype(np.uint8)
    labels[7, 2:5, 20:24] = 2
    header = by_highdicom(tmp_path / "ct", tmp_path / "seg.dcm", "LABELMAP", labels, segments=2)
    assert is_annotation_class(header.sop_class_uid)
    found = read_annotations([header], find_instances(tmp_path / "ct")).found
    assert [one.source.item for one in found] == ["segment 1", "segment 2"]
    for number, one in enumerate(found, start=1):
        assert (placed_mask(place(one, volume), volume) == (labels == number)).all()


def test_a_segment_of_another_grid_is_sampled_at_voxel_centres(tmp_path: Path) -> None:
    """Drawn on slices of 2.5 mm and pixels of 0.8 mm, placed on slices of 1.25 mm and pixels of 0.4 mm in the same space."""
    volume = write_volume(tmp_path / "ct")
    found = read_annotations([written(volume, tmp_path / "seg.dcm")], find_instances(tmp_path / "ct")).found[0]
    affine = volume.affine.copy()
    affine[:3, :3] /= 2.0
    affine[:3, 3] -= affine[:3, :3].sum(axis=1) / 2.0  # so that eight voxels fill each old one
    fine = replace(
        volume, voxels=np.zeros((2 * SLICES, 2 * ROWS, 2 * COLUMNS), np.float32), affine=affine, sources=tuple(volume.sources) * 2
    )
    placed = place(found, fine)
    assert placed.notes == ("resampled",)
    assert (placed_mask(placed, fine) == hook_mask().repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)).all()


def test_a_frame_without_a_place_lies_on_the_image_that_it_was_derived_from(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    header = written(volume, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(header.path)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    dataset.save_as(tmp_path / "bare.dcm")
    bare = read_header(tmp_path / "bare.dcm")
    found = read_annotations([bare], find_instances(tmp_path / "ct")).found
    assert (placed_mask(place(found[0], volume), volume) == hook_mask()).all()
    without = read_annotations([bare], [])
    assert [(one.item, one.code) for one in without.rejected] == [("object", "unplaced-annotation")]


def test_a_report_gives_its_words_to_the_segment_that_it_speaks_of(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    header = written(volume, tmp_path / "seg.dcm")
    reference = item(
        ReferencedSOPClassUID=header.sop_class_uid, ReferencedSOPInstanceUID=header.sop_instance_uid, ReferencedSegmentNumber=1
    )
    spoken_of = content("IMAGE", ("121191", "DCM", "Referenced Segment"), ReferencedSOPSequence=[reference])
    spoken = report(tmp_path / "sr.dcm", measurements(group(spoken_of)))
    found = read_annotations([header, spoken], find_instances(tmp_path / "ct")).found
    assert sorted((one.source.kind, one.label, one.tracking_uid) for one in found) == [
        ("SEG", "Mass", MASS.tracking_uid),
        ("SR", "Target 1", TRACKING_UID),
    ]
    kidney = next(one for one in found if one.source.kind == "SR")
    assert (placed_mask(place(kidney, volume), volume) == hook_mask()).all()
    alone = read_annotations([spoken], find_instances(tmp_path / "ct")).found
    assert masks_on(alone, volume) == ()


def test_torn_pixels_reject_the_object_not_the_study(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    header = written(volume, tmp_path / "seg.dcm")
    header.path.write_bytes(header.path.read_bytes()[:-40])
    result = read_annotations([read_header(header.path)], find_instances(tmp_path / "ct"))
    assert (result.found, [(one.item, one.code) for one in result.rejected]) == ((), [("object", "undecodable-pixels")])
