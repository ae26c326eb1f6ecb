"""Who made a result, from what: the identity of a SEG, derived from its content.

A job's key is a hash of everything that decides the masks: instances, decoded voxels, geometry, rule, weights and prompts.
The result's UIDs derive from that key, the patient and study attributes that are copied into the object, and a digest of
the masks: different content never shares a UID, and a rerun gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np
from pydicom.uid import RE_VALID_UID

from daemon.config import ResultSettings
from daemon.inference import SegmentedObjects
from daemon.mask_shelf import canonical
from daemon.request import SeriesRequest
from daemon.version import ALGORITHM, MODEL_NAME, version
from dicom_io.segmentation import ResultIdentity, SegmentDescription
from dicom_io.series import Series
from dicom_io.uids import MAXIMUM_UID_LENGTH, derive_uid
from dicom_io.volume import Volume
from rules.match import Plan
from rules.prompts.generate import PromptedObject

COPIED_ATTRIBUTES = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
)
"""Patient and study attributes that a result copies from its source: a correction of one makes another object."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that identifies a result and says where it comes from; this is what the audit record holds."""

    job_key: str
    rule_name: str
    rule_hash: str
    weights: tuple[tuple[str, str], ...]
    device: str
    precision: str
    source_sop_instance_uids: tuple[str, ...]
    annotation_sop_instance_uids: tuple[str, ...]
    """Of the objects that prompts were drawn in; none for results that no person had a part in."""
    segments: tuple[SegmentDescription, ...]
    identity: ResultIdentity


def identify(request: SeriesRequest, plan: Plan, volume: Volume, objects: SegmentedObjects, settings: ResultSettings) -> Provenance:
    """Return the provenance of the SEG that `objects` will become."""
    key = job_key(volume, plan.rule_hash, objects)
    entropy = (key, _copied(request.series), digest_of_masks(objects), request.created.isoformat(), *_said_of_arrival(request))
    root = settings.uid_root
    segments = tuple(
        _segment(number, item, (root, request.series.series_instance_uid, plan.rule.name))
        for number, item in enumerate(objects.prompted, start=1)
    )
    identity = ResultIdentity(
        series_instance_uid=derive_uid(root, "series", *entropy),
        sop_instance_uid=derive_uid(root, "instance", *entropy),
        dimension_organization_uid=derive_uid(root, "dimensions", *entropy),
        series_number=settings.series_number,
        # The mark comes first: what is cut off at 64 characters (LO) is the end of the rule's name.
        series_description=f"{settings.series_description}{_partial_mark(request)}: {plan.rule.name}"[:64],
        content_label="AI_SEGMENTATION",
        content_description="; ".join(("AI result, not for diagnosis", *request.remarks))[:64],
        content_creator_name=settings.content_creator_name,
        manufacturer=settings.manufacturer,
        manufacturer_model_name=MODEL_NAME,
        software_versions=version(),
        device_serial_number=settings.device_serial_number,
        algorithm_name=ALGORITHM,
        algorithm_version=version(),
        algorithm_parameters=_parameters(plan, objects) | _arrival_parameters(request),
        created=request.created,
    )
    return Provenance(
        job_key=key,
        rule_name=plan.rule.name,
        rule_hash=plan.rule_hash,
        weights=objects.weights,
        device=objects.device,
        precision=objects.precision,
        source_sop_instance_uids=tuple(source.sop_instance_uid for source in volume.sources),
        annotation_sop_instance_uids=_annotation_objects(objects),
        segments=segments,
        identity=identity,
    )


def job_key(volume: Volume, rule_hash: str, objects: SegmentedObjects) -> str:
    """Return the SHA-256 over everything that decides the masks: instances, voxels, geometry, rule, weights and prompts."""
    digest = hashlib.sha256()
    for text in sorted(source.sop_instance_uid for source in volume.sources):
        digest.update(text.encode() + b"\n")
    digest.update(np.ascontiguousarray(volume.voxels).tobytes())
    digest.update(np.ascontiguousarray(volume.affine).tobytes())
    digest.update(rule_hash.encode())
    digest.update(json.dumps(objects.weights).encode())
    for item in objects.prompted:
        for prompt in item.prompts:
            digest.update(canonical(prompt))
        if item.origin is not None:
            origin = item.origin
            digest.update(json.dumps([origin.sop_instance_uid, origin.item, origin.tracking_id, origin.tracking_uid]).encode())
    return digest.hexdigest()


def digest_of_masks(objects: SegmentedObjects) -> str:
    """Return the SHA-256 of the masks, one bit a voxel."""
    digest = hashlib.sha256(str(objects.masks.shape).encode())
    digest.update(np.packbits(objects.masks).tobytes())
    return digest.hexdigest()


def _said_of_arrival(request: SeriesRequest) -> tuple[str, ...]:
    """What the object says of its series' arrival; nothing for a whole series that replaces no earlier result."""
    return tuple(f"{name}={value}" for name, value in _arrival_parameters(request).items())


def _arrival_parameters(request: SeriesRequest) -> dict[str, str]:
    partial = {"partial": request.partial_reason} if request.partial_reason else {}
    replaced = {f"replaces {number}": earlier.sop_instance_uid for number, earlier in enumerate(request.predecessors, start=1)}
    return {**partial, **replaced}


def _partial_mark(request: SeriesRequest) -> str:
    return " [PARTIAL]" if request.partial_reason else ""


def _copied(series: Series) -> str:
    return json.dumps({keyword: series.attributes.get(keyword, "") for keyword in COPIED_ATTRIBUTES}, sort_keys=True)


def _segment(number: int, item: PromptedObject, root_series_rule: tuple[str, str, str]) -> SegmentDescription:
    root, *entropy = root_series_rule
    target = item.target
    return SegmentDescription(
        number=number,
        label=item.label,
        category=target.category,
        type=target.type,
        laterality=target.laterality,
        region=target.region,
        # A person's drawing led to it (PS3.3 C.8.20.2), and it keeps what that drawing was tracked by.
        algorithm_type="AUTOMATIC" if item.origin is None or item.origin.automatic else "SEMIAUTOMATIC",
        tracking_id=(item.origin.tracking_id[:64] if item.origin else "") or item.label,
        tracking_uid=_tracked_by(item) or derive_uid(root, "tracking", *entropy, *_mark(item)),
        color_rgb=target.color,
    )


def _tracked_by(item: PromptedObject) -> str:
    """The annotation's tracking UID; empty where it has none that DICOM allows."""
    uid = item.origin.tracking_uid if item.origin else ""
    return uid if len(uid) <= MAXIMUM_UID_LENGTH and re.fullmatch(RE_VALID_UID, uid) else ""


def _mark(item: PromptedObject) -> tuple[str, str]:
    """What tells this object from others of the same rule and series: the drawing that prompted it, else its label and number."""
    return (item.label, str(item.object_id)) if item.origin is None else (item.origin.sop_instance_uid, item.origin.item)


def _parameters(plan: Plan, objects: SegmentedObjects) -> dict[str, str]:
    weights = {f"weights {name}": f"sha256:{digest}" for name, digest in objects.weights}
    drawn = {f"prompt {number}": uid for number, uid in enumerate(_annotation_objects(objects), start=1)}
    return {"rule": plan.rule.name, "rule sha256": plan.rule_hash, **weights, "precision": objects.precision, **drawn}


def _annotation_objects(objects: SegmentedObjects) -> tuple[str, ...]:
    return tuple(sorted({item.origin.sop_instance_uid for item in objects.prompted if item.origin is not None}))
