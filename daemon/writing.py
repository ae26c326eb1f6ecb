"""The write stage: masks and verdicts become segmentations, a report and a picture, each of which passes the gate.

Where a label map is asked for, every object that depends on the form comes in a second one: binary segmentations and the
report that refers to those, for destinations that refuse label maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from daemon.config import ResultSettings
from daemon.gate import pass_gate
from daemon.inference import SegmentedObjects
from daemon.intensity_window import window_bounds
from daemon.predecessors import superseded_reports
from daemon.provenance import Provenance, describe_segment, identify, trace, tracking_uid
from daemon.request import SeriesRequest
from daemon.written import ObjectKind, WrittenObject
from dicom_io.measurements import Measurements, measure
from dicom_io.overlay import check_overlay, write_overlay
from dicom_io.preview import overlay_picture
from dicom_io.report import write_report
from dicom_io.report_check import check_report
from dicom_io.report_types import MeasuredSegment, ObjectReference, Outcome, ReportContent, ReportedTarget
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.segmentation_frames import MAXIMUM_LABELS, overlapping
from dicom_io.segmentation_parts import Budget, part_segments
from dicom_io.segmentation_source import SourceHeaders, read_source_headers
from dicom_io.segmentation_types import SegmentationForm, SegmentDescription
from dicom_io.volume import Volume
from rules.match import Plan
from rules.prompts.generate import GeneratedPrompts
from rules.quality import Decision, Verdict


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one volume came to."""

    request: SeriesRequest
    plan: Plan
    volume: Volume
    prompted: GeneratedPrompts
    objects: SegmentedObjects
    """Those to be delivered."""
    verdicts: tuple[Verdict, ...]
    """Of all objects."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is to be delivered, and where it comes from."""

    provenance: Provenance
    written: tuple[WrittenObject, ...]
    """In the order of delivery: a segmentation comes before the report that refers to it."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What all objects of a result are made of."""

    findings: Findings
    settings: ResultSettings
    headers: SourceHeaders
    provenance: Provenance
    parts: tuple[tuple[int, ...], ...]
    """Indices of the segments in each segmentation object."""
    measurements: tuple[Measurements, ...]


def write_results(findings: Findings, settings: ResultSettings) -> Results:
    """Write what the rule's `outputs` ask for. Raises `daemon.gate.GateFailure`, and RejectedInput if a source file is damaged."""
    outputs = findings.plan.rule.outputs
    headers = read_source_headers(findings.volume)
    masks = [result.mask for result in findings.objects.results]
    stage = _Stage(
        findings=findings,
        settings=settings,
        headers=headers,
        provenance=trace(findings.request, findings.plan, findings.volume, findings.objects, settings, headers),
        parts=part_segments(masks, SegmentationForm.BINARY, _budget(settings), one_each=outputs.one_seg_per == "target"),
        measurements=_measured(findings) if "sr" in outputs.objects else (),
    )
    written = list(_written_as(stage, _form(stage)))
    if _form(stage) is SegmentationForm.LABELMAP:
        others = _written_as(stage, SegmentationForm.BINARY)
        written = [replace(first, alternative=other) for first, other in zip(written, others, strict=True)]
    if "overlay" in outputs.objects and masks:
        written.append(_overlay(stage, len(written)))
    return Results(provenance=stage.provenance, written=tuple(written))


def _written_as(stage: _Stage, form: SegmentationForm) -> Iterator[WrittenObject]:
    """Yield the segmentations in one form, and the report that refers to them."""
    outputs = stage.findings.plan.rule.outputs
    segmentations: list[WrittenObject] = []
    if "seg" in outputs.objects:
        segmentations = [_segmentation(stage, form, number) for number in range(len(stage.parts))]
        yield from segmentations
    if "sr" in outputs.objects:
        yield _report(stage, segmentations)


def _segmentation(stage: _Stage, form: SegmentationForm, number: int) -> WrittenObject:
    findings = stage.findings
    segments = _numbered(stage, number)
    masks = [findings.objects.results[index].mask for index in stage.parts[number]]
    identity = identify(stage.provenance, findings.request, stage.settings, number, "AI_SEGMENTATION", form.value, repr(segments))
    part10 = write_segmentation(findings.volume, masks, segments, identity, form=form, headers=stage.headers)
    # A label map is parted as its binary form is: its bytes have no budget of their own.
    budget = _budget(stage.settings) if form is SegmentationForm.BINARY else Budget(maximum_frames=stage.settings.maximum_frames)
    check = partial(
        check_segmentation, volume=findings.volume, masks=masks, segments=segments, headers=stage.headers, budget=budget
    )  # fmt: skip
    return pass_gate(ObjectKind.SEG, part10, identity, form.sop_class_uid, findings.plan.destinations, check)


