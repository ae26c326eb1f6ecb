"""Structured reports: measurement groups of TID 1500, and loose coordinates of other reports (PS3.16 TID 300, 1410, 1411, 1501).

A measurement group gives at most one annotation a kind: its regions together (outlines of one finding), its long and short axis
together, every other measured line or point alone, and the segments that it speaks of. Coordinates outside of any group
(TID 300 on its own, older CAD reports) are read with the names of the items around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dicom_io.annotations import report_tree as tree
from dicom_io.annotations.annotation import (
    Annotation,
    Annotations,
    AnnotationSource,
    Axes,
    Contours,
    ImageReference,
    Line,
    SegmentReference,
    Shape,
)
from dicom_io.annotations.graphics import Purpose, coordinates, image_shape, shape_of
from dicom_io.annotations.image_library import places_of_library
from dicom_io.annotations.image_places import ImagePlaces
from dicom_io.annotations.reading import Harvest
from dicom_io.annotations.report_tree import ContentItem
from dicom_io.errors import MalformedAnnotation
from dicom_io.frame_attributes import items_of, numbers
from dicom_io.geometry import Float64
from dicom_io.instance import InstanceHeader
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import shown_word, text_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One SCOORD or SCOORD3D as a shape, with the frame of reference, images and series that it lies on."""

    shape: Shape
    graphic: str
    frame_of_reference_uid: str
    images: tuple[ImageReference, ...]
    series_uids: tuple[str, ...]
    notes: tuple[str, ...]


@without_pydicom_warnings()
def read_structured_report(header: InstanceHeader, places: ImagePlaces) -> Annotations:
    """Return the annotations of a report; `places` holds the images that its coordinates were drawn on.

    A report without coordinates gives none. Raises MalformedAnnotation for a content tree without end.
    """
    root = tree.root_of(header.dataset)
    harvest = Harvest(header=header, kind="SR")
    known = places.stating(places_of_library(root))
    groups = [item for _, item in _outside_groups(root) if _is_group(item)]
    for number, group in enumerate(groups, start=1):
        _read_group(harvest, group, f"measurement group {number}", known)
    grouped = {item.path for group in groups for item in group.below()}
    for parent, item in _each_once(_outside_groups(root)):
        if item.path not in grouped:
            _read_loose(harvest, parent, item, known)
    return harvest.result()


def _is_group(item: ContentItem) -> bool:
    return item.value_type == "CONTAINER" and item.means(tree.MEASUREMENT_GROUP)


def _outside_groups(item: ContentItem) -> Iterator[tuple[ContentItem, ContentItem]]:
    """Every (parent, item), depth first, down to the measurement groups."""
    for child in item.children:
        yield item, child
        if not _is_group(child):
            yield from _outside_groups(child)


def _inside(group: ContentItem) -> Iterator[tuple[ContentItem, ContentItem]]:
    """Every (parent, item) below a group, depth first."""
    for child in group.children:
        yield group, child
        yield from _inside(child)


def _each_once(pairs: Iterable[tuple[ContentItem, ContentItem]]) -> Iterator[tuple[ContentItem, ContentItem]]:
    """The coordinates among pairs of (parent, item); viewers repeat one outline under each thing that they measure along it."""
    seen = set()
    for parent, item in pairs:
        if item.value_type not in ("SCOORD", "SCOORD3D"):
            continue
        drawing = (text_of(item.dataset, "GraphicType"), numbers(item.dataset, "GraphicData"), _images(item))
        if drawing not in seen:
            seen.add(drawing)
            yield parent, item


def _read_group(harvest: Harvest, group: ContentItem, name: str, places: ImagePlaces) -> None:
    regions: list[ContentItem] = []
    axes: dict[str, ContentItem] = {}
    for parent, item in _each_once(_inside(group)):
        axis = next((axis for axis, concept in _AXES.items() if parent.means(concept)), "")
        if axis and axis not in axes:
            axes[axis] = item
        elif _is_region(item) or parent.path == group.path:
            regions.append(item)
        else:
            _read_loose(harvest, parent, item, places, (group, name))
    if regions:
        _read_regions(harvest, group, (f"{name}, image region", regions), places)
    if axes:
        with harvest.item(f"{name}, axes") as source:
            harvest.found.append(_annotation(group, source, _axes(axes, places), None))
    _read_segments(harvest, group, name)


_AXES: Mapping[str, tree.ConceptSet] = {"long": tree.LONG_AXIS, "short": tree.SHORT_AXIS}


def _is_region(item: ContentItem) -> bool:
    return item.means(tree.IMAGE_REGION) or item.means(tree.VOLUME_SURFACE)


def _read_regions(harvest: Harvest, group: ContentItem, named: tuple[str, Sequence[ContentItem]], places: ImagePlaces) -> None:
    """Keep the regions of a group: outlines on one frame of reference become one annotation, anything else stands alone."""
    name, regions = named
    closed: dict[str, list[Drawn]] = {}
    for item in regions:
        with harvest.item(name) as source:
            drawn = _drawn(item, "region", places)
            if isinstance(drawn.shape, Contours):
                closed.setdefault(drawn.frame_of_reference_uid, []).append(drawn)
            else:
                harvest.found.append(_annotation(group, source, drawn, None))
    for together in closed.values():
        with harvest.item(name) as source:
            harvest.found.append(_annotation(group, source, _joined(together), None))


