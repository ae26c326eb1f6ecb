"""Structured reports: regions, axes, lines, points and segments at the right slice and pixel, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedSRStorage

from dicom_io.annotations.annotation import Annotations, SegmentReference
from dicom_io.annotations.image_places import image_places
from dicom_io.annotations.placed import PixelBox, PlacedAnnotation, PlacedAxes, PlacedLine, PlacedMask, PlacedPoints
from dicom_io.annotations.placement import place
from dicom_io.annotations.structured_report import read_structured_report
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.series import find_instances
from dicom_io.volume import Volume
from tests.unit.dicom_io.annotations.drawings import (
    LESION,
    LIVER,
    OBJECT_UID,
    TRACKING_UID,
    content,
    group,
    image_uid,
    item,
    measured,
    measurements,
    on_image,
    reference,
    report,
    scoord,
    scoord3d,
    to_corner,
    to_mm,
)
from tests.unit.dicom_io.ct_files import ENHANCED_UID, GEOMETRIES, SERIES_UID, SLICES, write_enhanced_volume, write_volume

REGION = ("111030", "DCM", "Image Region")
LONG, SHORT = ("103339001", "SCT", "Long Axis"), ("103340004", "SCT", "Short Axis")
LONG_SRT, SHORT_SRT = ("G-A185", "SRT", "Long Axis"), ("G-A186", "SRT", "Short Axis")
LENGTH, AREA = ("410668003", "SCT", "Length"), ("42798000", "SCT", "Area")


def read(header: InstanceHeader, folder: Path) -> Annotations:
    return read_structured_report(header, image_places(find_instances(folder / "ct")))


def only(found: Annotations, volume: Volume) -> PlacedAnnotation:
    assert found.rejected == ()
    assert len(found.found) == 1
    return place(found.found[0], volume, SERIES_UID)


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_a_polygon_region_covers_its_pixels_on_its_slice(name: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", name)
    outline = to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])
    header = report(tmp_path / "sr.dcm", measurements(group(scoord("POLYLINE", outline, on_image(3), concept=REGION))))
    placed = only(read(header, tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert list(placed.shape.boxes()) == [PixelBox(frame=3, left=3, top=4, right=9, bottom=11)]
    assert (placed.label, placed.tracking_uid, placed.drawn_here) == ("Target 1", TRACKING_UID, True)
    assert placed.concept is not None
    assert placed.site is not None
    assert (placed.concept.value, placed.site.value, placed.creator) == (LESION[0], LIVER[0], "Reader^One")


def test_a_circle_and_an_ellipse_have_their_extent_to_the_pixel(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    circle = scoord("CIRCLE", to_corner([(10, 9), (14.2, 9)]), on_image(5), concept=REGION)
    ellipse = scoord("ELLIPSE", to_corner([(5, 9), (15, 9), (10, 6), (10, 12)]), on_image(5), concept=REGION)
    for drawing, expected in ((circle, (6, 5, 14, 13)), (ellipse, (5, 6, 15, 12))):
        placed = only(read(report(tmp_path / "sr.dcm", measurements(group(drawing))), tmp_path), volume)
        assert isinstance(placed.shape, PlacedMask)
        box = placed.shape.box(5)
        assert np.abs(np.array([box.left, box.top, box.right, box.bottom]) - expected).max() <= 1


@pytest.mark.parametrize(("long", "short"), [(LONG, SHORT), (LONG_SRT, SHORT_SRT)])
def test_bidirectional_measurements_of_viewers_become_axes(long: tuple[str, str, str], short: tuple[str, str, str], tmp_path: Path) -> None:
    """Each axis hangs from its own measurement, as Cornerstone's adapters write it, today with SCT and formerly with SRT codes."""
    volume = write_volume(tmp_path / "ct", "anisotropic")
    axes = (
        measured(long, scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(6))),
        measured(short, scoord("POLYLINE", to_corner([(11, 4), (9, 9)]), on_image(6))),
    )
    placed = only(read(report(tmp_path / "sr.dcm", measurements(group(*axes))), tmp_path), volume)
    assert isinstance(placed.shape, PlacedAxes)
    assert placed.shape.short_kji is not None
    assert placed.shape.frame == 6
    np.testing.assert_allclose(placed.shape.long_kji, [(6, 5, 4), (6, 8, 16)], atol=1e-4)
    np.testing.assert_allclose(placed.shape.short_kji, [(6, 4, 11), (6, 9, 9)], atol=1e-4)


