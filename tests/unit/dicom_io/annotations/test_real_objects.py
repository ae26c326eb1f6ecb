"""Annotation objects of real systems (MIM, Varian, CERR, rt-utils, dcmqi, Slicer, Brainlab, highdicom) where the test data are at hand."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray

from dicom_io.annotations.annotation import Annotations, Contours, Mask
from dicom_io.annotations.collect import is_annotation_class, read_annotations
from dicom_io.annotations.placed import PixelBox, PlacedAnnotation, PlacedMask
from dicom_io.annotations.placement import place, place_all
from dicom_io.errors import AnnotationElsewhere
from dicom_io.geometry import affine_from_planes
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.series import find_instances, judge_series
from dicom_io.volume import SourceFrame, Volume


def grid_of(headers: Sequence[InstanceHeader]) -> tuple[Volume, str]:
    """The volume's grid without its pixels, which no annotation needs, and its series."""
    series = judge_series([header for header in headers if not is_annotation_class(header.sop_class_uid)])
    stack = series.stack
    sources = tuple(
        SourceFrame(
            path=None,
            sop_class_uid=frame.header.sop_class_uid,
            sop_instance_uid=frame.header.sop_instance_uid,
            frame_number=frame.frame_number,
        )
        for frame in stack.sent
    )
    voxels = np.zeros((len(stack.frames), *stack.shape), np.float32)
    volume = Volume(voxels=voxels, affine=stack.affine, frame_of_reference_uid=stack.frame_of_reference_uid, sources=sources)
    return volume, series.series_instance_uid


def read_all(headers: Sequence[InstanceHeader]) -> Annotations:
    objects = [header for header in headers if is_annotation_class(header.sop_class_uid)]
    return read_annotations(objects, [header for header in headers if not is_annotation_class(header.sop_class_uid)])


def mask_of(placed: PlacedAnnotation, volume: Volume) -> NDArray[np.bool_]:
    assert isinstance(placed.shape, PlacedMask)
    slices, rows, columns = volume.voxels.shape
    return placed.shape.volume((slices, rows, columns))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("case", ["STS_002", "STS_003"])
@pytest.mark.parametrize(("modality", "least"), [("CT", 0.999), ("MR_T1", 0.999), ("PET", 0.94)])
def test_contours_whose_references_resolve_to_nothing_agree_with_the_given_masks(
    case: str, modality: str, least: float, shared_folder: Path
) -> None:
    folder = shared_folder / "data" / "ct_pet_mr_sts_rtstruct" / case
    headers = find_instances(folder / "dicom" / case / modality)
    volume, series_uid = grid_of(headers)
    placed = place_all(read_all(headers), volume, series_uid)
    assert (placed.rejected, len(placed.placed)) == ((), 1)
    given = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "nifti" / case / f"{modality}_mask.nii.gz"))) > 0
    assert dice(mask_of(placed.placed[0], volume), given) >= least
    assert placed.placed[0].drawn_here
    assert placed.placed[0].notes == ()


def test_a_lesion_drawn_on_ct_lies_at_the_same_place_of_the_patient_on_mr_and_pet(shared_folder: Path) -> None:
    """Other grids, one frame of reference: the centres agree within a voxel, and the volumes within a sixth."""
    folder = shared_folder / "data" / "ct_pet_mr_sts_rtstruct" / "STS_003" / "dicom" / "STS_003"
    drawn = read_all(find_instances(folder / "CT")).found[0]
    found: dict[str, tuple[NDArray[np.float64], float]] = {}
    for modality in ("CT", "MR_T1", "PET"):
        volume, series_uid = grid_of(find_instances(folder / modality / "image"))
        placed = place(drawn, volume, series_uid)
        mask = mask_of(placed, volume)
        kji = np.argwhere(mask).mean(axis=0)
        centre = volume.affine[:3, :3] @ kji + volume.affine[:3, 3]
        found[modality] = (centre, mask.sum() * float(abs(np.linalg.det(volume.affine[:3, :3]))))
        assert placed.drawn_here == (modality == "CT")
    for modality in ("MR_T1", "PET"):
        assert np.linalg.norm(found[modality][0] - found["CT"][0]) < 2.0
        assert abs(found[modality][1] / found["CT"][1] - 1.0) < 1 / 6


