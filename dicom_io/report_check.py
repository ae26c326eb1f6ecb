"""Proving a report before it leaves: its tree is read back item by item and must say exactly what was meant.

The reading shares nothing with the writing but the codes: plain pydicom, and the nesting of TID 1500 (PS3.16).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ComprehensiveSRStorage

from dicom_io.codes import Code
from dicom_io.errors import InvalidReport
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.report_numbers import reported_numbers
from dicom_io.report_types import OUTCOME_CODES, ReportContent, ReportedTarget
from dicom_io.segmentation_check import carried_faults
from dicom_io.segmentation_source import SourceHeaders

Key: TypeAlias = tuple[str, str]
"""(code value, coding scheme): meanings are words for people."""
Numbers: TypeAlias = dict[tuple[Key, Key | None], tuple[float, str, tuple[object, ...]]]
"""(name, derivation) -> value, unit, and of a line (SOP Instance UID, frame number, coordinates)."""

_IMAGING_MEASUREMENTS, _GROUP = ("126010", "DCM"), ("125007", "DCM")
_TRACKING_ID, _TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
_CATEGORY, _FINDING, _SITE, _LATERALITY = ("276214006", "SCT"), ("121071", "DCM"), ("363698007", "SCT"), ("272741003", "SCT")
_SEGMENT, _DERIVATION, _COMMENT = ("121191", "DCM"), ("121401", "DCM"), ("121106", "DCM")


@dataclass(frozen=True, kw_only=True)
class _Group:
    """One measurement group as it stands in the object, in comparable values."""

    texts: dict[Key, str]
    comments: tuple[str, ...]
    codes: dict[Key, Key]
    laterality: Key | None
    numbers: Numbers
    segment: tuple[str, int] | None


@without_pydicom_warnings()
def check_report(part10: bytes, content: ReportContent, headers: SourceHeaders) -> None:
    """Raise InvalidReport with every fault of the object, if it has any.

    Proven are: patient and study are the source's; every target's label, codes, tracking, outcome, reasons and numbers;
    every line's image and coordinates; every reference is listed as evidence; what the report supersedes.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(part10))
        groups = [_read_group(item) for item in _groups(dataset)]
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidReport(f"report: expected a complete Part 10 report, got one that lacks {error}") from error
    faults = [*carried_faults(dataset, headers), *_document_faults(dataset, content, headers), *_group_faults(groups, content, headers)]
    if faults:
        raise InvalidReport(f"report: {len(faults)} faults, it must not be sent: {'; '.join(faults)}")


def _document_faults(dataset: Dataset, content: ReportContent, headers: SourceHeaders) -> Iterator[str]:
    kind = (str(dataset.SOPClassUID), dataset.get("CompletionFlag"), dataset.get("PreliminaryFlag"), dataset.get("VerificationFlag"))
    expected_kind = (str(ComprehensiveSRStorage), "COMPLETE", "PRELIMINARY", "UNVERIFIED")
    if kind != expected_kind:
        yield f"document: expected {expected_kind}, got {kind}"
    evidence = _listed(dataset.get("CurrentRequestedProcedureEvidenceSequence") or [])
    segmentations = {target.measured.segmentation for target in content.targets if target.measured is not None}
    expected = {instance for _, instance in headers.instances} | {one.sop_instance_uid for one in segmentations}
    if evidence != expected:
        yield f"evidence: expected {len(expected)} instances, got {len(evidence & expected)} of them and {len(evidence - expected)} others"
    dangling = set(_referenced(dataset)) - evidence
    if dangling:
        yield f"references: expected evidence for every one, got none for {sorted(dangling)}"
    predecessors = _listed(dataset.get("PredecessorDocumentsSequence") or [])
    if predecessors != {one.sop_instance_uid for one in content.predecessors}:
        yield f"predecessors: expected {len(content.predecessors)}, got {sorted(predecessors)}"


def _group_faults(groups: list[_Group], content: ReportContent, headers: SourceHeaders) -> Iterator[str]:
    expected = [group for target in content.targets for group in _meant(target, content, headers)]
    if len(groups) != len(expected):
        yield f"groups: expected {len(expected)}, got {len(groups)}"
        return
    for number, (meant, got) in enumerate(zip(expected, groups, strict=True), start=1):
        for name in ("texts", "comments", "codes", "laterality", "numbers", "segment"):
            if getattr(meant, name) != getattr(got, name):
                yield f"group {number} {name}: expected {getattr(meant, name)}, got {getattr(got, name)}"


