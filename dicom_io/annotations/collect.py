"""All annotations of a study: which instances are annotation objects, each read by its kind, and references between them resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from pydicom import uid

from dicom_io.annotations.annotation import Annotation, Annotations, RejectedItem, SegmentReference
from dicom_io.annotations.image_places import ImagePlaces, image_places
from dicom_io.annotations.presentation_state import read_presentation_state
from dicom_io.annotations.segmentation_object import read_segmentation_object
from dicom_io.annotations.structure_set import read_structure_set
from dicom_io.annotations.structured_report import read_structured_report
from dicom_io.errors import RejectedInput
from dicom_io.instance import InstanceHeader

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, which older dictionaries do not name."""


def _structure_set(header: InstanceHeader, _: ImagePlaces) -> Annotations:
    return read_structure_set(header)


Reader = Callable[[InstanceHeader, ImagePlaces], Annotations]

READERS: Mapping[str, Reader] = {
    **dict.fromkeys(
        map(
            str,
            (
                uid.BasicTextSRStorage,
                uid.EnhancedSRStorage,
                uid.ComprehensiveSRStorage,
                uid.Comprehensive3DSRStorage,
                uid.ExtensibleSRStorage,
                uid.MammographyCADSRStorage,
                uid.ChestCADSRStorage,
                uid.ColonCADSRStorage,
            ),
        ),
        read_structured_report,
    ),
    **dict.fromkeys(
        map(
            str,
            (
                uid.GrayscaleSoftcopyPresentationStateStorage,
                uid.ColorSoftcopyPresentationStateStorage,
                uid.PseudoColorSoftcopyPresentationStateStorage,
                uid.BlendingSoftcopyPresentationStateStorage,
                uid.XAXRFGrayscaleSoftcopyPresentationStateStorage,
            ),
        ),
        read_presentation_state,
    ),
    str(uid.RTStructureSetStorage): _structure_set,
    str(uid.SegmentationStorage): read_segmentation_object,
    LABEL_MAP_SEGMENTATION: read_segmentation_object,
}
"""Storage SOP class -> its reader."""


def is_annotation_class(sop_class_uid: str) -> bool:
    """Whether instances of a SOP class can hold annotations; such instances are inputs of rules, never series to be segmented."""
    return sop_class_uid in READERS


def read_annotations(objects: Iterable[InstanceHeader], images: Iterable[InstanceHeader]) -> Annotations:
    """Return the annotations of `objects`, in the order of SOP Instance UIDs; `images` are the images that they may refer to.

    An object that cannot be read is rejected as a whole (item `object`), one item alone where only that cannot be used. A
    segment that a report speaks of carries the report's finding and tracking, and is given once.
    """
    places = image_places(images)
    found: list[Annotation] = []
    rejected: list[RejectedItem] = []
    once = {header.sop_instance_uid: header for header in objects if is_annotation_class(header.sop_class_uid)}
    for _, header in sorted(once.items()):
        try:
            read = READERS[header.sop_class_uid](header, places)
        except RejectedInput as error:
            rejected.append(RejectedItem(sop_instance_uid=header.sop_instance_uid, item="object", code=error.code, reason=str(error)))
            continue
        found += [_drawn_on(annotation, places) for annotation in read.found]
        rejected += read.rejected
    return Annotations(found=tuple(_resolved(found)), rejected=tuple(rejected))


def _drawn_on(annotation: Annotation, places: ImagePlaces) -> Annotation:
    """Name the series of the images at hand; where nothing that an annotation names is at hand, its place alone says where it belongs."""
    series = {header.series_instance_uid for header in places.headers.values()}
    known = [places.headers[image.sop_instance_uid] for image in annotation.images if image.sop_instance_uid in places.headers]
    uids = dict.fromkeys([*(header.series_instance_uid for header in known), *(uid for uid in annotation.series_uids if uid in series)])
    named = bool(annotation.images or annotation.series_uids)
    notes = {*annotation.notes, *(("references-unresolved",) if named and not uids else ())}
    return replace(annotation, series_uids=tuple(uids), notes=tuple(sorted(notes)))


def _resolved(found: Sequence[Annotation]) -> list[Annotation]:
    """Give every segment that a report speaks of the report's words; a segment that is not at hand stays a reference."""
    segments = {
        SegmentReference(sop_instance_uid=one.source.sop_instance_uid, segment_number=int(one.source.item.removeprefix("segment "))): one
        for one in found
        if one.source.kind == "SEG"
    }
    spoken_of = {one.shape for one in found if isinstance(one.shape, SegmentReference)}
    kept = []
    for one in found:
        if isinstance(one.shape, SegmentReference):
            kept.append(_joined(one, segments[one.shape]) if one.shape in segments else one)
        elif not any(segment is one and reference in spoken_of for reference, segment in segments.items()):
            kept.append(one)
    return kept


def _joined(report: Annotation, segment: Annotation) -> Annotation:
    """The segment's pixels with the report's words, and the segment's where the report has none."""
    return replace(
        segment,
        source=report.source,
        label=report.label or segment.label,
        concept=report.concept or segment.concept,
        site=report.site or segment.site,
        tracking_id=report.tracking_id or segment.tracking_id,
        tracking_uid=report.tracking_uid or segment.tracking_uid,
        creator=report.creator or segment.creator,
        algorithm_type=segment.algorithm_type,
    )
