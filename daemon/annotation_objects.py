"""Annotation objects: which instances hold what people drew, and whether any of it was drawn on a given series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from daemon.version import MODEL_NAME
from dicom_io.annotations.annotation import Annotation
from dicom_io.annotations.collect import is_annotation_class, read_annotations
from dicom_io.instance import InstanceHeader
from dicom_io.series import Series
from dicom_io.slice_stack import SliceStack
from dicom_io.values import text_of

REVIEW_LABEL = "AI_REVIEW"
"""Content Label of what was withheld."""


def is_annotation_object(header: InstanceHeader) -> bool:
    """Whether an instance can hold annotations: an input beside the images, never a series to be segmented."""
    return is_annotation_class(header.sop_class_uid)


def is_own_result(header: InstanceHeader) -> bool:
    """Whether this software wrote an instance; a result never prompts the next one in its own study."""
    return text_of(header.dataset, "ManufacturerModelName") == MODEL_NAME


def is_withheld_result(header: InstanceHeader) -> bool:
    """Whether an instance is a segmentation of this software that was withheld, and written for review alone."""
    return is_own_result(header) and str(header.dataset.get("ContentLabel") or "").strip() == REVIEW_LABEL


def foreign_annotations(study: Iterable[InstanceHeader]) -> tuple[InstanceHeader, ...]:
    """Return those instances of a study that hold annotations of others."""
    return tuple(header for header in study if is_annotation_object(header) and not is_own_result(header))


def has_annotations(series: Series, study: Sequence[InstanceHeader]) -> bool:
    """Whether somebody else's annotation in `study` (the study's other instances) was drawn on a series.

    It was if it names the series or one of its images; one that names neither lies on every series of its frame of reference.
    """
    objects = foreign_annotations(study)
    if not objects:
        return False
    images = [*series.headers, *(header for header in study if not is_annotation_object(header))]
    uids = frozenset(header.sop_instance_uid for header in series.headers)
    return any(_drawn_on(found, series, uids) for found in read_annotations(objects, images).found)


def _drawn_on(annotation: Annotation, series: Series, uids: frozenset[str]) -> bool:
    if annotation.images or annotation.series_uids:
        named = any(image.sop_instance_uid in uids for image in annotation.images)
        return named or series.series_instance_uid in annotation.series_uids
    frames = {part.frame_of_reference_uid for part in series.stacks if isinstance(part, SliceStack)} - {""}
    return annotation.frame_of_reference_uid in frames
