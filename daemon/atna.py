"""Audit messages of PS3.15 section A.5: what our trail says of an event becomes the XML that audit repositories read.

Pure: a record and who we are go in, a message or nothing comes out. The trail holds no patient; a message about a study names
the patient where `patient_of` knows it (from the instances in the spool).
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon.audit_chain import AuditRecord, Json

Element = ElementTree.Element
Details = Mapping[str, Json]

NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"
IP_ADDRESS, MACHINE_NAME = "2", "1"


@dataclass(frozen=True, kw_only=True)
class AuditSource:
    """Who reports: the fields of AuditSourceIdentification, and our own participant."""

    source_id: str
    """Unique within the enterprise, such as the host's name."""
    enterprise_site_id: str = ""
    ae_titles: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Whom a study is about."""

    patient_id: str
    name: str


PatientOf = Callable[[str], Patient | None]
"""Looks a Study Instance UID up; None where nothing of the study is kept any longer."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """How one event of the trail is reported (PS3.15 section A.5.3)."""

    code: str
    """EventID; all codes are of scheme DCM."""
    meaning: str
    action: str
    """C create, R read, U update, D delete, E execute."""
    outcome: str
    type: tuple[str, str] | None
    """EventTypeCode and its meaning."""
    participants: Callable[[AuditSource, Details], list[Element]]
    objects: Callable[[Details, PatientOf], list[Element]]


def message_of(record: AuditRecord, source: AuditSource, patient_of: PatientOf) -> bytes | None:
    """Return the AuditMessage of a record as UTF-8 XML, None for an event that the standard has no message for."""
    event = EVENTS.get(record.event)
    if event is None:
        return None
    message = Element("AuditMessage")
    identification = ElementTree.SubElement(
        message, "EventIdentification", EventActionCode=event.action, EventDateTime=record.at, EventOutcomeIndicator=event.outcome
    )
    identification.append(_coded("EventID", event.code, event.meaning))
    if event.type is not None:
        identification.append(_coded("EventTypeCode", *event.type))
    if event.outcome != SUCCESS:
        why = _text(record.details, "code") or _text(record.details, "reason")
        ElementTree.SubElement(identification, "EventOutcomeDescription").text = why
    message.extend(event.participants(source, record.details))
    site = {"AuditEnterpriseSiteID": source.enterprise_site_id} if source.enterprise_site_id else {}
    reporter = ElementTree.SubElement(message, "AuditSourceIdentification", {"AuditSourceID": source.source_id, **site})
    ElementTree.SubElement(reporter, "AuditSourceTypeCode", {"csd-code": "4"})  # application server process
    message.extend(event.objects(record.details, patient_of))
    written: bytes = ElementTree.tostring(message, encoding="utf-8", xml_declaration=True)
    return written


def _us(source: AuditSource, role: tuple[str, str], *, requestor: bool) -> Element:
    titles = {"AlternativeUserID": f"AETITLES={';'.join(source.ae_titles)}"} if source.ae_titles else {}
    participant = Element("ActiveParticipant", {"UserID": f"medsam2d@{source.source_id}", "UserIsRequestor": _boolean(requestor), **titles})
    participant.append(_coded("RoleIDCode", *role))
    return participant


def _other(user: str, role: tuple[str, str] | None, *, requestor: bool, address: str = "") -> Element:
    access = {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": IP_ADDRESS} if address else {}
    participant = Element("ActiveParticipant", {"UserID": user or "unknown", "UserIsRequestor": _boolean(requestor), **access})
    if role is not None:
        participant.append(_coded("RoleIDCode", *role))
    return participant


APPLICATION, SOURCE, DESTINATION = ("110150", "Application"), ("110153", "Source Role ID"), ("110152", "Destination Role ID")


def _application(source: AuditSource, details: Details) -> list[Element]:
    return [_us(source, APPLICATION, requestor=False)]


def _received(source: AuditSource, details: Details) -> list[Element]:
    return [
        _other(_text(details, "calling_ae_title"), SOURCE, requestor=True),
        _us(source, DESTINATION, requestor=False),
    ]


def _sent(source: AuditSource, details: Details) -> list[Element]:
    return [
        _us(source, SOURCE, requestor=True),
        _other(_text(details, "destination"), DESTINATION, requestor=False),
    ]


def _turned_away(source: AuditSource, details: Details) -> list[Element]:
    peer = _other(_text(details, "calling_ae_title"), None, requestor=True, address=_text(details, "peer_address"))
    return [_us(source, APPLICATION, requestor=False), peer]


def _by_a_person(source: AuditSource, details: Details) -> list[Element]:
    return [_us(source, APPLICATION, requestor=False), _other(f"uid {_text(details, 'user')}", None, requestor=True)]


def _the_log(details: Details, patient_of: PatientOf) -> list[Element]:
    return [_object(_text(details, "folder"), "2", "13", ("12", "URI", "RFC-3881"), name="Security Audit Log")]


def _nothing(details: Details, patient_of: PatientOf) -> list[Element]:
    return []


def _study(details: Details, patient_of: PatientOf) -> list[Element]:
    """The study, with the instances of ours that it is about, and its patient (PS3.15 table A.5.3.7-1)."""
    uid = _text(details, "study_instance_uid")
    if not uid:
        return []
    study = _object(uid, "2", "3", ("110180", "Study Instance UID"), name="study")
    description = ElementTree.SubElement(study, "ParticipantObjectDescription")
    instance = _text(details, "sop_instance_uid")
    sop_class = ElementTree.SubElement(description, "SOPClass", NumberOfInstances=_text(details, "instances") or "1")
    if instance:
        ElementTree.SubElement(sop_class, "Instance", UID=instance)
    patient = patient_of(uid)
    if patient is None:
        return [study]
    return [study, _object(patient.patient_id or "unknown", "1", "1", ("2", "Patient Number", "RFC-3881"), name=patient.name or "unknown")]


def _alert(details: Details, patient_of: PatientOf) -> list[Element]:
    """What an alert is about, with its description (PS3.15 table A.5.3.11-1)."""
    subject = _text(details, "peer_address") or _text(details, "name") or "medsam2d"
    found = _object(subject, "2", "13", ("110182", "Node ID"), name=subject)
    text = _text(details, "reason") or f"weights {_text(details, 'name')} with SHA-256 {_text(details, 'sha256')}"
    value = base64.b64encode(text.encode()).decode()
    found.append(Element("ParticipantObjectDetail", type="Alert Description", value=value))
    return [found]


def _object(identifier: str, type_code: str, role: str, id_type: tuple[str, ...], *, name: str) -> Element:
    codes = {"ParticipantObjectTypeCode": type_code, "ParticipantObjectTypeCodeRole": role}
    found = Element("ParticipantObjectIdentification", {"ParticipantObjectID": identifier, **codes})
    found.append(_coded("ParticipantObjectIDTypeCode", *id_type))
    ElementTree.SubElement(found, "ParticipantObjectName").text = name
    return found


def _coded(tag: str, code: str, meaning: str, scheme: str = "DCM") -> Element:
    return Element(tag, {"csd-code": code, "codeSystemName": scheme, "originalText": meaning})


def _text(details: Details, name: str) -> str:
    """One detail as text that XML 1.0 can hold."""
    value = details.get(name)
    return "" if value is None else NOT_IN_XML.sub("?", str(value))


def _boolean(value: bool) -> str:  # noqa: FBT001  # it is the value that is spelled
    return "true" if value else "false"


def _activity(type_code: str, meaning: str) -> Event:
    kind = (type_code, meaning)
    return Event(
        code="110100",
        meaning="Application Activity",
        action="E",
        outcome=SUCCESS,
        type=kind,
        participants=_application,
        objects=_nothing,
    )


def _instances(code: str, meaning: str, action: str, outcome: str, participants: Callable[[AuditSource, Details], list[Element]]) -> Event:
    return Event(code=code, meaning=meaning, action=action, outcome=outcome, type=None, participants=participants, objects=_study)


def _security(type_code: str, meaning: str, outcome: str, participants: Callable[[AuditSource, Details], list[Element]]) -> Event:
    return Event(
        code="110113",
        meaning="Security Alert",
        action="E",
        outcome=outcome,
        type=(type_code, meaning),
        participants=participants,
        objects=_alert,
    )


TRANSFERRED, BEGIN, ACCESSED = (
    ("110104", "DICOM Instances Transferred"),
    ("110102", "Begin Transferring DICOM Instances"),
    ("110103", "DICOM Instances Accessed"),
)

EVENTS: Mapping[str, Event] = {
    "application-start": _activity("110120", "Application Start"),
    "application-stop": _activity("110121", "Application Stop"),
    "job-queued": _instances(*TRANSFERRED, "C", SUCCESS, _received),
    "segmentation-created": _instances(*ACCESSED, "C", SUCCESS, _application),
    "delivery-begun": _instances(*BEGIN, "E", SUCCESS, _sent),
    "stored-at-destination": _instances(*TRANSFERRED, "C", SUCCESS, _sent),
    "delivery-failed": _instances(*TRANSFERRED, "C", MINOR_FAILURE, _sent),
    "delivery-quarantined": _instances(*TRANSFERRED, "C", SERIOUS_FAILURE, _sent),
    "audit-log-read": Event(
        code="110101",
        meaning="Audit Log Used",
        action="R",
        outcome=SUCCESS,
        type=None,
        participants=_by_a_person,
        objects=_the_log,
    ),
    "association-rejected": _security("110126", "Node Authentication", MINOR_FAILURE, _turned_away),
    "weights-installed": _security("110131", "Software Configuration", SUCCESS, _by_a_person),
    "weights-trusted": _security("110131", "Software Configuration", SUCCESS, _by_a_person),
}
"""Event of our trail -> its message. A series is reported when it is complete (`job-queued`), as one message of one study, which an
association is not; what has no message in the standard (skips, refusals, releases) stays in the trail."""
