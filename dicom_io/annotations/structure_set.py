"""RT Structure Set: contours of regions of interest in patient millimetres (PS3.3 C.8.8.5, C.8.8.6 and C.8.8.8).

Contour Data are patient coordinates: where a contour lies is said by its numbers, whatever its image references say. Planners
often write references that resolve to nothing; they are kept as provenance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import Annotation, Annotations, Contours, ImageReference, Line, Points, Shape
from dicom_io.annotations.graphics import closed_outline, coordinates
from dicom_io.annotations.reading import MAXIMUM_ITEMS, Harvest, algorithm_type, code, references
from dicom_io.errors import MalformedAnnotation
from dicom_io.frame_attributes import items_of, numbers, whole_number
from dicom_io.geometry import Float64
from dicom_io.instance import InstanceHeader
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import shown_word, text_of


@without_pydicom_warnings()
def read_structure_set(header: InstanceHeader) -> Annotations:
    """Return one annotation a region of interest and kind of contour: closed ones together, points together, each open one alone.

    Outlines of fewer than three points cannot enclose anything and are passed over (`degenerate-contours`). A region without
    any contour is rejected.
    """
    dataset = header.dataset
    harvest = Harvest(header=header, kind="RTSTRUCT")
    contours = {whole_number(item, "ReferencedROINumber", -1): item for item in items_of(dataset, "ROIContourSequence")}
    observations = {whole_number(item, "ReferencedROINumber", -1): item for item in items_of(dataset, "RTROIObservationsSequence")}
    series = _series_by_frame_of_reference(dataset)
    for region in items_of(dataset, "StructureSetROISequence"):
        number = whole_number(region, "ROINumber", -1)
        _read_region(harvest, region, (contours.get(number, Dataset()), observations.get(number, Dataset())), series)
    return harvest.result()


def _read_region(harvest: Harvest, region: Dataset, parts: tuple[Dataset, Dataset], series: Mapping[str, tuple[str, ...]]) -> None:
    drawn, observed = parts
    number = whole_number(region, "ROINumber", -1)
    frame_of_reference = text_of(region, "ReferencedFrameOfReferenceUID") or text_of(harvest.header.dataset, "FrameOfReferenceUID")
    shapes: list[tuple[str, Shape, tuple[ImageReference, ...], tuple[str, ...]]] = []
    with harvest.item(f"ROI {number}"):
        shapes = _shapes(items_of(drawn, "ContourSequence"))
    for graphic, shape, images, notes in shapes:
        with harvest.item(f"ROI {number}") as source:
            harvest.found.append(
                Annotation(
                    shape=shape,
                    graphic=graphic,
                    frame_of_reference_uid=frame_of_reference,
                    source=source,
                    label=text_of(region, "ROIName") or text_of(observed, "ROIObservationLabel"),
                    concept=code(observed, "RTROIIdentificationCodeSequence"),
                    site=code(observed, "AnatomicRegionSequence"),
                    tracking_id=text_of(observed, "TrackingID") or text_of(region, "TrackingID"),
                    tracking_uid=text_of(observed, "TrackingUID") or text_of(region, "TrackingUID"),
                    creator=text_of(observed, "ROIInterpreter") or text_of(harvest.header.dataset, "OperatorsName"),
                    algorithm_type=algorithm_type(region, "ROIGenerationAlgorithm"),
                    images=images,
                    series_uids=series.get(frame_of_reference, ()),
                    notes=notes,
                )
            )


def _shapes(contours: Sequence[Dataset]) -> list[tuple[str, Shape, tuple[ImageReference, ...], tuple[str, ...]]]:
    """Return (type, shape, images, notes): closed contours together, points together, every open one alone."""
    if not contours:
        raise MalformedAnnotation("expected at least one contour, got none; draw the region, or remove it from the structure set")
    if len(contours) > MAXIMUM_ITEMS:
        raise MalformedAnnotation(f"expected at most {MAXIMUM_ITEMS} contours, got {len(contours)}; split the structure set")
    closed, points, opened, degenerate = [], [], [], 0
    images: dict[str, list[ImageReference]] = {"closed": [], "points": []}
    for contour in contours:
        kind = _kind(contour)
        places = coordinates(numbers(contour, "ContourData"), 3)
        drawn_on = references(items_of(contour, "ContourImageSequence"))
        if kind == "POINT":
            points.append(places)
            images["points"] += drawn_on
        elif kind.startswith("OPEN"):
            opened.append((kind, places, drawn_on))
        elif len(places) < 3:
            degenerate += 1
        else:
            closed.append(closed_outline(places))
            images["closed"] += drawn_on
    notes = ("degenerate-contours",) if degenerate else ()
    found: list[tuple[str, Shape, tuple[ImageReference, ...], tuple[str, ...]]] = []
    if closed:
        found.append(("CLOSED_PLANAR", Contours(outlines_mm=tuple(closed)), tuple(dict.fromkeys(images["closed"])), notes))
    if points:
        found.append(("POINT", Points(points_mm=np.concatenate(points)), tuple(dict.fromkeys(images["points"])), notes))
    found += [(kind, _open(places), drawn_on, notes) for kind, places, drawn_on in opened]
    if not found:
        raise MalformedAnnotation(f"expected an outline of at least 3 points, got {degenerate} of fewer; draw the region again")
    return found


def _open(places: Float64) -> Shape:
    return Line(points_mm=places) if len(places) > 1 else Points(points_mm=places)


_KINDS = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def _kind(contour: Dataset) -> str:
    kind = text_of(contour, "ContourGeometricType")
    if kind not in _KINDS:
        raise MalformedAnnotation(f"expected a contour of type {', '.join(_KINDS)}, got {shown_word(kind)}; export it again")
    return kind


def _series_by_frame_of_reference(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        series = [
            text_of(item, "SeriesInstanceUID")
            for study in items_of(frame, "RTReferencedStudySequence")
            for item in items_of(study, "RTReferencedSeriesSequence")
        ]
        found[text_of(frame, "FrameOfReferenceUID")] = tuple(uid for uid in series if uid)
    return found
