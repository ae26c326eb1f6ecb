"""Which events the audit trail keeps, and what it says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from daemon.audit import Audit, open_audit
from daemon.audit_chain import AuditRecord, records, verify
from daemon.audit_observers import DeliveryAudit
from daemon.person import Person
from dicom_io.association_log import AssociationEvent, AssociationEventKind
from tests.component.store_site import FakeClock, claimed, new_site, queued, result, worker


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return open_audit(tmp_path / "audit", FakeClock())


def kept(folder: Path) -> list[AuditRecord]:
    assert verify(folder / "audit") is None
    return list(records(folder / "audit"))


def event(kind: AssociationEventKind, *, stored: int = 0) -> AssociationEvent:
    return AssociationEvent(kind=kind, calling_ae_title="SCANNER", called_ae_title="US", peer_address="127.0.0.1", stored=stored)


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        (AssociationEventKind.REJECTED, 0, ["association-rejected"]),
        (AssociationEventKind.RELEASED, 5, ["instances-received"]),
        (AssociationEventKind.ABORTED, 5, ["instances-received"]),
        (AssociationEventKind.STORE_FAILED, 0, ["store-failed"]),
        (AssociationEventKind.RELEASED, 0, []),
        (AssociationEventKind.ASSOCIATED, 0, []),
    ],
)
def test_an_association_is_recorded_if_it_led_to_something(
    audit: Audit, tmp_path: Path, kind: AssociationEventKind, stored: int, expected: list[str]
) -> None:
    audit.association(event(kind, stored=stored))
    found = kept(tmp_path)
    assert [record.event for record in found] == expected
    assert all(record.details["calling_ae_title"] == "SCANNER" and record.details["stored"] == stored for record in found)


def test_a_job_can_be_followed_from_its_queueing_to_its_delivery(audit: Audit, tmp_path: Path) -> None:
    site = new_site(tmp_path)
    audit.application_started()
    audit.job_queued(queued(site), 2)
    job = claimed(site)
    site.store.finish_with_results(job, [result(tmp_path)])
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    audit.delivery_failed(delivery, "peer-unreachable", "pacs: no connection")
    audit.delivery_begun(delivery)
    audit.stored_at_destination(delivery, "")
    audit.commitment_reported("2.25.7", [delivery.sop_instance_uid], {})
    audit.delivered(delivery)
    audit.application_stopped()
    found = kept(tmp_path)
    assert [record.event for record in found] == [
        "application-start",
        "job-queued",
        "delivery-failed",
        "delivery-begun",
        "stored-at-destination",
        "commitment-reported",
        "delivered",
        "application-stop",
    ]
    assert {record.details["job"] for record in found[1:-1] if "job" in record.details} == {job.id}
    assert found[3].details["sop_instance_uid"] == "2.25.1"


@pytest.mark.parametrize(("attempt", "is_recorded"), [(0, True), (1, True), (2, False), (3, True), (6, False), (7, True)])
def test_of_a_destination_that_is_down_for_days_the_trail_keeps_ever_rarer_records(
    audit: Audit, tmp_path: Path, attempt: int, is_recorded: bool
) -> None:
    site = new_site(tmp_path)
    queued(site)
    site.store.finish_with_results(claimed(site), [result(tmp_path)])
    (delivery,) = site.store.claim_deliveries(worker(), "pacs")
    DeliveryAudit(audit).delivery_failed(dataclasses.replace(delivery, attempt=attempt), "peer-unreachable", "pacs: no connection")
    assert bool(kept(tmp_path)) is is_recorded


def test_each_end_of_a_job_has_its_event_with_the_reason(audit: Audit, tmp_path: Path) -> None:
    job = queued(new_site(tmp_path))
    audit.job_skipped(job, ["rule ct: expected Modality CT, got MR"])
    audit.job_refused(job, "gantry-tilt", "12 degrees")
    audit.job_quarantined(job, "worker-died")
    audit.job_released(job, Person(way="status page", address="192.0.2.7", proof="token"))
    audit.job_cancelled(job)
    found = kept(tmp_path)
    assert [record.event for record in found] == ["job-skipped", "job-refused", "job-quarantined", "job-released", "job-cancelled"]
    assert found[0].details["reasons"] == ["rule ct: expected Modality CT, got MR"]
    assert found[1].details["code"] == "gantry-tilt"
    assert {name: found[3].details[name] for name in ("by", "address", "proof")} == {
        "by": "status page",
        "address": "192.0.2.7",
        "proof": "token",
    }
    assert "user" not in found[3].details, "the page knows no users"


@pytest.mark.parametrize(("trusted", "expected"), [(True, "weights-trusted"), (False, "weights-installed")])
def test_vouching_for_weights_oneself_is_an_event_of_its_own(audit: Audit, tmp_path: Path, trusted: bool, expected: str) -> None:
    audit.weights_installed(name="liver", sha256="ab", trusted=trusted)
    assert [record.event for record in kept(tmp_path)] == [expected]


def test_the_trail_of_a_conflict_names_both_the_uid_and_the_bytes(audit: Audit, tmp_path: Path) -> None:
    audit.instance_conflict(sop_instance_uid="1.2", sha256="cd", calling_ae_title="SCANNER")
    assert kept(tmp_path)[0].details == {"sop_instance_uid": "1.2", "sha256": "cd", "calling_ae_title": "SCANNER"}
