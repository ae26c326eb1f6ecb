"""Softcopy presentation states: graphics and the texts beside them (PS3.3 C.10.5).

A graphic belongs to one image. One that is meant for many has no one place and is refused with their number. Compound graphics
(arrow, ruler, rectangle) are read themselves, and the plain graphics that repeat them for older viewers are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import Annotation, Annotations, AnnotationSource, ImageReference, Line, Shape
from dicom_io.annotations.displayed_area import displayed_area
from dicom_io.annotations.graphics import coordinates, image_shape
from dicom_io.annotations.image_places import ImagePlace, ImagePlaces
from dicom_io.annotations.reading import MAXIMUM_ITEMS, Harvest, references
from dicom_io.errors import MalformedAnnotation, UnplacedAnnotation
from dicom_io.frame_attributes import items_of, numbers, whole_number
from dicom_io.geometry import Float64
from dicom_io.instance import InstanceHeader
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import shown_word, text_of

ARROW_HEAD_PIXELS = 1.5
"""A head's middle corner nearer than this to the end of a line makes the line an arrow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Board:
    """What the graphics of one annotation item share: the image, its place, and the text."""

    dataset: Dataset
    image: ImageReference
    place: ImagePlace
    label: str
    anchors: tuple[Float64, ...]
    """Anchor points of the texts, (2,) image coordinates each: where the writer says that the text points to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Graphic:
    graphic: str
    corner_xy: Float64
    item: Dataset
    name: str
    tip: int | None = field(default=None)


@without_pydicom_warnings()
def read_presentation_state(header: InstanceHeader, places: ImagePlaces) -> Annotations:
    """Return the graphics of a presentation state; a text with an anchor point and no graphic beside it is a point."""
    dataset = header.dataset
    harvest = Harvest(header=header, kind="GSPS")
    every_image = references(
        image for series in items_of(dataset, "ReferencedSeriesSequence") for image in items_of(series, "ReferencedImageSequence")
    )
    for number, item in enumerate(items_of(dataset, "GraphicAnnotationSequence")[:MAXIMUM_ITEMS], start=1):
        with harvest.item(f"graphic annotation {number}"):
            board = _board(dataset, item, places, every_image)
            _read_board(harvest, item, board, f"graphic annotation {number}")
    return harvest.result()


def _board(dataset: Dataset, item: Dataset, places: ImagePlaces, every_image: Sequence[ImageReference]) -> _Board:
    images = references(items_of(item, "ReferencedImageSequence")) or tuple(every_image)
    if len(images) != 1:
        raise UnplacedAnnotation(f"expected a graphic for one image, got one for {len(images)}; draw it on the image that it is meant for")
    place = places.of(images[0])
    board = _Board(dataset=dataset, image=images[0], place=place, label="", anchors=())
    texts = items_of(item, "TextObjectSequence")
    return _Board(
        dataset=dataset,
        image=images[0],
        place=place,
        label=" ".join(filter(None, (text_of(one, "UnformattedTextValue") for one in texts))),
        anchors=tuple(
            _corner_xy(board, numbers(one, "AnchorPoint"), text_of(one, "AnchorPointAnnotationUnits"))[0]
            for one in texts
            if len(numbers(one, "AnchorPoint")) == 2
        ),
    )


def _read_board(harvest: Harvest, item: Dataset, board: _Board, name: str) -> None:
    compounds = {whole_number(one, "CompoundGraphicInstanceID", -1): one for one in items_of(item, "CompoundGraphicSequence")}
    simple: list[_Graphic] = []
    doubles: dict[int, list[Float64]] = {}
    for number, one in enumerate(items_of(item, "GraphicObjectSequence"), start=1):
        with harvest.item(f"{name}, graphic {number}"):
            corner_xy = _corner_xy(board, numbers(one, "GraphicData"), text_of(one, "GraphicAnnotationUnits"))
            instance = whole_number(one, "CompoundGraphicInstanceID", -1)
            if instance in compounds:
                doubles.setdefault(instance, []).append(corner_xy)
            else:
                simple.append(
                    _Graphic(graphic=text_of(one, "GraphicType"), corner_xy=corner_xy, item=one, name=f"{name}, graphic {number}")
                )
    for instance, one in compounds.items():
        with harvest.item(f"{name}, compound graphic {instance}") as source:
            found = _compound(one, board, doubles.get(instance, []), source.item)
            harvest.found.append(_annotation(source, found, board))
    for found in _with_arrows(simple, board):
        with harvest.item(found.name) as source:
            harvest.found.append(_annotation(source, found, board))
    if not compounds and not simple:
        for number, anchor in enumerate(board.anchors, start=1):
            with harvest.item(f"{name}, text {number}") as source:
                point = _Graphic(graphic="POINT", corner_xy=anchor[np.newaxis], item=Dataset(), name=source.item)
                harvest.found.append(_annotation(source, point, board))


def _with_arrows(graphics: Sequence[_Graphic], board: _Board) -> list[_Graphic]:
    """Make a line with a head at one end an arrow: the head is a polyline of three points whose middle is the tip, or the text's anchor."""
    heads = [one for one in graphics if one.graphic == "POLYLINE" and len(one.corner_xy) == 3]
    used: set[int] = set()
    found: list[_Graphic] = []
    for one in graphics:
        if one.graphic != "POLYLINE" or len(one.corner_xy) != 2:
            continue
        for head in heads:
            distances = np.linalg.norm(one.corner_xy - head.corner_xy[1], axis=1)
            if id(head) not in used and distances.min() < ARROW_HEAD_PIXELS:
                used |= {id(head), id(one)}
                found.append(_arrow(one.corner_xy, int(distances.argmin()), one))
                break
    return [*found, *(one for one in graphics if id(one) not in used)]


