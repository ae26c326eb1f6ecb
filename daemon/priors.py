"""Priors as inputs: segments of earlier studies of the same patient, each on the volume that it was drawn on.

Which instances belong to earlier studies of the same patient is for the caller to say (`same_patient`): a PatientID that is
empty, or an issuer that differs, joins nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from daemon.annotation_objects import is_annotation_object, is_withheld_result
from daemon.request import SeriesRequest
from dicom_io.annotations.annotation import Annotation, RejectedItem
from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import masks_on
from dicom_io.errors import RejectedInput
from dicom_io.instance import InstanceHeader
from dicom_io.series import group_by_series, judge_series
from dicom_io.volume_reader import read_volume
from rules.match import Plan
from rules.prompts.outcome import PromptOrigin
from rules.prompts.prior import Prior, PriorRecipe
from rules.rule import RuleSet, Target


@dataclass(frozen=True, kw_only=True)
class Priors:
    """Segments of earlier studies, and what of those studies cannot be used and why."""

    found: tuple[Prior, ...] = ()
    rejected: tuple[RejectedItem, ...] = ()


def wants_priors(plan: Plan) -> bool:
    """Whether any target of a plan is prompted by earlier studies; only then is it worth reading them."""
    return _any_followed(plan.targets)


def may_want_priors(ruleset: RuleSet) -> bool:
    """Whether any enabled rule has a target that is prompted by earlier studies; only then is it worth looking for them."""
    return any(_any_followed(rule.targets) for rule in ruleset.rules if rule.enabled)


def priors_for(plan: Plan, request: SeriesRequest) -> Priors:
    """Return the segments of earlier studies in series of the same modality; none where no target asks for them.

    Results of this software count: that is how a lesion is followed. Earlier means by Study Date; where either study has none,
    nothing is known to be earlier.
    """
    today = study_date(request.series.headers)
    if not wants_priors(plan) or today is None:
        return Priors()
    found: list[Prior] = []
    rejected: list[RejectedItem] = []
    for headers in _by_study(request.earlier).values():
        then = study_date(headers)
        if then is None or then > today:
            continue
        one = _of_study(headers, request.series.modality, then, (today - then).days)
        found += one.found
        rejected += one.rejected
    return Priors(found=tuple(found), rejected=tuple(rejected))


def same_patient(a: InstanceHeader, b: InstanceHeader) -> bool:
    """Whether two instances say that they are of one patient: the same PatientID, not empty, from the same issuer."""
    return bool(_patient(a)[0]) and _patient(a) == _patient(b)


NOBODY = -1
"""The bucket of what names no patient."""


def patient_bucket(header: InstanceHeader) -> int:
    """Return the one of 16 million buckets that an instance's patient is in: enough to find few candidates, too few to name anybody."""
    identifier, issuer = _patient(header)
    if not identifier:
        return NOBODY
    return int.from_bytes(hashlib.sha256(f"{issuer}\n{identifier}".encode()).digest()[:3], "big")


def study_date(headers: Sequence[InstanceHeader]) -> date | None:
    """Return the Study Date of the first instance that states a proper one."""
    for header in headers:
        text = str(header.dataset.get("StudyDate") or "").strip()
        if len(text) == 8 and text.isdecimal():
            try:
                return date(int(text[:4]), int(text[4:6]), int(text[6:]))
            except ValueError:
                continue
    return None


def _any_followed(targets: Iterable[Target]) -> bool:
    return any(isinstance(target.prompt, PriorRecipe) for target in targets)


def _patient(header: InstanceHeader) -> tuple[str, str]:
    values = (str(header.dataset.get(keyword) or "").strip() for keyword in ("PatientID", "IssuerOfPatientID"))
    return next(values), next(values)


def _by_study(headers: Iterable[InstanceHeader]) -> Mapping[str, list[InstanceHeader]]:
    studies: dict[str, list[InstanceHeader]] = {}
    for header in headers:
        studies.setdefault(header.study_instance_uid, []).append(header)
    return studies


def _of_study(headers: Sequence[InstanceHeader], modality: str, then: date, age_days: int) -> Priors:
    # What was withheld from one study never prompts the next.
    objects = [header for header in headers if is_annotation_object(header) and not is_withheld_result(header)]
    images = [header for header in headers if not is_annotation_object(header)]
    annotations = read_annotations(objects, images)
    found: list[Prior] = []
    rejected = list(annotations.rejected)
    for uid, series in group_by_series(images).items():
        drawn = [one for one in annotations.found if uid in one.series_uids]
        if series[0].modality != modality or not drawn:
            continue
        try:
            volume = read_volume(judge_series(series))
        except RejectedInput as error:
            rejected.append(RejectedItem(sop_instance_uid=series[0].sop_instance_uid, item="series", code=error.code, reason=str(error)))
            continue
        found += [
            Prior(
                volume=volume,
                mask=mask,
                study_date=then,
                age_days=age_days,
                label=one.label,
                type=one.concept,
                origin=_origin(one),
            )
            for one, mask in masks_on(drawn, volume)
        ]
    return Priors(found=tuple(found), rejected=tuple(rejected))


def _origin(annotation: Annotation) -> PromptOrigin:
    return PromptOrigin(
        kind=annotation.source.kind,
        sop_instance_uid=annotation.source.sop_instance_uid,
        item=annotation.source.item,
        tracking_id=annotation.tracking_id,
        tracking_uid=annotation.tracking_uid,
        automatic=annotation.algorithm_type == "AUTOMATIC",
    )
