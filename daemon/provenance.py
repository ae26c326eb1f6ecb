"""Who made a result, from what: identities that derive from content.

A job's key is a hash of everything that decides the masks: instances, decoded voxels, geometry, rule, weights and prompts.
The UIDs of its objects derive from that key, the header that patient and study are copied from, the masks, and all that an
object says of itself: different content never shares a UID, and a rerun gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RE_VALID_UID

from daemon.config import ResultSettings
from daemon.inference import SegmentedObjects
from daemon.mask_shelf import canonical
from daemon.request import SeriesRequest
from daemon.version import ALGORITHM, MODEL_NAME, version
from dicom_io.segmentation import ResultIdentity, SegmentDescription
from dicom_io.segmentation_source import SourceHeaders
from dicom_io.uids import MAXIMUM_UID_LENGTH, derive_uid
from dicom_io.volume import Volume
from rules.match import Plan
from rules.prompts.generate import PromptedObject

AI_MARK = "AI result, not for diagnosis"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that identifies a result and says where it comes from; this is what the audit record holds."""

    job_key: str
    rule_name: str
    rule_hash: str
    weights: tuple[tuple[str, str], ...]
    device: str
    precision: str
    batch: str
    source_sop_instance_uids: tuple[str, ...]
    annotation_sop_instance_uids: tuple[str, ...]
    """Of the annotations and earlier segmentations that prompts came from."""
    segments: tuple[SegmentDescription, ...]
    """Numbered through from 1, in object order; each object numbers its own anew."""
    algorithm_version: str
    content: str
    """SHA-256 over the key, the masks, the source's header and whatever else the objects are made of."""


def trace(
    request: SeriesRequest, plan: Plan, volume: Volume, objects: SegmentedObjects, settings: ResultSettings, headers: SourceHeaders
) -> Provenance:
    """Return the provenance of what `objects` will become."""
    key = job_key(volume, plan.rule_hash, objects)
    segments = tuple(
        describe_segment(number, item, request.series.series_instance_uid, plan, settings)
        for number, item in enumerate(objects.prompted, start=1)
    )
    header = digest_of_header(headers.first)
    said = (key, digest_of_masks(objects), header, request.created.isoformat(), version(), repr(segments), *_said_of_arrival(request))
    return Provenance(
        job_key=key,
        rule_name=plan.rule.name,
        rule_hash=plan.rule_hash,
        weights=objects.weights,
        device=objects.device,
        precision=objects.precision,
        batch=objects.batch,
        source_sop_instance_uids=tuple(source.sop_instance_uid for source in volume.sent),
        annotation_sop_instance_uids=tuple(sorted({item.origin.sop_instance_uid for item in objects.prompted if item.origin is not None})),
        segments=segments,
        algorithm_version=version(),
        content=hashlib.sha256(json.dumps(said).encode()).hexdigest(),
    )


def trace_refusal(request: SeriesRequest, plan: Plan, reasons: Sequence[str], headers: SourceHeaders) -> Provenance:
    """Return the provenance of a report that says why nothing was segmented: its key holds the instances, the rule and the reasons."""
    instances = sorted(uid for _, uid in headers.instances)
    key = hashlib.sha256(json.dumps([instances, plan.rule_hash, list(reasons)]).encode()).hexdigest()
    said = (key, digest_of_header(headers.first), request.created.isoformat(), version(), *_said_of_arrival(request))
    return Provenance(
        job_key=key,
        rule_name=plan.rule.name,
        rule_hash=plan.rule_hash,
        weights=(),
        device="",
        precision="",
        batch="",
        source_sop_instance_uids=tuple(instances),
        annotation_sop_instance_uids=(),
        segments=(),
        algorithm_version=version(),
        content=hashlib.sha256(json.dumps(said).encode()).hexdigest(),
    )


