"""What the readers of annotation objects share: careful access to sequences, codes, texts and references, and item by item refusal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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
from dicom_io.frame_attributes import items_of, numbers
from dicom_io.instance import InstanceHeader
from dicom_io.values import text_of

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


def code(dataset: Dataset, keyword: str) -> Code | None:
    """Return the first coded concept of a sequence; None where it is absent or incomplete."""
    for item in items_of(dataset, keyword)[:1]:
        value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue") or text_of(item, "URNCodeValue")
        scheme, meaning = text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeMeaning")
        if value and scheme and len(value) <= 16 and len(scheme) <= 16:
            return Code(value=value, scheme=scheme, meaning=meaning[:64] or value)
    return None


def algorithm_type(dataset: Dataset, keyword: str) -> AlgorithmType:
    """Return MANUAL, SEMIAUTOMATIC or AUTOMATIC; empty for anything else."""
    words: dict[str, AlgorithmType] = {"MANUAL": "MANUAL", "SEMIAUTOMATIC": "SEMIAUTOMATIC", "AUTOMATIC": "AUTOMATIC"}
    return words.get(text_of(dataset, keyword), "")


def references(sequence: Iterable[Dataset]) -> tuple[ImageReference, ...]:
    """Return the images of an Image SOP Instance Reference sequence (PS3.3 table 10-3), one a frame, each once."""
    found = []
    for item in sequence:
        uid = text_of(item, "ReferencedSOPInstanceUID")
        frames = numbers(item, "ReferencedFrameNumber")
        if uid:
            found += [ImageReference(sop_instance_uid=uid, frame_number=int(number)) for number in frames] or [
                ImageReference(sop_instance_uid=uid)
            ]
    return tuple(dict.fromkeys(found))