def _joined(drawn: Sequence[Drawn]) -> Drawn:
    outlines = tuple(outline for one in drawn if isinstance(one.shape, Contours) for outline in one.shape.outlines_mm)
    return replace(
        drawn[0],
        shape=Contours(outlines_mm=outlines),
        images=tuple(dict.fromkeys(image for one in drawn for image in one.images)),
        series_uids=tuple(dict.fromkeys(uid for one in drawn for uid in one.series_uids)),
        notes=tuple(sorted({note for one in drawn for note in one.notes})),
    )


def _axes(axes: dict[str, ContentItem], places: ImagePlaces) -> Drawn:
    """Long and short axis as one shape; a short axis alone is no longest diameter and is refused."""
    if "long" not in axes:
        raise MalformedAnnotation("expected a long axis, got a short axis alone; measure the longest diameter too")
    long = _drawn(axes["long"], "line", places)
    short = _drawn(axes["short"], "line", places) if "short" in axes else None
    return replace(long, shape=Axes(long_mm=_ends(long), short_mm=None if short is None else _ends(short)), graphic="AXES")


def _ends(drawn: Drawn) -> Float64:
    if not isinstance(drawn.shape, Line) or len(drawn.shape.points_mm) != 2:
        raise MalformedAnnotation(f"axis: expected a line between two points, got {drawn.graphic}; measure it again")
    return drawn.shape.points_mm


def _read_loose(
    harvest: Harvest, parent: ContentItem, item: ContentItem, places: ImagePlaces, group: tuple[ContentItem, str] | None = None
) -> None:
    """Keep one drawing alone: named by its group where it has one, else by the item that it hangs from."""
    named, prefix = (parent, "") if group is None else (group[0], f"{group[1]}, ")
    purpose: Purpose = "region" if _is_region(item) or parent.means(tree.AREA) else "line"
    with harvest.item(f"{prefix}{item.value_type} {'.'.join(map(str, item.path))}") as source:
        harvest.found.append(_annotation(named, source, _drawn(item, purpose, places), parent))


def _read_segments(harvest: Harvest, group: ContentItem, name: str) -> None:
    for item in group.children:
        if not (item.means(tree.REFERENCED_SEGMENT) or item.means(tree.REFERENCED_SEGMENTATION_FRAME)):
            continue
        with harvest.item(f"{name}, referenced segment") as source:
            for shape in _segments(item):
                drawn = Drawn(shape=shape, graphic="SEGMENT", frame_of_reference_uid="", images=(), series_uids=(), notes=())
                harvest.found.append(_annotation(group, source, drawn, None))


def _segments(item: ContentItem) -> list[SegmentReference]:
    found = [
        SegmentReference(sop_instance_uid=text_of(reference, "ReferencedSOPInstanceUID"), segment_number=int(number))
        for reference in items_of(item.dataset, "ReferencedSOPSequence")
        for number in numbers(reference, "ReferencedSegmentNumber")
    ]
    if not found:
        raise MalformedAnnotation("expected a segmentation and a segment number, got a reference without; export the report again")
    return found


def _images(item: ContentItem) -> tuple[ImageReference, ...]:
    return tuple(image for child in item.children if child.value_type == "IMAGE" for image in child.images)


def _drawn(item: ContentItem, purpose: Purpose, places: ImagePlaces) -> Drawn:
    """Return an SCOORD or SCOORD3D in patient millimetres."""
    graphic = text_of(item.dataset, "GraphicType")
    data = numbers(item.dataset, "GraphicData")
    if item.value_type == "SCOORD3D":
        shape, notes = shape_of(graphic, coordinates(data, 3), purpose)
        frame_of_reference = text_of(item.dataset, "ReferencedFrameOfReferenceUID")
        return Drawn(shape=shape, graphic=graphic, frame_of_reference_uid=frame_of_reference, images=(), series_uids=(), notes=notes)
    images = _images(item)
    if len(images) != 1:
        raise MalformedAnnotation(
            f"{shown_word(graphic)}: expected one image that it was drawn on, got {len(images)}; export the report again"
        )
    place = places.of(images[0])
    shape, notes = image_shape(graphic, coordinates(data, 2), place, purpose)
    return Drawn(
        shape=shape,
        graphic=graphic,
        frame_of_reference_uid=place.frame_of_reference_uid,
        images=images,
        series_uids=(place.series_instance_uid,) if place.series_instance_uid else (),
        notes=notes,
    )


def _annotation(named: ContentItem, source: AnnotationSource, drawn: Drawn, measured: ContentItem | None) -> Annotation:
    """Name a shape by the group or item around it, and by what was measured along it."""
    tracking_id = tree.words_of(named, tree.TRACKING_IDENTIFIER)
    finding = tree.code_of(named, tree.FINDING)
    root = tree.root_of(named.root)
    by_algorithm = named.first(tree.ALGORITHM_NAME) is not None
    return Annotation(
        shape=drawn.shape,
        graphic=drawn.graphic,
        frame_of_reference_uid=drawn.frame_of_reference_uid,
        source=source,
        label=tracking_id or (finding.meaning if finding else ""),
        concept=finding,
        site=tree.code_of(named, tree.FINDING_SITE),
        quantity=measured.concept if measured is not None and measured.value_type == "NUM" else None,
        tracking_id=tracking_id,
        tracking_uid=tree.words_of(named, tree.TRACKING_UID),
        creator=tree.words_of(root, tree.PERSON_OBSERVER) or tree.words_of(root, tree.DEVICE_OBSERVER),
        algorithm_type="AUTOMATIC" if by_algorithm else "",
        images=drawn.images,
        series_uids=drawn.series_uids,
        notes=drawn.notes,
    )
