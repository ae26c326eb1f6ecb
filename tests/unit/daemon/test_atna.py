"""Every event of the trail that the standard has a message for becomes one that its schema accepts, and names the patient once."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import pytest
from lxml import etree
from pydicom.sr.codedict import codes

from daemon.atna import EVENTS, AuditSource, Patient, message_of
from daemon.audit import open_audit
from daemon.audit_chain import AuditRecord, records
from daemon.store import OutboxState
from dicom_io.association_log import AssociationEvent, AssociationEventKind
from tests.component.store_site import FakeClock, claimed, new_site, queued, result, worker

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit_schema") / "audit_message.rng"))
SOURCE = AuditSource(source_id="node-1", enterprise_site_id="north", ae_titles=("MEDSAM2D", "MEDSAM2D_STAT"))


def patient_of(study_instance_uid: str) -> Patient | None:
    return Patient(patient_id="PID-7", name="Phantom^One") if study_instance_uid == "1.2" else None


@pytest.fixture
def trail(tmp_path: Path) -> dict[str, AuditRecord]:
    """One record of every kind that has a message, made by the methods that the service calls."""
    audit = open_audit(tmp_path / "audit", FakeClock())
    site = new_site(tmp_path)
    audit.application_started()
    audit.association(
        AssociationEvent(
            kind=AssociationEventKind.REJECTED,
            calling_ae_title="STRANGER",
            called_ae_title="MEDSAM2D",
            peer_address="192.0.2.7",
            reason="calling AE title not recognised",
        )
    )
    audit.job_queued(queued(site), 2)
    site.store.finish_with_results(claimed(site), [result(tmp_path)])
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    audit.delivery_begun(delivery)
    audit.stored_at_destination(delivery, "")
    audit.delivery_failed(delivery, "peer-unreachable", "pacs: no connection")
    audit.delivery_refused(delivery, OutboxState.QUARANTINED, "object-refused", "pacs: 0xC000")
    audit.weights_installed(name="liver", sha256="ab" * 32, trusted=False)
    audit.weights_installed(name="liver", sha256="ab" * 32, trusted=True)
    audit.log_read(tmp_path / "audit")
    audit.application_stopped()
    return {record.event: record for record in records(tmp_path / "audit")}


def parsed(record: AuditRecord) -> etree._Element:
    message = message_of(record, SOURCE, patient_of)
    assert message is not None
    root = etree.fromstring(message)
    SCHEMA.assertValid(root)
    return root


def test_every_message_fits_the_schema(trail: dict[str, AuditRecord]) -> None:
    made = {event for event, record in trail.items() if message_of(record, SOURCE, patient_of) is not None}
    assert made == set(EVENTS) - {"segmentation-created"}  # whose record is made by the worker; it has the same shape
    for event in made:
        parsed(trail[event])
    created = parsed(dataclasses.replace(trail["job-queued"], event="segmentation-created"))
    assert created.xpath("EventIdentification/EventID/@csd-code") == ["110103"]


def test_the_schema_refuses_what_lacks_a_part(trail: dict[str, AuditRecord]) -> None:
    root = parsed(trail["delivery-begun"])
    for part in root.findall("ActiveParticipant"):
        root.remove(part)
    assert not SCHEMA.validate(root)


def test_every_code_is_the_standards_for_its_meaning(trail: dict[str, AuditRecord]) -> None:
    known = {str(code.value): str(code.meaning) for code in (getattr(codes.DCM, name) for name in codes.DCM.dir())}
    for record in trail.values():
        if record.event in EVENTS:
            for coded in parsed(record).iter():
                if coded.get("codeSystemName") == "DCM":
                    assert known[str(coded.get("csd-code"))] == coded.get("originalText")


def test_a_transfer_names_source_destination_study_instance_and_patient(trail: dict[str, AuditRecord]) -> None:
    root = parsed(trail["stored-at-destination"])
    roles = {part.find("RoleIDCode").get("csd-code"): part.get("UserID") for part in root.findall("ActiveParticipant")}  # type: ignore[union-attr]
    assert roles == {"110153": "medsam2d@node-1", "110152": "pacs"}
    study, patient = root.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2"
    assert study.find("ParticipantObjectDescription/SOPClass/Instance").get("UID") == "2.25.1"  # type: ignore[union-attr]
    assert (patient.get("ParticipantObjectID"), patient.findtext("ParticipantObjectName")) == ("PID-7", "Phantom^One")


@pytest.mark.parametrize(("event", "outcome"), [("stored-at-destination", "0"), ("delivery-failed", "4"), ("delivery-quarantined", "8")])
def test_success_and_failure_are_separate_messages(trail: dict[str, AuditRecord], event: str, outcome: str) -> None:
    identification = parsed(trail[event]).find("EventIdentification")
    assert identification is not None
    assert identification.get("EventOutcomeIndicator") == outcome
    assert (identification.find("EventOutcomeDescription") is None) is (outcome == "0")


def test_an_alert_describes_what_it_is_about(trail: dict[str, AuditRecord]) -> None:
    root = parsed(trail["association-rejected"])
    detail = root.find("ParticipantObjectIdentification/ParticipantObjectDetail")
    assert detail is not None
    assert base64.b64decode(str(detail.get("value"))).decode() == "calling AE title not recognised"
    assert [part.get("NetworkAccessPointID") for part in root.findall("ActiveParticipant")] == [None, "192.0.2.7"]


def test_text_that_xml_cannot_hold_does_no_harm(trail: dict[str, AuditRecord]) -> None:
    record = trail["association-rejected"]
    assert (
        parsed(dataclasses.replace(record, details={**record.details, "calling_ae_title": "A\x01<&>"}))
        .findall("ActiveParticipant")[1]
        .get("UserID")
        == "A?<&>"
    )


def test_what_the_standard_has_no_message_for_stays_in_the_trail(tmp_path: Path) -> None:
    audit = open_audit(tmp_path / "audit", FakeClock())
    job = queued(new_site(tmp_path))
    assert message_of(audit.job_skipped(job, ["no rule"]), SOURCE, patient_of) is None