def _report(stage: _Stage, segmentations: Sequence[WrittenObject]) -> WrittenObject:
    findings = stage.findings
    content = ReportContent(
        targets=(*_judged(stage, segmentations), *_missing(stage)),
        unit=findings.volume.unit,
        modality=str(stage.headers.first.get("Modality") or ""),
        predecessors=superseded_reports(findings.request, str(stage.headers.first.StudyInstanceUID)),
    )
    identity = identify(stage.provenance, findings.request, stage.settings, len(segmentations), "AI_REPORT", repr(content))
    part10 = write_report(content, identity, stage.headers)
    check = partial(check_report, content=content, headers=stage.headers)
    return pass_gate(ObjectKind.SR, part10, identity, ComprehensiveSRStorage, findings.plan.destinations, check)


def _overlay(stage: _Stage, number: int) -> WrittenObject:
    findings, volume = stage.findings, stage.findings.volume
    low, high = window_bounds(volume, findings.objects.prompted[0].target)
    picture = overlay_picture(
        volume.voxels,
        [result.mask for result in findings.objects.results],
        [item.label for item in findings.objects.prompted],
        ((low + high) / 2, high - low),
        pixel_spacing_mm=volume.spacing_mm[1:],
    )
    identity = identify(stage.provenance, findings.request, stage.settings, number, "AI_OVERLAY", f"{low} {high}")
    part10 = write_overlay(picture, identity, stage.headers)
    check = partial(check_overlay, picture=picture, headers=stage.headers)
    return pass_gate(ObjectKind.OVERLAY, part10, identity, SecondaryCaptureImageStorage, findings.plan.destinations, check)


def _form(stage: _Stage) -> SegmentationForm:
    """A label map where it is asked for and can be made: nothing may overlap in it."""
    asked = stage.findings.plan.rule.outputs.segmentation_type == "labelmap" and "seg" in stage.findings.plan.rule.outputs.objects
    masks = [result.mask for result in stage.findings.objects.results]
    fits = all(len(part) <= MAXIMUM_LABELS for part in stage.parts)
    return SegmentationForm.LABELMAP if asked and masks and fits and not overlapping(masks) else SegmentationForm.BINARY


def _budget(settings: ResultSettings) -> Budget:
    return Budget(maximum_frames=settings.maximum_frames, maximum_bytes=settings.maximum_mib * 2**20)


def _numbered(stage: _Stage, number: int) -> tuple[SegmentDescription, ...]:
    described = (stage.provenance.segments[index] for index in stage.parts[number])
    return tuple(replace(segment, number=count) for count, segment in enumerate(described, start=1))


def _measured(findings: Findings) -> tuple[Measurements, ...]:
    volume = findings.volume
    peak = volume.unit.startswith("SUV")
    return tuple(
        measure(result.mask, volume.voxels, volume.affine, padding=volume.padding, peak=peak) for result in findings.objects.results
    )


def _judged(stage: _Stage, segmentations: Sequence[WrittenObject]) -> Iterator[ReportedTarget]:
    findings, settings = stage.findings, stage.settings
    delivered = {item.object_id: index for index, item in enumerate(findings.objects.prompted)}
    verdicts = {verdict.object_id: verdict for verdict in findings.verdicts}
    for item in findings.prompted.objects:
        verdict = verdicts[item.object_id]
        segment = describe_segment(1, item, findings.request.series.series_instance_uid, findings.plan, settings)
        measured = _measured_segment(stage, segmentations, delivered[item.object_id]) if verdict.delivers else None
        yield ReportedTarget(
            label=item.label,
            category=segment.category,
            type=segment.type,
            laterality=segment.laterality,
            region=segment.region,
            tracking_uid=segment.tracking_uid,
            outcome=_OUTCOMES[verdict.decision],
            reasons=verdict.reasons,
            measured=measured,
        )


_OUTCOMES = {Decision.ACCEPT: Outcome.ACCEPTED, Decision.FLAG: Outcome.FLAGGED, Decision.WITHHOLD: Outcome.WITHHELD}


def _measured_segment(stage: _Stage, segmentations: Sequence[WrittenObject], index: int) -> MeasuredSegment:
    number = next(count for count, part in enumerate(stage.parts) if index in part)
    written = segmentations[number]
    return MeasuredSegment(
        segment=_numbered(stage, number)[stage.parts[number].index(index)],
        segmentation=ObjectReference(
            sop_class_uid=written.sop_class_uid,
            sop_instance_uid=written.sop_instance_uid,
            series_instance_uid=written.series_instance_uid,
        ),
        measurements=stage.measurements[index],
    )


def _missing(stage: _Stage) -> Iterator[ReportedTarget]:
    series_uid = stage.findings.request.series.series_instance_uid
    for missing in stage.findings.prompted.missing:
        target = missing.target
        yield ReportedTarget(
            label=target.label,
            category=target.category,
            type=target.type,
            laterality=target.laterality,
            region=target.region,
            tracking_uid=tracking_uid(stage.settings, series_uid, stage.findings.plan, target.label, "0"),
            outcome=Outcome.NOT_FOUND,
            reasons=(missing.reason,),
        )