def identify(
    provenance: Provenance, request: SeriesRequest, settings: ResultSettings, number: int, label: str, *content: str
) -> ResultIdentity:
    """Return the identity of the `number`-th object (from 0) of a result, which holds `content` besides what all share.

    `label`: Content Label, at most 16 of A-Z, 0-9, space and underscore.
    """
    root = settings.uid_root
    said = settings.model_dump_json(exclude={"maximum_frames", "maximum_mib"})
    entropy = (provenance.content, said, str(number), label, *content)
    parameters = {
        "rule": provenance.rule_name,
        "rule sha256": provenance.rule_hash,
        **{f"weights {name}": f"sha256:{digest}" for name, digest in provenance.weights},
        "precision": provenance.precision,
        **{f"prompt {count}": uid for count, uid in enumerate(provenance.annotation_sop_instance_uids, start=1)},
        **_arrival_parameters(request),
    }
    return ResultIdentity(
        series_instance_uid=derive_uid(root, "series", *entropy),
        sop_instance_uid=derive_uid(root, "instance", *entropy),
        dimension_organization_uid=derive_uid(root, "dimensions", *entropy),
        series_number=settings.series_number + number,
        # The mark comes first: what is cut off at 64 characters (LO) is the end of the rule's name.
        series_description=f"{settings.series_description}{_partial_mark(request)}: {provenance.rule_name}"[:64],
        content_label=label,
        content_description="; ".join((AI_MARK, *request.remarks))[:64],
        content_creator_name=settings.content_creator_name,
        manufacturer=settings.manufacturer,
        manufacturer_model_name=MODEL_NAME,
        software_versions=provenance.algorithm_version,
        device_serial_number=settings.device_serial_number,
        algorithm_name=ALGORITHM,
        algorithm_version=provenance.algorithm_version,
        algorithm_uid=derive_uid(root, "algorithm", ALGORITHM, provenance.algorithm_version, json.dumps(provenance.weights)),
        algorithm_parameters={name: value for name, value in parameters.items() if value},
        created=request.created,
    )


def describe_segment(number: int, item: PromptedObject, series_uid: str, plan: Plan, settings: ResultSettings) -> SegmentDescription:
    """Return how a prompted object is described in results; its tracking UID stays the same as long as series and rule do."""
    target = item.target
    return SegmentDescription(
        number=number,
        label=item.label,
        category=target.category,
        type=target.type,
        laterality=item.laterality,
        region=target.region,
        # A person's drawing led to it (PS3.3 C.8.20.2), and it keeps what that drawing was tracked by.
        algorithm_type="AUTOMATIC" if item.origin is None or item.origin.automatic else "SEMIAUTOMATIC",
        tracking_id=(item.origin.tracking_id[:64] if item.origin else "") or item.label,
        tracking_uid=_tracked_by(item) or tracking_uid(settings, series_uid, plan, *_mark(item)),
        color_rgb=target.color,
    )


def tracking_uid(settings: ResultSettings, series_uid: str, plan: Plan, *mark: str) -> str:
    """Return the UID that names a finding of a series and rule in all objects of a result; `mark` tells it from others."""
    return derive_uid(settings.uid_root, "tracking", series_uid, plan.rule.name, *mark)


def _tracked_by(item: PromptedObject) -> str:
    """The annotation's tracking UID; empty where it has none that DICOM allows."""
    uid = item.origin.tracking_uid if item.origin else ""
    return uid if len(uid) <= MAXIMUM_UID_LENGTH and re.fullmatch(RE_VALID_UID, uid) else ""


def _mark(item: PromptedObject) -> tuple[str, str]:
    """What tells this object from others of the same rule and series: the drawing that prompted it, else its label and number."""
    return (item.label, str(item.object_id)) if item.origin is None else (item.origin.sop_instance_uid, item.origin.item)


def job_key(volume: Volume, rule_hash: str, objects: SegmentedObjects) -> str:
    """Return the SHA-256 over everything that decides the masks: instances, voxels, geometry, rule, weights and prompts."""
    digest = hashlib.sha256()
    for text in sorted(source.sop_instance_uid for source in volume.sent):
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
    digest = hashlib.sha256()
    for result in objects.results:
        digest.update(str(result.mask.shape).encode())
        digest.update(np.packbits(result.mask).tobytes())
    return digest.hexdigest()


def digest_of_header(header: Dataset) -> str:
    """Return the SHA-256 of a header: patient, study and all else that results copy; a correction makes another object."""
    digest = hashlib.sha256()
    for element in header:
        digest.update(f"{element.tag} {element.VR} {element.value!r}\n".encode())
    return digest.hexdigest()


def _said_of_arrival(request: SeriesRequest) -> tuple[str, ...]:
    """What the objects say of their series' arrival; nothing for a whole series that replaces no earlier result."""
    return tuple(f"{name}={value}" for name, value in _arrival_parameters(request).items())


def _arrival_parameters(request: SeriesRequest) -> dict[str, str]:
    partial = {"partial": request.partial_reason} if request.partial_reason else {}
    replaced = {f"replaces {number}": earlier.sop_instance_uid for number, earlier in enumerate(request.predecessors, start=1)}
    return {**partial, **replaced}


def _partial_mark(request: SeriesRequest) -> str:
    return " [PARTIAL]" if request.partial_reason else ""