def test_four_hundred_contours_of_a_planning_system_fill_lungs_cord_and_tumour(shared_folder: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_folder / "data" / "ct_dicom_rtstruct" / "LUNG1-001.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    headers = find_instances(tmp_path)
    volume, series_uid = grid_of(headers)
    annotations = read_all(headers)
    placed = place_all(annotations, volume, series_uid)
    assert placed.rejected == ()
    masks = {one.label: mask_of(one, volume) for one in placed.placed}
    assert sorted(masks) == ["GTV-1", "Lung-Left", "Lung-Right", "Spinal-Cord"]
    found = annotations.found
    assert sum(len(one.shape.outlines_mm) for one in found if isinstance(one.shape, Contours)) == 358
    for one in placed.placed:
        drawn = next(other for other in found if other.label == one.label)
        assert isinstance(drawn.shape, Contours)
        _expect_every_contour(drawn.shape, one, volume)
    assert not (masks["Lung-Left"] & masks["Lung-Right"]).any()
    # The patient lies on the back: x grows towards the left.
    left, right = (np.argwhere(masks[f"Lung-{side}"])[:, 2].mean() for side in ("Left", "Right"))
    assert left > right


def _expect_every_contour(shape: Contours, placed: PlacedAnnotation, volume: Volume) -> None:
    """Every slice with outlines has voxels, no other has any; a lone outline's area agrees within a fifth of its rim's length in
    pixels, and the extent is the drawn one.
    """
    assert isinstance(placed.shape, PlacedMask)
    inverse = np.linalg.inv(volume.affine)
    by_slice: dict[int, list[NDArray[np.float64]]] = {}
    for outline in shape.outlines_mm:
        kji = outline @ inverse[:3, :3].T + inverse[:3, 3]
        by_slice.setdefault(round(float(kji[:, 0].mean())), []).append(kji[:, 1:])
    assert placed.shape.frames == tuple(sorted(by_slice))
    mask = mask_of(placed, volume)
    for k, outlines in by_slice.items():
        points = np.concatenate(outlines)
        np.testing.assert_allclose(placed.shape.edges(k), [*points.min(axis=0)[::-1], *points.max(axis=0)[::-1]], atol=1e-6)
        if len(outlines) == 1:
            ends = np.roll(points, -1, axis=0)
            area = abs(float((points[:, 0] * ends[:, 1] - points[:, 1] * ends[:, 0]).sum())) / 2
            rim = float(np.linalg.norm(ends - points, axis=1).sum())
            assert abs(int(mask[k].sum()) - area) < 0.2 * rim


def test_the_tumour_of_a_cropped_ct_covers_every_contour(shared_folder: Path) -> None:
    headers = find_instances(shared_folder / "data" / "ct_gtv_rtstruct_cerr_pat2")
    volume, series_uid = grid_of(headers)
    found = read_all(headers).found
    placed = place(found[0], volume, series_uid)
    assert (placed.label, placed.drawn_here, placed.notes) == ("GTV-1", True, ())
    assert isinstance(found[0].shape, Contours)
    _expect_every_contour(found[0].shape, placed, volume)


def two_slices(shared_folder: Path) -> Volume:
    """The phantom's two CT slices: too few for a series, enough for contours."""
    headers = [read_header(shared_folder / "data" / "rtstruct_ct_phantom" / name) for name in ("ct_1.dcm", "ct_2.dcm")]
    plane, above = headers[0].plane, headers[1].plane
    assert plane is not None
    assert above is not None
    step = np.array(above.position_mm) - np.array(plane.position_mm)
    return Volume(
        voxels=np.zeros((2, 512, 512), np.float32),
        affine=affine_from_planes(plane, step.tolist()),
        frame_of_reference_uid=str(headers[0].dataset.FrameOfReferenceUID),
        sources=tuple(
            SourceFrame(path=None, sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid) for header in headers
        ),
    )


@pytest.mark.parametrize("name", ["invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"])
def test_broken_series_references_lose_no_contour_that_lies_on_the_slices(name: str, shared_folder: Path) -> None:
    volume = two_slices(shared_folder)
    folder = shared_folder / "data" / "rtstruct_ct_phantom"
    found = read_all([read_header(folder / part) for part in (name, "ct_1.dcm", "ct_2.dcm")])
    placed = place_all(found, volume)
    assert placed.rejected == ()
    assert [one.label for one in placed.placed] == ["ROI-1", "ROI-2", "ROI-3", "ROI-4"]
    for one in placed.placed:
        assert isinstance(one.shape, PlacedMask)
        assert one.shape.frames == (0, 1)  # the third contour lies on a slice that is not there


def test_a_foreign_frame_of_reference_counts_only_with_the_images_that_it_refers_to(shared_folder: Path) -> None:
    volume = two_slices(shared_folder)
    header = read_header(shared_folder / "data" / "rtstruct_ct_phantom" / "rt.dcm")
    found = read_annotations([header], []).found[0]
    placed = place(found, volume)
    assert placed.notes == ("frame-of-reference-differs", "references-unresolved")
    # Two outlines of one slice, the one inside the other: a ring with its hole.
    assert isinstance(placed.shape, PlacedMask)
    (top, left), (bottom, right) = ((np.array(edge) + 125.0) / 0.48828125 for edge in ((-51.0, -51.0), (-27.0, -27.0)))
    box = placed.shape.box(0)
    assert np.abs(np.array([box.left, box.top, box.right, box.bottom]) - (left, top, right, bottom)).max() <= 1.0
    image = placed.shape.image(0, (512, 512))
    assert not image[round((-39.5 + 125.0) / 0.48828125), round((-39.5 + 125.0) / 0.48828125)]
    elsewhere = Volume(voxels=volume.voxels, affine=volume.affine, frame_of_reference_uid="1.2.3", sources=volume.sources[:1] * 2)
    assert isinstance(place(found, elsewhere).shape, PlacedMask)
    unrelated = tuple(SourceFrame(path=None, sop_class_uid="", sop_instance_uid=f"1.2.{number}") for number in range(2))
    with pytest.raises(AnnotationElsewhere, match="frame of reference"):
        place(found, Volume(voxels=volume.voxels, affine=volume.affine, frame_of_reference_uid="1.2.3", sources=unrelated))


def test_the_liver_of_dcmqi_lies_where_its_pixels_say(shared_folder: Path) -> None:
    """The stored bits, unpacked here, against the mask on the CT; both segmentations refer to the same three slices."""
    folder = shared_folder / "data" / "seg_and_sr_dcmqi" / "segmentations"
    headers = [*find_instances(folder / "ct-3slice"), read_header(folder / "liver.dcm"), read_header(folder / "partial_overlaps.dcm")]
    volume, series_uid = grid_of(headers)
    placed = place_all(read_all(headers), volume, series_uid)
    assert placed.rejected == ()
    assert [one.label for one in placed.placed] == ["Liver", "GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]
    assert all(one.drawn_here and not one.notes for one in placed.placed)
    stored = pydicom.dcmread(folder / "liver.dcm")
    bits = np.unpackbits(np.frombuffer(stored.PixelData, np.uint8), bitorder="little")[: 3 * 512 * 512].reshape(3, 512, 512)
    positions = [float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in stored.PerFrameFunctionalGroupsSequence]
    order = np.argsort(positions)
    assert (mask_of(placed.placed[0], volume) == bits[order].astype(bool)).all()


def test_the_brainlab_example_agrees_with_its_label_map(shared_folder: Path) -> None:
    folder = shared_folder / "data" / "seg_and_sr_dcmqi" / "segmentations" / "24x38x3"
    headers = [*find_instances(folder / "image"), read_header(folder / "seg" / "label.seg")]
    volume, series_uid = grid_of(headers)
    placed = place_all(read_all(headers), volume, series_uid).placed
    label = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "nrrd" / "label.nrrd"))) > 0
    assert (mask_of(placed[0], volume) == label).all()


