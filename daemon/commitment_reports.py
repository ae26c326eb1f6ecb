"""Storage commitment reports: what a destination promises, or denies, becomes the state of its deliveries.

A report comes on the association that asked for it (to the delivery process) or on one that the destination opens (to the
listener): both hand it to the same `ReportKeeper`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from daemon.chaos_points import reach
from daemon.errors import Transient
from daemon.store import Delivery, OutboxState, Store
from dicom_io.command_set import CommandStatus
from dicom_io.commitment import FAILURE_OUTCOME, FAILURE_WORDS, CommitmentReport, Keep, answer_report
from dicom_io.other_services import CommitmentMessage
from dicom_io.store_status import Outcome

LOG = logging.getLogger(__name__)


class ReportObserver(Protocol):
    """Hears of reports and of what they settled, for the audit trail and the metrics."""

    def reported(self, report: CommitmentReport) -> None:
        """A report came; what it settles is told next, unless a crash comes in between."""

    def delivered(self, delivery: Delivery) -> None:
        """The destination promised to keep it, and the store knows."""

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> None:
        """The destination does not have it: it is sent again."""

    def delivery_refused(self, delivery: Delivery, state: OutboxState, code: str, message: str) -> None:
        """The destination will never keep it: it is left out or quarantined."""


@dataclass(frozen=True, kw_only=True)
class ReportKeeper:
    """Makes reports durable; call it with each."""

    store: Store
    observer: ReportObserver

    def __call__(self, report: CommitmentReport) -> bool:
        """Keep a report; False where the store could not: the destination hears of a failure, and may report again."""
        reach("delivery.commitment-report-received")
        self.observer.reported(report)
        failed = {uid: consequence(report, uid) for uid in report.failed}
        try:
            settled = self.store.settle_report(report.transaction_uid, report.committed, failed)
        except Transient as error:
            LOG.warning("a storage commitment report could not be kept [%s] %s", error.code, error)
            return False
        reach("delivery.commitment-report-kept")
        if settled is None:
            LOG.warning("a storage commitment report names a transaction that is none of ours; it changes nothing")
            return True
        for delivery in settled.delivered:
            self.observer.delivered(delivery)
        for delivery, state in settled.failed:
            _, code, message = failed[delivery.sop_instance_uid]
            if state is OutboxState.PENDING:
                self.observer.delivery_failed(delivery, code, message)
            else:
                self.observer.delivery_refused(delivery, state, code, message)
        return True


def answer_message(message: CommitmentMessage, keep: Keep) -> int:
    """Return the DIMSE status that answers a storage commitment message at our port.

    Destinations report there what they promised; nobody may ask us for a promise, since we keep nothing for others.
    """
    return answer_report(message.data_set, keep) if message.is_report else int(CommandStatus.UNRECOGNIZED_OPERATION)


def consequence(report: CommitmentReport, sop_instance_uid: str) -> tuple[OutboxState, str, str]:
    """Return the state that an instance goes to which is not committed, with code and message."""
    reason = report.failed[sop_instance_uid]
    words = FAILURE_WORDS.get(reason, "a reason of no known meaning")
    message = f"expected the commitment of {sop_instance_uid}, got failure reason 0x{reason:04X} ({words})"
    if FAILURE_OUTCOME.get(reason, Outcome.TRANSIENT) is Outcome.TRANSIENT:
        return OutboxState.PENDING, "not-committed", f"{message}; it is sent again"
    return OutboxState.QUARANTINED, "commitment-denied", f"{message}; see the archive's log, then release it or cancel the job"
