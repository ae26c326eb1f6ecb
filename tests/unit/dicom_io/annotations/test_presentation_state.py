"""Presentation states: graphics in pixel and display units, arrows, compounds and texts at the right slice and pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import Annotations
from dicom_io.annotations.image_places import image_places
from dicom_io.annotations.placed import PixelBox, PlacedAnnotation, PlacedLine, PlacedMask, PlacedPoints
from dicom_io.annotations.placement import place
from dicom_io.annotations.presentation_state import read_presentation_state
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.series import find_instances
from dicom_io.volume import Volume
from tests.unit.dicom_io.annotations.drawings import (
    OBJECT_UID,
    TRACKING_UID,
    anchored,
    board,
    compound,
    graphic,
    image_uid,
    item,
    presentation_state,
    reference,
    to_corner,
)
from tests.unit.dicom_io.ct_files import COLUMNS, GEOMETRIES, ROWS, SERIES_UID, write_volume

BOX = [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)]


def read(header: InstanceHeader, folder: Path) -> Annotations:
    return read_presentation_state(header, image_places(find_instances(folder / "ct")))


def only(found: Annotations, volume: Volume) -> PlacedAnnotation:
    assert found.rejected == ()
    assert len(found.found) == 1
    return place(found.found[0], volume, SERIES_UID)


def on_slice(k: int, *graphics: Dataset, texts: Sequence[Dataset] = (), compounds: Sequence[Dataset] = ()) -> Dataset:
    return board([reference(image_uid(k))], graphics, compounds, texts)


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_pixel_units_count_from_the_outer_corner_of_the_first_pixel(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", name)
    header = presentation_state(tmp_path / "pr.dcm", on_slice(3, graphic("POLYLINE", to_corner(BOX)), texts=[anchored("Mass 1", [5, 5])]))
    placed = only(read(header, tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert list(placed.shape.boxes()) == [PixelBox(frame=3, left=3, top=4, right=9, bottom=11)]
    assert (placed.kind, placed.label, placed.creator, placed.drawn_here) == ("GSPS", "Mass 1", "Reader^Two", True)
    assert "Mass 1" not in repr(placed)


def test_circles_and_ellipses_have_their_extent_to_the_pixel(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    header = presentation_state(
        tmp_path / "pr.dcm",
        on_slice(2, graphic("CIRCLE", to_corner([(10, 9), (14.2, 9)]))),
        on_slice(3, graphic("ELLIPSE", to_corner([(5, 9), (15, 9), (10, 6), (10, 12)]))),
    )
    for found, k, expected in zip(read(header, tmp_path).found, (2, 3), ((6, 5, 14, 13), (5, 6, 15, 12)), strict=True):
        shape = place(found, volume).shape
        assert isinstance(shape, PlacedMask)
        box = shape.box(k)
        assert shape.frames == (k,)
        assert np.abs(np.array([box.left, box.top, box.right, box.bottom]) - expected).max() <= 1


def test_lines_and_points_stay_lines_and_points(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "anisotropic")
    header = presentation_state(
        tmp_path / "pr.dcm", on_slice(2, graphic("POLYLINE", to_corner([(4, 5), (16, 8)])), graphic("POINT", to_corner([(7, 8)])))
    )
    line, point = (place(one, volume).shape for one in read(header, tmp_path).found)
    assert isinstance(line, PlacedLine)
    assert isinstance(point, PlacedPoints)
    assert line.tip is None
    np.testing.assert_allclose(line.kji, [(2, 5, 4), (2, 8, 16)], atol=1e-4)
    np.testing.assert_allclose(point.kji, [(2, 8, 7)], atol=1e-4)


@pytest.mark.parametrize(
    ("top_left", "bottom_right", "rotation", "fractions"),
    [
        ((1, 1), (COLUMNS, ROWS), 0, [(2.5 + 0.5) / COLUMNS, (3.5 + 0.5) / ROWS, (9.5 + 0.5) / COLUMNS, (11.5 + 0.5) / ROWS]),
        # The part from column 3 and row 2 on, zoomed in.
        ((3, 2), (22, 17), 0, [(3.0 - 2) / 20, (4.0 - 1) / 16, (10.0 - 2) / 20, (12.0 - 1) / 16]),
        # Turned upside down: the last pixel stands top left.
        ((COLUMNS, ROWS), (1, 1), 180, [1 - 3.0 / COLUMNS, 1 - 4.0 / ROWS, 1 - 10.0 / COLUMNS, 1 - 12.0 / ROWS]),
        # Turned clockwise by a quarter: the screen's x runs against the rows, its y along the columns.
        ((1, ROWS), (COLUMNS, 1), 90, [1 - 4.0 / ROWS, 3.0 / COLUMNS, 1 - 12.0 / ROWS, 10.0 / COLUMNS]),
    ],
)
def test_display_units_are_fractions_of_the_displayed_area(
    top_left: tuple[int, int], bottom_right: tuple[int, int], rotation: int, fractions: list[float], tmp_path: Path
) -> None:
    volume = write_volume(tmp_path / "ct")
    x0, y0, x1, y1 = fractions
    area = item(DisplayedAreaTopLeftHandCorner=list(top_left), DisplayedAreaBottomRightHandCorner=list(bottom_right))
    area.ReferencedImageSequence = [reference(image_uid(3))]
    header = presentation_state(
        tmp_path / "pr.dcm",
        on_slice(3, graphic("POLYLINE", [x0, y0, x1, y0, x1, y1, x0, y1, x0, y0], "DISPLAY")),
        DisplayedAreaSelectionSequence=[area],
        ImageRotation=rotation,
    )
    shape = only(read(header, tmp_path), volume).shape
    assert isinstance(shape, PlacedMask)
    assert list(shape.boxes()) == [PixelBox(frame=3, left=3, top=4, right=9, bottom=11)]


def test_a_line_with_a_head_is_an_arrow_with_its_tip(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    line, head = to_corner([(20, 15), (12, 9)]), to_corner([(13.5, 9.2), (12, 9), (12.6, 10.4)])
    header = presentation_state(tmp_path / "pr.dcm", on_slice(3, graphic("POLYLINE", line), graphic("POLYLINE", head)))
    placed = only(read(header, tmp_path), volume)
    assert isinstance(placed.shape, PlacedLine)
    assert placed.graphic == "ARROW"
    assert placed.shape.tip == 1
    np.testing.assert_allclose(placed.shape.kji[1], (3, 9, 12), atol=1e-4)


@pytest.mark.parametrize("evidence", ["text", "double", "none"])
def test_the_tip_of_a_compound_arrow_follows_the_text_then_the_drawn_head_then_the_last_point(evidence: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    tip, tail = (12, 9), (20, 15)
    ends = [tail, tip] if evidence == "none" else [tip, tail]
    shaft = graphic("POLYLINE", to_corner([tip, tail]), CompoundGraphicInstanceID=1)
    head = graphic("POLYLINE", to_corner([(13.5, 9.2), (12, 9), (12.6, 10.4)]), CompoundGraphicInstanceID=1)
    texts = [anchored("here", to_corner([tip]))] if evidence == "text" else []
    drawn = on_slice(3, *([shaft, head] if evidence == "double" else []), texts=texts, compounds=[compound("ARROW", to_corner(ends))])
    placed = only(read(presentation_state(tmp_path / "pr.dcm", drawn), tmp_path), volume)
    assert isinstance(placed.shape, PlacedLine)
    assert placed.shape.tip is not None
    np.testing.assert_allclose(placed.shape.kji[placed.shape.tip], (3, 9, 12), atol=1e-4)


def test_compound_rectangles_and_ellipses_stand_for_their_plain_doubles(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    rectangle = compound("RECTANGLE", to_corner([(2.5, 3.5), (9.5, 11.5)]))
    double = graphic("POLYLINE", to_corner(BOX), CompoundGraphicInstanceID=1)
    ellipse = compound("ELLIPSE", to_corner([(5, 6), (15, 12)]), number=2)
    header = presentation_state(tmp_path / "pr.dcm", on_slice(3, double, compounds=[rectangle, ellipse]))
    shapes = [place(one, volume).shape for one in read(header, tmp_path).found]
    assert [type(shape) for shape in shapes] == [PlacedMask, PlacedMask]
    boxes = [shape.box(3) for shape in shapes if isinstance(shape, PlacedMask)]
    assert boxes[0] == PixelBox(frame=3, left=3, top=4, right=9, bottom=11)
    assert np.abs(np.array([boxes[1].left, boxes[1].top, boxes[1].right, boxes[1].bottom]) - (5, 6, 15, 12)).max() <= 1


def test_a_rotated_rectangle_turns_counterclockwise_around_its_point(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    # 8 wide and 2 high around (10, 10), turned by a right angle: 2 wide and 8 high.
    upright = compound("RECTANGLE", [6.0, 9.0, 14.0, 11.0], RotationAngle=90.0, RotationPoint=[10.0, 10.0])
    header = presentation_state(tmp_path / "pr.dcm", on_slice(3, compounds=[upright]))
    shape = only(read(header, tmp_path), volume).shape
    assert isinstance(shape, PlacedMask)
    assert list(shape.boxes()) == [PixelBox(frame=3, left=9, top=6, right=10, bottom=13)]
    # By 90 degrees counterclockwise, what was right of the point comes to lie above it (y points down).
    line = compound("RULER", [10.0, 10.0, 14.0, 10.0], RotationAngle=90.0, RotationPoint=[10.0, 10.0])
    ruler = only(read(presentation_state(tmp_path / "pr.dcm", on_slice(3, compounds=[line])), tmp_path), volume).shape
    assert isinstance(ruler, PlacedLine)
    np.testing.assert_allclose(ruler.kji[1], (3, 5.5, 9.5), atol=1e-4)


def test_a_text_alone_marks_the_point_that_it_is_anchored_to(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    header = presentation_state(tmp_path / "pr.dcm", on_slice(3, texts=[anchored("nodule", to_corner([(7, 8)]))]))
    placed = only(read(header, tmp_path), volume)
    assert isinstance(placed.shape, PlacedPoints)
    np.testing.assert_allclose(placed.shape.kji, [(3, 8, 7)], atol=1e-4)


def test_a_graphic_for_several_images_has_no_one_place(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    result = read(presentation_state(tmp_path / "pr.dcm", board([], [graphic("POINT", [3.0, 4.0])])), tmp_path)
    assert [(one.item, one.code) for one in result.rejected] == [("graphic annotation 1", "unplaced-annotation")]
    assert "got one for 2" in result.rejected[0].reason


@pytest.mark.parametrize(
    "drawing",
    [
        on_slice(3, graphic("POLYLINE", [0.1, 0.1, 0.9, 0.9], "DISPLAY")),  # no displayed area
        on_slice(3, graphic("POLYLINE", [0.1, 0.1, 0.9, 0.9], "MATRIX")),
        on_slice(3, graphic("POLYLINE", [0.1, 0.1, 0.9])),
        on_slice(3, compounds=[compound("CROSSHAIR", [1.0, 1.0, 2.0, 2.0])]),
    ],
    ids=["display without area", "matrix", "odd", "crosshair"],
)
def test_what_cannot_be_placed_is_rejected_as_malformed(drawing: Dataset, tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    result = read(presentation_state(tmp_path / "pr.dcm", drawing), tmp_path)
    assert (result.found, [one.code for one in result.rejected]) == ((), ["malformed-annotation"])


def test_the_presentation_state_that_highdicom_writes_is_read_to_the_pixel(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    path = next(header.path for header in find_instances(tmp_path / "ct") if header.sop_instance_uid == image_uid(3))
    image = pydicom.dcmread(path)
    layer = hd.pr.GraphicLayer("ONE", order=1)
    outline = np.array(to_corner(BOX)).reshape(-1, 2)
    drawn = hd.pr.GraphicObject(
        graphic_type="POLYLINE", graphic_data=outline, units="PIXEL", tracking_id="Target 1", tracking_uid=TRACKING_UID
    )
    annotation = hd.pr.GraphicAnnotation(referenced_images=[image], graphic_layer=layer, graphic_objects=[drawn])
    written = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[image],
        series_instance_uid=f"{OBJECT_UID}.2",
        series_number=8,
        sop_instance_uid=OBJECT_UID,
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="x",
        device_serial_number="x",
        content_label="MARKS",
        graphic_layers=[layer],
        graphic_annotations=[annotation],
    )
    written.save_as(tmp_path / "pr.dcm")
    placed = only(read(read_header(tmp_path / "pr.dcm"), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert list(placed.shape.boxes()) == [PixelBox(frame=3, left=3, top=4, right=9, bottom=11)]
    assert (placed.tracking_id, placed.tracking_uid) == ("Target 1", TRACKING_UID)
