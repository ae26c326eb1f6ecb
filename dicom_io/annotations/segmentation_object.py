"""Segmentation objects as annotations: binary, fractional and label map, each segment with the frames that it covers (PS3.3 C.8.20).

A frame lies where its plane position, orientation and pixel measures say; where it states none, it lies on the one image of
the same matrix that it was derived from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import Annotation, Annotations, ImageReference, Mask, MaskFrame
from dicom_io.annotations.image_places import ImagePlaces
from dicom_io.annotations.packed_frames import decode_segment_frames
from dicom_io.annotations.reading import Harvest, algorithm_type, code, references
from dicom_io.errors import MalformedAnnotation, UnplacedAnnotation
from dicom_io.frame_attributes import frame_group, items_of, plane_of_frame, whole_number
from dicom_io.geometry import PlaneGeometry
from dicom_io.instance import InstanceHeader
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import shown_word, text_of

FRACTION_INSIDE = 0.5
"""A pixel of a fractional segment is inside from this part of Maximum Fractional Value on."""


@without_pydicom_warnings()
def read_segmentation_object(header: InstanceHeader, places: ImagePlaces) -> Annotations:
    """Return one annotation a segment. Empty segments are rejected as items.

    Raises UndecodablePixels or NoPixels, MalformedAnnotation where the object as a whole is no segmentation, and
    UnplacedAnnotation where a frame has no place.
    """
    dataset = header.dataset
    harvest = Harvest(header=header, kind="SEG")
    stored = decode_segment_frames(header)
    kind = text_of(dataset, "SegmentationType")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP") or stored.ndim != 3:
        raise MalformedAnnotation(f"segmentation: expected BINARY, FRACTIONAL or LABELMAP frames, got {shown_word(kind)}")
    layers = _by_segment(dataset, stored, kind)
    series = tuple(text_of(item, "SeriesInstanceUID") for item in items_of(dataset, "ReferencedSeriesSequence"))
    drawn = sorted({number for layer in layers.values() for number in layer})
    planes = {number: _plane(header, places, number) for number in drawn}
    for segment in items_of(dataset, "SegmentSequence"):
        number = whole_number(segment, "SegmentNumber", -1)
        if kind == "LABELMAP" and number == 0:
            continue  # the background
        with harvest.item(f"segment {number}") as source:
            frames, images = _frames(dataset, layers.get(number, {}), planes)
            harvest.found.append(
                Annotation(
                    shape=Mask(frames=frames),
                    graphic=kind,
                    frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID"),
                    source=source,
                    label=text_of(segment, "SegmentLabel"),
                    concept=code(segment, "SegmentedPropertyTypeCodeSequence"),
                    site=code(segment, "AnatomicRegionSequence"),
                    tracking_id=text_of(segment, "TrackingID"),
                    tracking_uid=text_of(segment, "TrackingUID"),
                    creator=text_of(dataset, "ContentCreatorName"),
                    algorithm_type=algorithm_type(segment, "SegmentAlgorithmType"),
                    images=images,
                    series_uids=tuple(uid for uid in series if uid),
                )
            )
    return harvest.result()


Layers = Mapping[int, Mapping[int, NDArray[np.bool_]]]
"""Segment number -> frame number (from 1) -> (row, column)."""


def _by_segment(dataset: Dataset, stored: NDArray[np.generic], kind: str) -> Layers:
    layers: dict[int, dict[int, NDArray[np.bool_]]] = {}
    for number, segment, mask in _masks(dataset, stored, kind):
        if mask.any():
            layers.setdefault(segment, {})[number] = mask
    return layers


def _masks(dataset: Dataset, stored: NDArray[np.generic], kind: str) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Give (frame number, segment number, mask)."""
    threshold = max(1.0, FRACTION_INSIDE * whole_number(dataset, "MaximumFractionalValue", 255)) if kind == "FRACTIONAL" else 1.0
    for number, frame in enumerate(stored, start=1):
        if kind == "LABELMAP":
            for value in np.unique(frame):
                yield number, int(value), np.asarray(frame == value)
        else:
            group = frame_group(dataset, number, "SegmentIdentificationSequence")
            yield number, whole_number(group, "ReferencedSegmentNumber", -1), np.asarray(frame.astype(np.float64) >= threshold)


def _frames(
    dataset: Dataset, layer: Mapping[int, NDArray[np.bool_]], planes: Mapping[int, PlaneGeometry]
) -> tuple[tuple[MaskFrame, ...], tuple[ImageReference, ...]]:
    """Return the frames that a segment covers, cropped, with the images that they were derived from."""
    if not layer:
        raise MalformedAnnotation("expected a segment that covers at least one pixel, got an empty one; draw it, or remove it")
    images = [image for number in layer for image in _sources(dataset, number)]
    return tuple(_cropped(planes[number], mask) for number, mask in layer.items()), tuple(dict.fromkeys(images))


def _plane(header: InstanceHeader, places: ImagePlaces, number: int) -> PlaneGeometry:
    stated = plane_of_frame(header.dataset, number)
    shape = (whole_number(header.dataset, "Rows"), whole_number(header.dataset, "Columns"))
    return stated or _plane_of_source(_sources(header.dataset, number), places, shape)


def _sources(dataset: Dataset, number: int) -> tuple[ImageReference, ...]:
    group = frame_group(dataset, number, "DerivationImageSequence")
    return references(items_of(group, "SourceImageSequence"))


def _plane_of_source(derived_from: tuple[ImageReference, ...], places: ImagePlaces, shape: tuple[int, ...]) -> PlaneGeometry:
    if len(derived_from) != 1:
        raise UnplacedAnnotation(
            f"expected plane position, orientation and pixel spacing, or one source image a frame, got {len(derived_from)} source images; "
            "export the segmentation with its geometry"
        )
    place = places.of(derived_from[0])
    if (place.rows, place.columns) != shape:
        raise UnplacedAnnotation(
            f"expected the matrix {place.rows} x {place.columns} of the source image, since the frame states no place, "
            f"got {shape[0]} x {shape[1]}; export the segmentation with its geometry"
        )
    return place.plane


def _cropped(plane: PlaneGeometry, mask: NDArray[np.bool_]) -> MaskFrame:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    down = np.asarray(plane.column_cosines, np.float64) * plane.row_spacing_mm * top
    right = np.asarray(plane.row_cosines, np.float64) * plane.column_spacing_mm * left
    x, y, z = (np.asarray(plane.position_mm, np.float64) + down + right).tolist()
    moved = PlaneGeometry(
        position_mm=(x, y, z),
        row_cosines=plane.row_cosines,
        column_cosines=plane.column_cosines,
        row_spacing_mm=plane.row_spacing_mm,
        column_spacing_mm=plane.column_spacing_mm,
    )
    return MaskFrame(plane=moved, mask=mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())