def test_a_report_of_dcmqi_names_the_tumour_and_its_segment(shared_folder: Path) -> None:
    found = read_all(find_instances(shared_folder / "data" / "seg_and_sr_dcmqi" / "sr-example")).found
    assert len(found) == 1
    tumour = found[0]
    assert tumour.concept is not None
    assert tumour.site is not None
    assert (tumour.source.kind, tumour.graphic, tumour.label) == ("SR", "BINARY", "primary tumor")
    assert (tumour.tracking_uid, tumour.concept.value, tumour.site.value) == (
        "2.25.318774060119084600392715520575818119084",
        "M-80003",
        "T-C5300",
    )
    assert isinstance(tumour.shape, Mask)
    # 33.5824 ml is the volume that the report states, of voxels of 5.3 mm x 5.3 mm x 2.4 mm or so.
    plane = tumour.shape.frames[0].plane
    heights = sorted({frame.plane.distance_mm for frame in tumour.shape.frames})
    voxel = plane.row_spacing_mm * plane.column_spacing_mm * float(np.median(np.diff(heights)))
    assert sum(frame.mask.sum() for frame in tumour.shape.frames) * voxel / 1000 == pytest.approx(33.5824, rel=1e-3)


def test_the_circle_of_highdicom_has_its_radius(shared_folder: Path) -> None:
    """A circle around column 10, row 10 (corner-based) that the file states; its area is 1.7 square centimetres."""
    folder = shared_folder / "data" / "seg_sr_highdicom"
    found = read_annotations([read_header(folder / "sr_document.dcm")], [read_header(folder / "ct_image.dcm")])
    assert found.rejected == ()
    shape = found.found[0].shape
    assert isinstance(shape, Contours)
    outline = shape.outlines_mm[0]
    area = np.linalg.norm(np.cross(outline, np.roll(outline, -1, axis=0)).sum(axis=0)) / 2 / 100
    assert area == pytest.approx(1.7, abs=0.05)


