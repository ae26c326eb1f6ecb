"""The audit trail listens: associations, receipts and deliveries become its records."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.audit import Audit
from daemon.spool import Recording, SpooledInstance
from daemon.store import Delivery, OutboxState
from dicom_io.association_log import AssociationEvent
from dicom_io.commitment import CommitmentReport
from dicom_io.received import StoreCommand, StoreOutcome


@dataclass(frozen=True)
class AssociationAudit:
    """Records what each association led to."""

    audit: Audit

    def __call__(self, event: AssociationEvent) -> None:
        """Hear of an association."""
        self.audit.association(event)


@dataclass(frozen=True)
class ReceiptAudit:
    """Records instances that contradict what was received before; plain receipts are counted with their association."""

    audit: Audit

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        """Hear that an instance was made durable."""
        if recording is Recording.CONFLICT:
            self.audit.instance_conflict(
                sop_instance_uid=instance.sop_instance_uid, sha256=instance.sha256, calling_ae_title=instance.calling_ae_title
            )

    def refused(self, command: StoreCommand, outcome: StoreOutcome, error: Exception) -> None:
        """Refusals are counted with their association; their reasons go to the log."""


@dataclass(frozen=True)
class DeliveryAudit:
    """Records what each destination was sent and answered."""

    audit: Audit

    def sending(self, delivery: Delivery) -> None:
        """Hear that its bytes go out next."""
        self.audit.delivery_begun(delivery)

    def stored(self, delivery: Delivery, remark: str) -> None:
        """Hear that it is stored."""
        self.audit.stored_at_destination(delivery, remark)

    def reported(self, report: CommitmentReport) -> None:
        """Hear of a storage commitment report, whatever it settles."""
        self.audit.commitment_reported(report.transaction_uid, sorted(report.committed), report.failed)

    def delivered(self, delivery: Delivery) -> None:
        """Hear of a confirmation."""
        self.audit.delivered(delivery)

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> None:
        """Hear of a failure; of a destination that is down for days only the 1st, 2nd, 4th, 8th ... is recorded."""
        if (delivery.attempt + 1) & delivery.attempt == 0:
            self.audit.delivery_failed(delivery, code, message)

    def delivery_refused(self, delivery: Delivery, state: OutboxState, code: str, message: str) -> None:
        """Hear that it will never be taken."""
        self.audit.delivery_refused(delivery, state, code, message)
