"""The receiver: what becomes of one C-STORE: its bytes go to the spool, its row to the store, and only then comes success."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from daemon.draft import Draft, FinishedDraft, InstanceTooLarge
from daemon.errors import Transient
from daemon.group_commit import GroupCommit, RecordAll
from daemon.spool import Recording, Spool, SpooledInstance
from dicom_io.errors import DataSetMismatch, RejectedInput
from dicom_io.received import Deposit, Fragment, ReceivedInstance, StoreCommand, StoreOutcome

LOG = logging.getLogger(__name__)

OUTCOME_OF: tuple[tuple[type[Exception], StoreOutcome], ...] = (
    (DataSetMismatch, StoreOutcome.DATA_SET_MISMATCH),
    (InstanceTooLarge, StoreOutcome.OUT_OF_RESOURCES),
    (RejectedInput, StoreOutcome.CANNOT_UNDERSTAND),
    (Transient, StoreOutcome.OUT_OF_RESOURCES),
    (OSError, StoreOutcome.OUT_OF_RESOURCES),
    (SQLAlchemyError, StoreOutcome.OUT_OF_RESOURCES),
)
"""How each failure answers a C-STORE: the first row whose type fits. What no row names is a bug and goes on to the listener."""

EXPECTED = tuple(kind for kind, _ in OUTCOME_OF)


Vet = Callable[[FinishedDraft], None]
"""Raises what speaks against a complete instance that the spool does not hold yet (the size of its study, say)."""


class ReceiptObserver(Protocol):
    """Hears of every C-STORE, for the audit trail and the metrics."""

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        """An instance was made durable; it is acknowledged next."""

    def refused(self, command: StoreCommand, outcome: StoreOutcome, error: Exception) -> None:
        """A C-STORE was answered with a failure; nothing of it was kept."""


class SilentObserver:
    """Hears and says nothing."""

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        """Do nothing."""

    def refused(self, command: StoreCommand, outcome: StoreOutcome, error: Exception) -> None:
        """Do nothing."""


class Receiver:
    """The intake of the listener. Safe to call from many threads.

    Success means that bytes, name and row are all durable, in this order. An error that `OUTCOME_OF` does not name is raised,
    after the file was removed.
    """

    def __init__(
        self, spool: Spool, record_all: RecordAll, observer: ReceiptObserver | None = None, vet: Vet = lambda _finished: None
    ) -> None:
        self._spool = spool
        self._vet = vet
        self._group = GroupCommit(spool, record_all)
        self._observer = observer or SilentObserver()

    def begin(self, command: StoreCommand) -> Deposit:
        """Prepare for the data set of a C-STORE."""
        return _Receipt(self._spool, self._group, self._observer, self._vet, command)

    def receive(self, received: ReceivedInstance) -> StoreOutcome:
        """Keep a whole instance and say how its C-STORE is answered."""
        deposit = self.begin(received)
        deposit.write(received.encoded)
        return deposit.keep()


class _Receipt:
    """One instance on its way in; what goes wrong is kept until the answer is due."""

    def __init__(self, spool: Spool, group: GroupCommit, observer: ReceiptObserver, vet: Vet, command: StoreCommand) -> None:
        self._vet = vet
        self._spool = spool
        self._group = group
        self._observer = observer
        self._command = command
        self._draft: Draft | None = None
        self._error: Exception | None = None
        try:
            self._draft = spool.draft(command)
        except EXPECTED as error:
            self._error = error

    def write(self, fragment: Fragment) -> None:
        """Take the next bytes, or let them go where an error came before."""
        if self._draft is None:
            return
        try:
            self._draft.write(fragment)
        except EXPECTED as error:
            self._error = error
            self.drop()

    def keep(self) -> StoreOutcome:
        """Make the instance durable, and say how the C-STORE is answered."""
        try:
            instance, recording = self._keep()
        except EXPECTED as error:
            outcome = next(outcome for kind, outcome in OUTCOME_OF if isinstance(error, kind))
            LOG.warning(
                "a C-STORE was refused: %s", error, extra={"action": "store_refused", "calling_ae_title": self._command.calling_ae_title}
            )
            self._observer.refused(self._command, outcome, error)
            return outcome
        finally:
            self.drop()
        self._observer.kept(instance, recording)
        return StoreOutcome.SUCCESS

    def drop(self) -> None:
        """Leave nothing of the draft behind."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.close()

    def _keep(self) -> tuple[SpooledInstance, Recording]:
        if self._error is not None:
            raise self._error
        if self._draft is None:
            raise ValueError("an instance was kept after it was dropped")
        finished = self._draft.finish()
        if not self._spool.holds(finished):
            self._vet(finished)
            self._draft.sync()
        return self._group.commit(finished)
