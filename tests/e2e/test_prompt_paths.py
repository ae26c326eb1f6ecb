"""Annotation (early or late), PET, atlas and prior prompt what came by C-STORE: each segment arrives with label, place and tracking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from daemon.commands.atlas import build
from dicom_io.instance import InstanceHeader
from dicom_io.segmentation_check import place_frames
from dicom_io.segmentation_reader import ReadSegmentation, read_segmentation
from dicom_io.series import find_instances, read_series
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from tests.e2e.harness import Site, make_site, need, serving, storescp, storescu, wait_until
from tests.unit.dicom_io.annotations.drawings import (
    TRACKING_UID,
    group,
    measurements,
    on_image,
    report,
    scoord,
    structure_set,
    to_corner,
    to_mm,
)
from tests.unit.rules.bodies import then

RULES = """\
rules:
  - name: late
    match: {Modality: CT, SeriesDescription: Drawn on later}
    destinations: [archive]
    targets:
      - label: Usual place
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -200, high: 250}
        stop_after_empty_frames: 1
        maximum_reach_mm: 6
        prompt: {kind: box, unit: pixel, left: 12, top: 14, right: 39, bottom: 38, frame: middle}
      - label: Drawn
        category: MorphologicallyAbnormalStructure
        type: {value: "52988006", scheme: SCT, meaning: Lesion}
        window: {low: -200, high: 250}
        stop_after_empty_frames: 1
        maximum_reach_mm: 6
        prompt: {kind: annotation}
  - name: follow
    match: {Modality: CT}
    destinations: [archive]
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -200, high: 250}
        stop_after_empty_frames: 1
        maximum_reach_mm: 12
        prompt: {kind: atlas, files: [trunk.npz], structure: liver, deformable: false}
      - label: Drawn
        category: MorphologicallyAbnormalStructure
        type: {value: "52988006", scheme: SCT, meaning: Lesion}
        window: {low: -200, high: 250}
        stop_after_empty_frames: 1
        maximum_reach_mm: 12
        prompt: {kind: annotation}
      - label: Followed
        category: MorphologicallyAbnormalStructure
        type: {value: "52988006", scheme: SCT, meaning: Lesion}
        window: {low: -200, high: 250}
        stop_after_empty_frames: 1
        maximum_reach_mm: 12
        prompt: {kind: prior, deformable: false}
  - name: pet
    match: {Modality: PT}
    destinations: [archive]
    targets:
      - label: Hot lesion
        category: MorphologicallyAbnormalStructure
        type: {value: "52988006", scheme: SCT, meaning: Lesion}
        window: {low: 0, high: 15}
        stop_after_empty_frames: 1
        maximum_reach_mm: 12
        prompt: {kind: threshold, low: 2.5, share_of_peak: 0.41, minimum_volume_ml: 1}
"""
FIRST = SyntheticStudy(seed=1, study_date="20240229")
NEXT = replace(FIRST, seed=2, study_date="20250301")
LATE = SyntheticStudy(seed=3, patient_id="SYNTHETIC-0001", series_description="Drawn on later")


def images_of(folder: Path, study: SyntheticStudy) -> Path:
    image = then().volume
    write_ct_series(folder, image.voxels, image.affine, study)
    return folder


def draw(images: Path, path: Path) -> None:
    """A report in the images' study: a region around the lesion, where it is largest."""
    k, corners = around_the_lesion()
    region = group(scoord("POLYLINE", to_corner(corners), on_image(k, uid=image_uid(images, k)), concept=("111030", "DCM", "Image Region")))
    into_study_of(images, report(path, measurements(region)))


def contour(images: Path, path: Path) -> None:
    """The same region as a structure set."""
    k, corners = around_the_lesion()
    points = to_mm(then().volume.affine, k, corners[:4])
    into_study_of(images, structure_set(path, [[("CLOSED_PLANAR", points)]], image=image_uid(images, k)))