def _arrow(corner_xy: Float64, tip: int, graphic: _Graphic) -> _Graphic:
    return _Graphic(graphic="ARROW", corner_xy=corner_xy, item=graphic.item, name=graphic.name, tip=tip)


def _compound(item: Dataset, board: _Board, doubles: Sequence[Float64], name: str) -> _Graphic:
    """Return a compound graphic in the words of plain ones (PS3.3 C.10.5.1.3)."""
    kind = text_of(item, "CompoundGraphicType")
    corner_xy = _corner_xy(board, numbers(item, "GraphicData"), text_of(item, "CompoundGraphicUnits"))
    if kind in ("RECTANGLE", "ELLIPSE"):
        corner_xy = _from_corners(kind, corner_xy)
    elif kind not in _LINES or len(corner_xy) < 2:
        raise MalformedAnnotation(
            f"expected a compound graphic {', '.join(sorted({*_LINES, 'RECTANGLE', 'ELLIPSE'}))} of at least 2 points, "
            f"got {shown_word(kind)} of {len(corner_xy)}; draw a line, an ellipse or a polygon"
        )
    corner_xy = _rotated(item, corner_xy)
    plain = {"RECTANGLE": "POLYLINE", "ELLIPSE": "ELLIPSE"}.get(kind, kind)
    found = _Graphic(graphic=plain, corner_xy=corner_xy, item=item, name=name)
    return _arrow(corner_xy, _tip(corner_xy, doubles, board), found) if kind == "ARROW" else found


_LINES = ("ARROW", "RULER", "MULTILINE", "RANGELINE", "CUTLINE")
"""Compound graphics that are lines between their points; INFINITELINE, AXIS and CROSSHAIR mark no object."""


def _tip(corner_xy: Float64, doubles: Sequence[Float64], board: _Board) -> int:
    """Which end of an arrow is the tip: the one that the text points to, else where the plain graphics draw the head, else the last."""
    for anchor in board.anchors:
        distances = np.linalg.norm(corner_xy - anchor, axis=1)
        if distances.min() < ARROW_HEAD_PIXELS:
            return int(distances.argmin())
    if doubles:
        corners, reach = np.concatenate(list(doubles)), float(np.linalg.norm(corner_xy[-1] - corner_xy[0])) / 2
        near = [int((np.linalg.norm(corners - end, axis=1) < reach).sum()) for end in (corner_xy[0], corner_xy[-1])]
        if near[0] > near[1]:
            return 0
    return len(corner_xy) - 1


def _from_corners(kind: str, corner_xy: Float64) -> Float64:
    """Top left and bottom right of the bounding rectangle as a closed polygon, or as the four ends of an ellipse's axes."""
    if len(corner_xy) != 2:
        raise MalformedAnnotation(f"{kind}: expected two corners, got {len(corner_xy)} points; export the presentation state again")
    (left, top), (right, bottom) = corner_xy
    if kind == "RECTANGLE":
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    x, y = (left + right) / 2, (top + bottom) / 2
    return np.array([(left, y), (right, y), (x, top), (x, bottom)])


def _rotated(item: Dataset, corner_xy: Float64) -> Float64:
    """Turn by the Rotation Angle, counterclockwise on the screen (y points down), around the Rotation Point."""
    angle, centre = numbers(item, "RotationAngle"), numbers(item, "RotationPoint")
    if len(angle) != 1 or angle[0] == 0.0 or len(centre) != 2:
        return corner_xy
    cosine, sine = math.cos(math.radians(angle[0])), math.sin(math.radians(angle[0]))
    offset = corner_xy - np.array(centre)
    turned = np.stack([cosine * offset[:, 0] + sine * offset[:, 1], cosine * offset[:, 1] - sine * offset[:, 0]], axis=1)
    return np.asarray(turned + np.array(centre), np.float64)


def _corner_xy(board: _Board, data: Sequence[float], units: str) -> Float64:
    """Return Graphic Data as image coordinates (n, 2), corner-based: PIXEL counts from 0.0 at the outer corner of the first pixel."""
    points = coordinates(data, 2)
    if units == "PIXEL":
        return points
    if units == "DISPLAY":
        return displayed_area(board.dataset, board.image).to_corner_xy(points)
    raise MalformedAnnotation(f"expected units PIXEL or DISPLAY, got {shown_word(units)}; slides are not read")


def _annotation(source: AnnotationSource, found: _Graphic, board: _Board) -> Annotation:
    shape, notes = _shape(found, board)
    dataset = board.dataset
    return Annotation(
        shape=shape,
        graphic=found.graphic,
        frame_of_reference_uid=board.place.frame_of_reference_uid,
        source=source,
        label=text_of(found.item, "TrackingID") or board.label,
        tracking_id=text_of(found.item, "TrackingID"),
        tracking_uid=text_of(found.item, "TrackingUID"),
        creator=text_of(dataset, "ContentCreatorName"),
        images=(board.image,),
        series_uids=(board.place.series_instance_uid,),
        notes=notes,
    )


def _shape(found: _Graphic, board: _Board) -> tuple[Shape, tuple[str, ...]]:
    if found.graphic in _LINES:
        points_mm = board.place.to_lps(found.corner_xy)
        return Line(points_mm=points_mm, tip=found.tip), ()
    filled = text_of(found.item, "GraphicFilled") == "Y"
    shape, notes = image_shape(found.graphic, found.corner_xy, board.place, "region" if filled else "line")
    return shape, notes
