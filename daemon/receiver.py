"""The receiver: what becomes of one C-STORE: its bytes go to the spool, its row to the store, and only then comes success."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from daemon.errors import Transient
from daemon.spool import Recording, Spool, SpooledInstance
from dicom_io.errors import DataSetMismatch, RejectedInput
from dicom_io.received import ReceivedInstance, StoreOutcome

LOG = logging.getLogger(__name__)

LOCKS = 256
"""More than the associations that run at once, so that instances seldom wait for one another."""

Record = Callable[[SpooledInstance], Recording]
"""Commits the row of an instance; `InstanceBook.record_instance`."""

OUTCOME_OF: tuple[tuple[type[Exception], StoreOutcome], ...] = (
    (DataSetMismatch, StoreOutcome.DATA_SET_MISMATCH),
    (RejectedInput, StoreOutcome.CANNOT_UNDERSTAND),
    (Transient, StoreOutcome.OUT_OF_RESOURCES),
    (OSError, StoreOutcome.OUT_OF_RESOURCES),
    (SQLAlchemyError, StoreOutcome.OUT_OF_RESOURCES),
)
"""How each failure answers a C-STORE: the first row whose type fits. What no row names is a bug and goes on to the listener."""

EXPECTED = tuple(kind for kind, _ in OUTCOME_OF)


class InstanceBook(Protocol):
    """The store's table of instances."""

    def record_instance(self, instance: SpooledInstance) -> Recording:
        """Commit the row of an instance."""


class ReceiptObserver(Protocol):
    """Hears of every C-STORE, for the audit trail and the metrics."""

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        """An instance was made durable; it is acknowledged next."""

    def refused(self, received: ReceivedInstance, outcome: StoreOutcome, error: Exception) -> None:
        """A C-STORE was answered with a failure; nothing of it was kept."""


class SilentObserver:
    """Hears and says nothing."""

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        """Do nothing."""

    def refused(self, received: ReceivedInstance, outcome: StoreOutcome, error: Exception) -> None:
        """Do nothing."""


class Receiver:
    """The sink of the listener: `Listener(settings, receiver.receive, observe)`. Safe to call from many threads."""

    def __init__(self, spool: Spool, record: Record, observer: ReceiptObserver | None = None) -> None:
        self._spool = spool
        self._record = record
        self._observer = observer or SilentObserver()
        self._locks = tuple(threading.Lock() for _ in range(LOCKS))

    def receive(self, received: ReceivedInstance) -> StoreOutcome:
        """Keep one instance and say how its C-STORE is answered; success means file and row are both durable.

        An error that `OUTCOME_OF` does not name is raised, after the file was removed.
        """
        try:
            # One instance at a time for each UID: a file that one association discards must not be another's acknowledged one.
            with self._locks[hash(received.sop_instance_uid) % LOCKS]:
                instance = self._spool.write(received)
                recording = self._record_or_discard(instance)
        except EXPECTED as error:
            outcome = next(outcome for kind, outcome in OUTCOME_OF if isinstance(error, kind))
            LOG.warning(
                "a C-STORE was refused: %s", error, extra={"action": "store_refused", "calling_ae_title": received.calling_ae_title}
            )
            self._observer.refused(received, outcome, error)
            return outcome
        self._observer.kept(instance, recording)
        return StoreOutcome.SUCCESS

    def _record_or_discard(self, instance: SpooledInstance) -> Recording:
        """Commit the row; where that fails, take back the file if this receipt wrote it."""
        recorded = False
        try:
            recording = self._record(instance)
            recorded = True
            return recording
        finally:
            if not recorded and instance.newly_written:
                self._spool.discard(instance)