def _meant(target: ReportedTarget, content: ReportContent, headers: SourceHeaders) -> Iterator[_Group]:
    name, value = OUTCOME_CODES[target.outcome]
    codes = {_CATEGORY: _key(target.category), _FINDING: _key(target.type), _key(name): _key(value)}
    if target.region is not None or target.laterality is not None:
        codes[_SITE] = _key(target.region or target.type)
    told = _Group(
        texts={_TRACKING_ID: target.label, _TRACKING_UID: target.tracking_uid},
        comments=target.reasons,
        codes=codes,
        laterality=None if target.laterality is None else _key(target.laterality),
        numbers={},
        segment=None,
    )
    if target.measured is None:
        yield told
        return
    plain: Numbers = {}
    drawn: Numbers = {}
    for number in reported_numbers(target.measured.measurements, content.unit, content.modality):
        key = (_key(number.name), None if number.derivation is None else _key(number.derivation))
        plane = None if number.line is None else headers.planes.get(number.line.k)
        place: tuple[object, ...] = ()
        if number.line is not None and plane is not None:
            ends = tuple(round(value + 0.5, 3) for end in number.line.ends_ji for value in reversed(end))
            place = (plane.sop_instance_uid, plane.frame_number, ends)
        (plain if number.line is None else drawn)[key] = (number.value, number.unit.value, place)
    segment = (target.measured.segmentation.sop_instance_uid, target.measured.segment.number)
    yield replace(told, numbers=plain, segment=segment)
    yield replace(told, numbers=drawn, comments=())


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.ContentSequence:
        if _name(item) == _IMAGING_MEASUREMENTS:
            yield from (group for group in item.ContentSequence if _name(group) == _GROUP)


def _read_group(group: Dataset) -> _Group:
    by_type: dict[str, list[Dataset]] = {}
    for item in group.ContentSequence:
        by_type.setdefault(str(item.ValueType), []).append(item)
    texts = {_name(item): str(item.TextValue) for item in by_type.get("TEXT", []) if _name(item) in (_TRACKING_ID, _COMMENT)}
    uids = {_name(item): str(item.UID) for item in by_type.get("UIDREF", []) if _name(item) == _TRACKING_UID}
    sides = [_value(child) for item in by_type.get("CODE", []) for child in item.get("ContentSequence", []) if _name(child) == _LATERALITY]
    segments = [item.ReferencedSOPSequence[0] for item in by_type.get("IMAGE", []) if _name(item) == _SEGMENT]
    texts.pop(_COMMENT, None)
    return _Group(
        texts=texts | uids,
        comments=tuple(str(item.TextValue) for item in by_type.get("TEXT", []) if _name(item) == _COMMENT),
        codes={_name(item): _value(item) for item in by_type.get("CODE", [])},
        laterality=sides[0] if sides else None,
        numbers=dict(map(_number, by_type.get("NUM", []))),
        segment=(str(segments[0].ReferencedSOPInstanceUID), int(segments[0].ReferencedSegmentNumber)) if segments else None,
    )


def _number(item: Dataset) -> tuple[tuple[Key, Key | None], tuple[float, str, tuple[object, ...]]]:
    children = item.get("ContentSequence") or []
    derivations = [_value(child) for child in children if _name(child) == _DERIVATION]
    measured = item.MeasuredValueSequence[0]
    places = [_place(child) for child in children if child.ValueType == "SCOORD"]
    key = (_name(item), derivations[0] if derivations else None)
    return key, (float(measured.NumericValue), str(measured.MeasurementUnitsCodeSequence[0].CodeValue), places[0] if places else ())


def _place(item: Dataset) -> tuple[object, ...]:
    image = item.ContentSequence[0].ReferencedSOPSequence[0]
    frame = image.get("ReferencedFrameNumber")
    return (
        str(image.ReferencedSOPInstanceUID),
        None if frame is None else int(frame),
        tuple(round(float(value), 3) for value in item.GraphicData),
    )


def _listed(hierarchy: Iterable[Dataset]) -> set[str]:
    """SOP Instance UIDs of references by study and series."""
    return {
        str(reference.ReferencedSOPInstanceUID)
        for study in hierarchy
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def _referenced(dataset: Dataset) -> Iterator[str]:
    """SOP Instance UIDs that any item of the tree refers to."""
    for item in dataset.get("ContentSequence") or []:
        for reference in item.get("ReferencedSOPSequence") or []:
            yield str(reference.ReferencedSOPInstanceUID)
        yield from _referenced(item)


def _name(item: Dataset) -> Key:
    code = (item.get("ConceptNameCodeSequence") or [Dataset()])[0]
    return str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))


def _value(item: Dataset) -> Key:
    code = item.ConceptCodeSequence[0]
    return str(code.CodeValue), str(code.CodingSchemeDesignator)


def _key(code: Code) -> Key:
    return code.value, code.scheme
