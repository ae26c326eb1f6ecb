"""The write stage for review: masks that were withheld become segmentations of their own, marked as such, where the rule says who looks.

They pass the same gate as results, never share an object with what is delivered, and never prompt a later study.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from daemon.annotation_objects import REVIEW_LABEL
from daemon.config import ResultSettings
from daemon.gate import pass_gate
from daemon.provenance import AI_MARK, identify, trace
from daemon.writing import Findings
from daemon.written import ObjectKind, WrittenObject
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.segmentation_parts import Budget, part_segments
from dicom_io.segmentation_source import read_source_headers
from dicom_io.segmentation_types import ResultIdentity, SegmentationForm

MARK = "WITHHELD FOR REVIEW"


def write_review(findings: Findings, settings: ResultSettings, first: int) -> tuple[WrittenObject, ...]:
    """Return the binary segmentations of `findings.objects` (those withheld), for the rule's review destinations; none where it names none.

    `first`: the number of the result's objects before these. An empty mask is nothing to look at. Raises as `daemon.writing.write_results`.
    """
    masks_by_id = {result.object_id: result.mask for result in findings.objects.results}
    findings = replace(findings, objects=findings.objects.keep(number for number, mask in masks_by_id.items() if mask.any()))
    masks = [result.mask for result in findings.objects.results]
    if not findings.plan.rule.review or not masks:
        return ()
    headers = read_source_headers(findings.volume)
    provenance = trace(findings.request, findings.plan, findings.volume, findings.objects, settings, headers)
    budget = Budget(maximum_frames=settings.maximum_frames, maximum_bytes=settings.maximum_mib * 2**20)
    reasons = {verdict.object_id: "; ".join(verdict.reasons) for verdict in findings.verdicts}
    written = []
    for count, part in enumerate(part_segments(masks, SegmentationForm.BINARY, budget, one_each=False)):
        segments = tuple(replace(provenance.segments[index], number=number) for number, index in enumerate(part, start=1))
        why = {f"withheld {number}": reasons[findings.objects.prompted[index].object_id] for number, index in enumerate(part, start=1)}
        plain = identify(provenance, findings.request, settings, first + count, REVIEW_LABEL, repr(segments), repr(why))
        identity = _marked(plain, why)
        own = [masks[index] for index in part]
        part10 = write_segmentation(findings.volume, own, segments, identity, form=SegmentationForm.BINARY, headers=headers)
        check = partial(check_segmentation, volume=findings.volume, masks=own, segments=segments, headers=headers, budget=budget)
        destinations = findings.plan.rule.review
        sent = pass_gate(ObjectKind.SEG, part10, identity, SegmentationForm.BINARY.sop_class_uid, destinations, check)
        written.append(replace(sent, for_review=True))
    return tuple(written)


def _marked(identity: ResultIdentity, why: dict[str, str]) -> ResultIdentity:
    """Say what it is where viewers list series and objects, and why beside the algorithm's parameters."""
    return replace(
        identity,
        series_description=f"{MARK}, {identity.series_description}"[:64],
        content_description=f"{AI_MARK}; {MARK}",
        algorithm_parameters={**identity.algorithm_parameters, **why},
    )
