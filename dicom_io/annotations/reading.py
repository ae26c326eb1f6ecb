"""What the readers of annotation objects share: careful access to sequences, codes, texts and references, and item by item refusal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import (
    AlgorithmType,
    Annotation,
    Annotations,
    AnnotationSource,
    ImageReference,
    ObjectKind,
    RejectedItem,
)
from dicom_io.codes import Code
from dicom_io.errors import UnusableAnnotation
from dicom_io.frame_attributes import numbers
from dicom_io.instance import READING_ERRORS, InstanceHeader

MAXIMUM_ITEMS = 20000
"""Annotations of one object; a header that promises more is damaged or hostile."""


@dataclass(kw_only=True)
class Harvest:
    """Collects the annotations of one object; an item that cannot be used is rejected alone."""

    header: InstanceHeader
    kind: ObjectKind
    found: list[Annotation] = field(default_factory=list)
    rejected: list[RejectedItem] = field(default_factory=list)

    @contextmanager
    def item(self, name: str) -> Iterator[AnnotationSource]:
        """Give the source of an item; an UnusableAnnotation raised within rejects this item and ends there."""
        try:
            yield AnnotationSource(
                kind=self.kind,
                sop_class_uid=self.header.sop_class_uid,
                sop_instance_uid=self.header.sop_instance_uid,
                series_instance_uid=self.header.series_instance_uid,
                study_instance_uid=self.header.study_instance_uid,
                item=name,
            )
        except UnusableAnnotation as error:
            self.rejected.append(RejectedItem(sop_instance_uid=self.header.sop_instance_uid, item=name, code=error.code, reason=str(error)))

    def result(self) -> Annotations:
        """What was collected."""
        return Annotations(found=tuple(self.found), rejected=tuple(self.rejected))


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence, none where it is absent or no sequence."""
    try:
        value = dataset.get(keyword)
    except READING_ERRORS:
        return ()
    return cast(Sequence[Dataset], value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as text without outer spaces, empty where it is absent or unreadable."""
    try:
        value = dataset.get(keyword)
    except READING_ERRORS:
        return ""
    return "" if value is None else str(value).strip()


def code(dataset: Dataset, keyword: str) -> Code | None:
    """Return the first coded concept of a sequence; None where it is absent or incomplete."""
    for item in items(dataset, keyword)[:1]:
        value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
        scheme, meaning = text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning")
        if value and scheme and len(value) <= 16 and len(scheme) <= 16:
            return Code(value=value, scheme=scheme, meaning=meaning[:64] or value)
    return None


def algorithm_type(dataset: Dataset, keyword: str) -> AlgorithmType:
    """Return MANUAL, SEMIAUTOMATIC or AUTOMATIC; empty for anything else."""
    words: dict[str, AlgorithmType] = {"MANUAL": "MANUAL", "SEMIAUTOMATIC": "SEMIAUTOMATIC", "AUTOMATIC": "AUTOMATIC"}
    return words.get(text(dataset, keyword), "")


def references(sequence: Iterable[Dataset]) -> tuple[ImageReference, ...]:
    """Return the images of an Image SOP Instance Reference sequence (PS3.3 table 10-3), one a frame, each once."""
    found = []
    for item in sequence:
        uid = text(item, "ReferencedSOPInstanceUID")
        frames = numbers(item, "ReferencedFrameNumber")
        if uid:
            found += [ImageReference(sop_instance_uid=uid, frame_number=int(number)) for number in frames] or [
                ImageReference(sop_instance_uid=uid)
            ]
    return tuple(dict.fromkeys(found))