@pytest.mark.parametrize("name", ["liver_rle.dcm", "liver_deflate.dcm", "liver_j2k.dcm"])
def test_one_segmentation_in_three_compressed_syntaxes_is_the_same(name: str, shared_folder: Path) -> None:
    folder = shared_folder / "data"
    headers = [
        *find_instances(folder / "seg_and_sr_dcmqi" / "segmentations" / "ct-3slice"),
        read_header(folder / "enhanced_multiframe_pydicom" / name),
    ]
    volume, series_uid = grid_of(headers)
    reference = read_header(folder / "seg_and_sr_dcmqi" / "segmentations" / "liver.dcm")
    expected = mask_of(place(read_annotations([reference], []).found[0], volume, series_uid), volume)
    assert (mask_of(place(read_all(headers).found[0], volume, series_uid), volume) == expected).all()
    assert isinstance(place(read_all(headers).found[0], volume).shape, PlacedMask)


def test_boxes_of_real_segments_are_within_a_pixel_of_their_pixels(shared_folder: Path) -> None:
    folder = shared_folder / "data" / "seg_and_sr_dcmqi" / "segmentations"
    volume, _ = grid_of(find_instances(folder / "ct-3slice"))
    for one in read_annotations([read_header(folder / "partial_overlaps.dcm")], []).found:
        placed = place(one, volume)
        assert isinstance(placed.shape, PlacedMask)
        mask = mask_of(placed, volume)
        for box in placed.shape.boxes():
            rows, columns = np.nonzero(mask[box.frame])
            assert box == PixelBox(frame=box.frame, left=columns.min(), top=rows.min(), right=columns.max(), bottom=rows.max())