def test_a_length_is_a_line_that_says_what_was_measured(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    found = read(
        report(tmp_path / "sr.dcm", measurements(group(measured(LENGTH, scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(2)))))),
        tmp_path,
    )
    placed = only(found, volume)
    assert isinstance(placed.shape, PlacedLine)
    np.testing.assert_allclose(placed.shape.kji, [(2, 5, 4), (2, 8, 16)], atol=1e-4)
    quantity = found.found[0].quantity
    assert quantity is not None
    assert quantity.value == LENGTH[0]


def test_one_outline_under_several_measurements_is_one_annotation(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    outline = to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5)])  # left open, as some viewers do
    drawing = [measured(AREA, scoord("POLYLINE", outline, on_image(3))), measured(LENGTH, scoord("POLYLINE", outline, on_image(3)))]
    placed = only(read(report(tmp_path / "sr.dcm", measurements(group(*drawing))), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert placed.notes == ("closed-by-reader",)


def test_regions_of_several_slices_in_one_group_are_one_volume(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    outline = to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])
    regions = [scoord("POLYLINE", outline, on_image(k), concept=REGION) for k in (2, 3, 4)]
    placed = only(read(report(tmp_path / "sr.dcm", measurements(group(*regions))), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert placed.shape.frames == (2, 3, 4)


def test_patient_coordinates_need_no_image(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "sagittal")
    outline = to_mm(volume.affine, 4, [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])
    point = to_mm(volume.affine, 7, [(5, 6)])
    header = report(tmp_path / "sr.dcm", measurements(group(scoord3d("POLYGON", outline, REGION)), group(scoord3d("POINT", point, REGION))))
    polygon, single = (place(one, volume) for one in read(header, tmp_path).found)
    assert isinstance(polygon.shape, PlacedMask)
    assert list(polygon.shape.boxes()) == [PixelBox(frame=4, left=3, top=4, right=9, bottom=11)]
    assert isinstance(single.shape, PlacedPoints)
    np.testing.assert_allclose(single.shape.kji, [(7, 6, 5)], atol=1e-3)


def test_an_ellipsoid_is_solid(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    centre = to_mm(volume.affine, 4, [(12, 9)])[0]
    ends = np.concatenate([[centre - axis, centre + axis] for axis in np.diag([4.1, 3.3, 5.1])])
    placed = only(read(report(tmp_path / "sr.dcm", measurements(group(scoord3d("ELLIPSOID", ends, REGION)))), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert placed.shape.frames == (2, 3, 4, 5, 6)
    assert placed.shape.box(4) == PixelBox(frame=4, left=7, top=5, right=17, bottom=13)


def test_a_frame_of_an_enhanced_instance_is_the_right_slice(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    volume = write_enhanced_volume(tmp_path / "ct" / "enhanced.dcm", "oblique")
    outline = to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])
    k = 2
    drawing = scoord("POLYLINE", outline, on_image(k, frame=SLICES - k, uid=ENHANCED_UID), concept=REGION)
    placed = only(read(report(tmp_path / "sr.dcm", measurements(group(drawing))), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert placed.shape.frames == (k,)
    without = scoord("POLYLINE", outline, on_image(k, uid=ENHANCED_UID), concept=REGION)
    rejected = read(report(tmp_path / "sr.dcm", measurements(group(without))), tmp_path).rejected
    assert [one.code for one in rejected] == ["unplaced-annotation"]


def test_coordinates_outside_of_measurement_groups_are_read_too(tmp_path: Path) -> None:
    """A measurement (TID 300) and a mark on its own, in a report without TID 1500 around it."""
    volume = write_volume(tmp_path / "ct")
    loose = measured(LENGTH, scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(2)))
    mark = scoord("POINT", to_corner([(7, 8)]), on_image(3), concept=("111010", "DCM", "Center"))
    container = content("CONTAINER", ("121070", "DCM", "Findings"), loose, mark, ContinuityOfContent="SEPARATE")
    found = read(report(tmp_path / "sr.dcm", container, sop_class=EnhancedSRStorage), tmp_path)
    line, point = (place(one, volume).shape for one in found.found)
    assert isinstance(line, PlacedLine)
    assert isinstance(point, PlacedPoints)
    np.testing.assert_allclose(point.kji, [(3, 8, 7)], atol=1e-4)


def test_coordinates_by_reference_are_found_where_they_stand(tmp_path: Path) -> None:
    """The measurement names the item 1.2.1 (root, second child, first child) instead of holding it."""
    volume = write_volume(tmp_path / "ct")
    shared = content("CONTAINER", ("121070", "DCM", "Findings"), scoord("POLYLINE", to_corner([(4, 5), (9, 8)]), on_image(2)))
    by_reference = item(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 2, 1])
    found = read(report(tmp_path / "sr.dcm", shared, measurements(group(measured(LENGTH, by_reference)))), tmp_path)
    assert [one.source.item for one in found.found] == ["measurement group 1, SCOORD 1.2.1"]
    assert isinstance(only(found, volume).shape, PlacedLine)


def test_a_tree_that_refers_to_itself_comes_to_an_end(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    itself = item(RelationshipType="CONTAINS", ReferencedContentItemIdentifier=[1, 2])
    other = item(RelationshipType="CONTAINS", ReferencedContentItemIdentifier=[1, 3])
    back = item(RelationshipType="CONTAINS", ReferencedContentItemIdentifier=[1, 2])
    first = content("CONTAINER", ("121070", "DCM", "Findings"), itself, other)
    second = content("CONTAINER", ("121070", "DCM", "Findings"), back)
    assert read(report(tmp_path / "sr.dcm", first, second), tmp_path).found == ()


def test_the_image_library_gives_places_where_the_images_are_absent(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    affine = volume.affine
    row, column = affine[:3, 2] / 0.75, affine[:3, 1] / 0.75
    position = affine[:3, 3] + 3 * affine[:3, 0]
    numbers = {"110910": 20, "110911": 28, "111026": 0.75, "111066": 0.75}
    numbers |= {str(110901 + axis): float(position[axis]) for axis in range(3)}
    numbers |= {str(110904 + axis): float(row[axis]) for axis in range(3)} | {str(110907 + axis): float(column[axis]) for axis in range(3)}
    described = [
        content("NUM", (code, "DCM", "x"), MeasuredValueSequence=[item(NumericValue=f"{value:.10g}", FloatingPointValue=value)])
        for code, value in numbers.items()
    ]
    frame = content("UIDREF", ("112227", "DCM", "Frame of Reference UID"), UID=volume.frame_of_reference_uid)
    entry = content("IMAGE", None, *described, ReferencedSOPSequence=[reference(image_uid(3))])
    entries = content("CONTAINER", ("126200", "DCM", "Image Library Group"), frame, entry)
    library = content("CONTAINER", ("111028", "DCM", "Image Library"), entries)
    mark = scoord("POINT", to_corner([(7, 8)]), on_image(3), concept=REGION)
    header = report(tmp_path / "sr.dcm", library, measurements(group(mark)))
    found = read_structured_report(header, image_places([]))
    shape = only(found, volume).shape
    assert isinstance(shape, PlacedPoints)
    np.testing.assert_allclose(shape.kji, [(3, 8, 7)], atol=1e-3)


def test_an_absent_image_rejects_its_region_alone_and_names_the_cure(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    outline = to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])
    lost = group(scoord("POLYLINE", outline, on_image(3, uid="1.2.3"), concept=REGION))
    kept = group(scoord("POLYLINE", outline, on_image(4), concept=REGION))
    result = read(report(tmp_path / "sr.dcm", measurements(lost, kept)), tmp_path)
    assert [(one.item, one.code) for one in result.rejected] == [("measurement group 1, image region", "unplaced-annotation")]
    assert "send the images together" in result.rejected[0].reason
    shape = place(result.found[0], volume).shape
    assert isinstance(shape, PlacedMask)
    assert shape.frames == (4,)


@pytest.mark.parametrize(
    ("graphic", "data"),
    [
        ("POLYLINE", [1.0, 2.0, 3.0]),
        ("POLYLINE", []),
        ("ELLIPSE", [1.0, 2.0, 3.0, 4.0]),
        ("BLOB", [1.0, 2.0]),
        ("POINT", [1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_malformed_coordinates_are_rejected_not_guessed(graphic: str, data: list[float], tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    result = read(report(tmp_path / "sr.dcm", measurements(group(scoord(graphic, data, on_image(3), concept=REGION)))), tmp_path)
    assert (result.found, [one.code for one in result.rejected]) == ((), ["malformed-annotation"])


def test_a_short_axis_alone_is_no_diameter(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    short = measured(SHORT, scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(6)))
    assert [one.code for one in read(report(tmp_path / "sr.dcm", measurements(group(short))), tmp_path).rejected] == [
        "malformed-annotation"
    ]


def test_a_referenced_segment_is_a_reference_until_its_segmentation_is_at_hand(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    segment = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", ReferencedSOPInstanceUID="1.2.5", ReferencedSegmentNumber=2)
    drawing = content("IMAGE", ("121191", "DCM", "Referenced Segment"), ReferencedSOPSequence=[segment])
    found = read(report(tmp_path / "sr.dcm", measurements(group(drawing))), tmp_path).found
    assert [one.shape for one in found] == [SegmentReference(sop_instance_uid="1.2.5", segment_number=2)]


def test_the_report_that_highdicom_writes_is_read_to_the_pixel(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    image = next(
        pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir()) if read_header(path).sop_instance_uid == image_uid(3)
    )
    source = hd.sr.SourceImageForRegion.from_source_image(image)
    outline = np.array(to_corner([(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)])).reshape(-1, 2)
    region = hd.sr.ImageRegion(graphic_type="POLYLINE", graphic_data=outline, source_image=source)
    planar = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=TRACKING_UID, identifier="Target 1"),
        referenced_region=region,
        finding_type=codes.SCT.Lesion,
    )
    person = hd.sr.PersonObserverIdentifyingAttributes(name="Reader^Three")
    context = hd.sr.ObservationContext(
        observer_person_context=hd.sr.ObserverContext(observer_type=codes.DCM.Person, observer_identifying_attributes=person)
    )
    tree = hd.sr.MeasurementReport(
        observation_context=context, procedure_reported=codes.LN.CTUnspecifiedBodyRegion, imaging_measurements=[planar]
    )
    written = hd.sr.Comprehensive3DSR(
        evidence=[image],
        content=tree[0],
        series_instance_uid=f"{OBJECT_UID}.2",
        series_number=7,
        sop_instance_uid=OBJECT_UID,
        instance_number=1,
        manufacturer="x",
    )
    written.save_as(tmp_path / "sr.dcm")
    placed = only(read(read_header(tmp_path / "sr.dcm"), tmp_path), volume)
    assert isinstance(placed.shape, PlacedMask)
    assert list(placed.shape.boxes()) == [PixelBox(frame=3, left=3, top=4, right=9, bottom=11)]
    assert (placed.tracking_uid, placed.creator) == (TRACKING_UID, "Reader^Three")


def test_a_group_whose_values_an_algorithm_made_says_so(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct")
    name = content("TEXT", ("111001", "DCM", "Algorithm Name"), relation="HAS CONCEPT MOD", TextValue="Finder")
    drawing = scoord("POINT", to_corner([(7, 8)]), on_image(3), concept=REGION)
    assert read(report(tmp_path / "sr.dcm", measurements(group(name, drawing))), tmp_path).found[0].algorithm_type == "AUTOMATIC"
