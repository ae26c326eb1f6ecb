"""RT structure sets on volumes of every orientation: right voxels without references, holes, sparse and foreign planes, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_io.annotations.annotation import Contours, Line, Points
from dicom_io.annotations.placed import PlacedAnnotation, PlacedLine, PlacedMask
from dicom_io.annotations.placement import masks_on, place, place_all
from dicom_io.annotations.structure_set import read_structure_set
from dicom_io.errors import AnnotationElsewhere
from dicom_io.geometry import Float64
from dicom_io.volume import Volume
from tests.unit.dicom_io.annotations.drawings import LESION, image_uid, structure_set, to_mm
from tests.unit.dicom_io.ct_files import COLUMNS, GEOMETRIES, ROWS, SERIES_UID, SLICES, affine_of, write_volume

BOX = [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5)]  # columns 3..9, rows 4..11
HOLE = [(4.5, 5.5), (6.5, 5.5), (6.5, 7.5), (4.5, 7.5)]  # columns 5..6, rows 6..7


def mask_of(placed: PlacedAnnotation, volume: Volume) -> NDArray[np.bool_]:
    assert isinstance(placed.shape, PlacedMask)
    slices, rows, columns = volume.voxels.shape
    return placed.shape.volume((slices, rows, columns))


def boxes(*frames: int) -> NDArray[np.bool_]:
    mask = np.zeros((SLICES, ROWS, COLUMNS), np.bool_)
    for k in frames:
        mask[k, 4:12, 3:10] = True
    return mask


def drawn(affine: Float64, *frames: float) -> list[tuple[str, Float64]]:
    return [("CLOSED_PLANAR", to_mm(affine, k, BOX)) for k in frames]


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_contours_cover_exactly_the_pixels_whose_centres_they_hold_in_every_orientation(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path, name)
    header = structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 2, 3, 4)], image="1.2.3.4")
    found = read_structure_set(header).found[0]
    placed = place(found, volume, SERIES_UID)
    assert (mask_of(placed, volume) == boxes(2, 3, 4)).all()
    assert placed.notes == ()
    assert (found.label, found.concept.value if found.concept else "", found.algorithm_type) == ("Region 1", LESION[0], "MANUAL")


def test_coordinates_rounded_to_a_hundredth_of_a_millimetre_still_lie_on_their_slices(tmp_path: Path) -> None:
    volume = write_volume(tmp_path, "oblique")
    rounded = [("CLOSED_PLANAR", np.round(points, 2)) for _, points in drawn(volume.affine, 2, 3)]
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [rounded])).found[0], volume)
    assert (mask_of(placed, volume) == boxes(2, 3)).all()
    assert placed.notes == ()


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_an_outline_inside_another_is_a_hole(kind: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    contours = [(kind, to_mm(volume.affine, 3, outline)) for outline in (BOX, HOLE)]
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [contours])).found[0], volume)
    expected = boxes(3)
    expected[3, 6:8, 5:7] = False
    assert (mask_of(placed, volume) == expected).all()


def test_slices_without_a_contour_stay_empty_on_the_grid_that_was_drawn_on(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 2, 3, 6)])).found[0], volume)
    assert (mask_of(placed, volume) == boxes(2, 3, 6)).all()
    assert placed.notes == ("slices-without-contour",)


def test_contours_half_way_between_slices_give_each_slice_once(tmp_path: Path) -> None:
    """And whole: a slice right on the boundary of two slabs must not be torn between them by rounding."""
    volume = write_volume(tmp_path, "oblique")
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 2.5, 3.5, 4.5)])).found[0], volume)
    mask = mask_of(placed, volume)
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    assert len(slices) == 3
    assert (mask == boxes(*slices)).all()
    assert placed.notes == ("resampled",)


def test_contours_of_a_coarser_grid_leave_no_stripes_on_a_finer_one(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    # Planes 5 mm apart on slices 2.5 mm apart, a quarter of a slice off the grid.
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 1.25, 3.25, 5.25)])).found[0], volume)
    assert placed.notes == ("resampled",)
    assert (mask_of(placed, volume) == boxes(1, 2, 3, 4, 5, 6)).all()


def test_axial_contours_are_not_lost_on_an_oblique_volume(tmp_path: Path) -> None:
    """A ball drawn in axial circles, on slices that are turned against them: every voxel well inside is there, none well outside."""
    volume = write_volume(tmp_path, "oblique")
    kji = np.stack(np.meshgrid(*(np.arange(size) for size in volume.voxels.shape), indexing="ij"), axis=-1).astype(np.float64)
    points = kji @ affine_of("oblique")[:3, :3].T + affine_of("oblique")[:3, 3]
    centre, radius, step = points.reshape(-1, 3).mean(axis=0), 5.0, 0.5
    circles: list[tuple[str, Float64]] = []
    for z in np.arange(-radius + step / 2, radius, step):
        angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)[:, np.newaxis]
        ring = np.sqrt(radius**2 - z**2) * np.hstack([np.cos(angle), np.sin(angle), np.zeros_like(angle)])
        circles.append(("CLOSED_PLANAR", centre + ring + (0, 0, z)))
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [circles])).found[0], volume)
    mask = mask_of(placed, volume)
    distance = np.linalg.norm(points - centre, axis=-1)
    assert placed.notes == ("resampled",)
    assert (mask != (distance < radius))[np.abs(distance - radius) > 1.1].sum() == 0
    assert abs(int(mask.sum()) - int((distance < radius).sum())) < 0.05 * mask.sum()


def test_one_single_foreign_contour_covers_a_sheet_of_voxels_not_nothing(tmp_path: Path) -> None:
    volume = write_volume(tmp_path, "axial")
    affine = volume.affine
    corners = [(1, 2, 3), (1, 9, 3), (7, 9, 3), (7, 2, 3)]  # (k, j, i): a sagittal outline through column 3
    outline = np.array([affine[:3, :3] @ np.array(corner, float) + affine[:3, 3] for corner in corners])
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", outline)]])).found[0], volume)
    mask = mask_of(placed, volume)
    assert set(np.nonzero(mask)[2]) == {3}
    assert mask.any(axis=(1, 2)).sum() == 6  # half-open: of slices 1..7 one edge belongs to the region


def test_an_outline_smaller_than_a_voxel_keeps_its_place(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    tiny = to_mm(volume.affine, 4, [(6.2, 7.2), (6.6, 7.2), (6.6, 7.6)])
    placed = place(read_structure_set(structure_set(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", tiny)]])).found[0], volume)
    assert isinstance(placed.shape, PlacedLine)
    assert (placed.shape.frame, placed.notes) == (4, ("smaller-than-a-voxel",))


def test_points_and_open_contours_are_kept_as_what_they_are(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    point, line = to_mm(volume.affine, 3, [(5, 6)]), to_mm(volume.affine, 3, [(5, 6), (9, 6), (9, 9)])
    header = structure_set(tmp_path / "rs.dcm", [[("POINT", point), ("OPEN_PLANAR", line), *drawn(volume.affine, 3)]])
    found = read_structure_set(header).found
    assert [type(one.shape) for one in found] == [Contours, Points, Line]
    assert [one.graphic for one in found] == ["CLOSED_PLANAR", "POINT", "OPEN_PLANAR"]


def test_a_region_without_contours_is_rejected_alone(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    result = read_structure_set(structure_set(tmp_path / "rs.dcm", [[], drawn(volume.affine, 3)]))
    assert [one.source.item for one in result.found] == ["ROI 2"]
    assert [(one.item, one.code) for one in result.rejected] == [("ROI 1", "malformed-annotation")]


def test_degenerate_contours_are_passed_over_and_noted(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    speck = ("CLOSED_PLANAR", to_mm(volume.affine, 5, [(5, 6), (6, 6)]))
    result = read_structure_set(structure_set(tmp_path / "rs.dcm", [[speck, *drawn(volume.affine, 3)], [speck]]))
    assert result.found[0].notes == ("degenerate-contours",)
    assert [one.item for one in result.rejected] == ["ROI 2"]


def test_an_outline_that_leaves_its_plane_is_rejected_with_the_distance(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    bent = to_mm(volume.affine, 3, BOX)
    bent[2] = to_mm(volume.affine, 5, BOX)[2]
    result = place_all(read_structure_set(structure_set(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", bent)]])), volume)
    assert [one.code for one in result.rejected] == ["malformed-annotation"]
    assert "leave it by" in result.rejected[0].reason


def test_another_frame_of_reference_is_accepted_only_with_a_reference_to_the_series(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    contours = [drawn(volume.affine, 3)]
    foreign = read_structure_set(structure_set(tmp_path / "a.dcm", contours, frame_of_reference="1.2.9")).found[0]
    with pytest.raises(AnnotationElsewhere, match=r"got frame of reference 1\.2\.9"):
        place(foreign, volume)
    referring = structure_set(tmp_path / "b.dcm", contours, frame_of_reference="1.2.9", image=image_uid(3))
    placed = place(read_structure_set(referring).found[0], volume)
    assert placed.notes == ("frame-of-reference-differs",)
    between = structure_set(tmp_path / "c.dcm", [drawn(volume.affine, 3.4)], frame_of_reference="1.2.9", image=image_uid(3))
    with pytest.raises(AnnotationElsewhere, match="expected a shape on the slices"):
        place(read_structure_set(between).found[0], volume)


def test_what_lies_outside_of_the_volume_is_elsewhere(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    header = structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 40)])
    with pytest.raises(AnnotationElsewhere, match="expected a place within the volume"):
        place(read_structure_set(header).found[0], volume)
    assert masks_on(read_structure_set(header).found, volume) == ()


def test_masks_of_all_regions_come_with_their_annotation(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    found = read_structure_set(structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 3), drawn(volume.affine, 5)])).found
    masks = masks_on(found, volume)
    assert [annotation.label for annotation, _ in masks] == ["Region 1", "Region 2"]
    assert [set(np.nonzero(mask)[0]) for _, mask in masks] == [{3}, {5}]


def test_labels_and_creators_stay_out_of_reprs(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    found = read_structure_set(structure_set(tmp_path / "rs.dcm", [drawn(volume.affine, 3)])).found[0]
    assert "Region 1" not in repr(found)
    assert "Region 1" not in repr(place(found, volume))