def around_the_lesion() -> tuple[int, list[tuple[float, float]]]:
    """The slice where the lesion is largest, and the corners of its box there (x, y), closed."""
    lesion = then().masks["lesion"]
    k = int(np.argmax(lesion.sum(axis=(1, 2))))
    rows, columns = np.nonzero(lesion[k])
    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    return k, [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def image_uid(images: Path, k: int) -> str:
    source = read_series([header.path for header in find_instances(images)]).stack.frames[k]
    assert source is not None
    return source.header.sop_instance_uid


def into_study_of(images: Path, drawn: InstanceHeader) -> None:
    dataset, image = pydicom.dcmread(drawn.path), pydicom.dcmread(next(images.iterdir()), stop_before_pixels=True)
    dataset.StudyInstanceUID, dataset.PatientID = image.StudyInstanceUID, image.PatientID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{image.SeriesInstanceUID[:50]}.1")
    dataset.SeriesInstanceUID = f"{dataset.SOPInstanceUID}.1"
    for region in dataset.get("StructureSetROISequence", ()):
        region.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
    dataset.save_as(drawn.path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, shared_folder: Path) -> Iterator[Site]:
    """One service for all paths: a study with a report, its follow-up, a study that is drawn on late, and a PET of the shared data."""
    need("storescu", "storescp")
    folder = tmp_path_factory.mktemp("paths")
    trunk = then()
    low, high = trunk.volume.voxels.min(), trunk.volume.voxels.max()
    meta = json.dumps({"labels": {"liver": 1}, "modality": "CT"})
    grey = ((trunk.volume.voxels - low) / (high - low) * 255).astype(np.uint8)
    spacing = np.array(trunk.volume.spacing_mm)
    np.savez(folder / "case.npz", imgs=grey, gts=trunk.masks["liver"].astype(np.uint8), spacing=spacing, meta=meta)
    made = make_site(folder, RULES)
    build(source=folder / "case.npz", out=folder / "trunk.npz", origin="made up", licence="none", labels=None, structure=None)
    first = images_of(folder / "first", FIRST)
    draw(first, folder / "first" / "drawn.dcm")
    later = images_of(folder / "later", NEXT)
    late = images_of(folder / "late", LATE)
    drawing = folder / "drawing"
    drawing.mkdir()
    contour(late, drawing / "rs.dcm")
    with storescp(made), serving(made):
        assert storescu(made, first, "-R").returncode == 0
        assert storescu(made, late).returncode == 0
        wait_until(lambda: delivered(made) == 2, "the results of the first study, and of the one without annotations")
        assert storescu(made, later).returncode == 0
        assert storescu(made, drawing, "-R").returncode == 0
        pet = folder / "pet"
        pet.mkdir()
        for number, header in enumerate(find_instances(shared_folder / "data" / "ct_pet_mr_sts_rtstruct" / "STS_002")):
            if header.modality == "PT":
                (pet / f"{number}.dcm").symlink_to(header.path)
        assert storescu(made, pet).returncode == 0
        wait_until(lambda: delivered(made) == 5, "the results of follow-up, late annotation and PET")
        yield made


def delivered(site: Site) -> int:
    """Jobs whose every result the archive has confirmed: it may still be writing what else lies there."""
    found = site.status()["jobs"]
    assert isinstance(found, dict)
    return int(found.get("DELIVERED", 0))


def results(site: Site, folder: str) -> list[tuple[pydicom.FileDataset, pydicom.FileDataset]]:
    """The segmentations of a folder's study, each with its report, in the order of their jobs."""
    study = pydicom.dcmread(next(iter((site.folder / folder).iterdir())), stop_before_pixels=True).StudyInstanceUID
    read = (pydicom.dcmread(path) for path in site.results())
    own = sorted((one for one in read if one.StudyInstanceUID == study), key=lambda one: (one.ContentDate, one.ContentTime))
    made, said = ([one for one in own if one.Modality == modality] for modality in ("SEG", "SR"))
    return list(zip(made, said, strict=True))


def segments(site: Site, folder: str) -> dict[str, tuple[ReadSegmentation, int]]:
    """The segments of the only result of a folder's study, by label."""
    ((segmentation, _),) = results(site, folder)
    read = read_segmentation(Path(str(segmentation.filename)))
    return {segment.label: (read, index) for index, segment in enumerate(read.segments)}


def share_near(read: ReadSegmentation, index: int, organ: str) -> float:
    """How much of a segment of the trunk lies in the box around an organ, a tenth of its width added."""
    number = read.segments[index].number
    inside, total = 0, 0
    rows, columns = np.nonzero(then().masks[organ].any(axis=0))
    margin = 4
    for place, frame, pixels in zip(place_frames(read, then().volume.affine), read.frames, read.masks, strict=True):
        if frame.segment_number == number:
            assert place is not None
            total += int(pixels.sum())
            inside += int(pixels[rows.min() - margin : rows.max() + 1 + margin, columns.min() - margin : columns.max() + 1 + margin].sum())
    return inside / total


def test_an_annotation_in_the_study_prompts_its_series(site: Site) -> None:
    read, index = segments(site, "first")["Drawn"]
    assert read.segments[index].tracking_uid == TRACKING_UID
    assert share_near(read, index, "lesion") >= 0.8


def test_an_atlas_prompts_the_organ_that_it_holds(site: Site) -> None:
    assert share_near(*segments(site, "first")["Liver"], "liver") >= 0.8


def test_the_next_study_is_prompted_by_the_earlier_result_and_keeps_its_tracking(site: Site) -> None:
    read, index = segments(site, "later")["Followed"]
    assert read.segments[index].tracking_uid == TRACKING_UID
    assert share_near(read, index, "lesion") >= 0.8


def test_the_hot_spot_of_a_real_pet_becomes_a_segment(site: Site) -> None:
    assert set(segments(site, "pet")) == {"Hot lesion"}


def test_an_annotation_that_comes_after_the_delivery_leads_to_a_result_that_supersedes_the_first(site: Site) -> None:
    (first, first_report), (second, second_report) = results(site, "late")
    assert [str(segment.SegmentLabel) for segment in first.SegmentSequence] == ["Usual place"]
    assert [str(segment.SegmentLabel) for segment in second.SegmentSequence] == ["Usual place", "Drawn"]
    assert "REPLACES EARLIER" not in first.ContentDescription
    assert "REPLACES EARLIER" in second.ContentDescription
    (replaced,) = second_report.PredecessorDocumentsSequence
    assert "PredecessorDocumentsSequence" not in first_report
    assert first_report.SOPInstanceUID in str(replaced)
    read = read_segmentation(Path(str(second.filename)))
    assert share_near(read, 1, "lesion") >= 0.8
