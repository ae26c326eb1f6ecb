"""The receiver: what becomes of one C-STORE: its bytes go to the spool, its row to the store, and only then comes success."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from daemon.chaos_points import reach
from daemon.draft import Draft, FinishedDraft, InstanceTooLarge
from daemon.errors import Transient
from daemon.group_commit import GroupCommit
from daemon.keyed_lock import KeyedLock
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


RecordAll = Callable[[Sequence[SpooledInstance]], Sequence[Recording]]
"""Commits the rows of several instances in one transaction, all or none; `InstanceBook.record_instances`."""
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


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """An instance that is durable, and what the book made of it."""

    instance: SpooledInstance
    recording: Recording


class Receiver:
    """The intake of the listener. Safe to call from many threads.

    Success means that bytes, name and row are all durable, in this order. An error that `OUTCOME_OF` does not name is raised,
    after the file was removed.
    """

    def __init__(
        self, spool: Spool, record_all: RecordAll, observer: ReceiptObserver | None = None, vet: Vet = lambda _finished: None
    ) -> None:
        """`vet` raises what speaks against an instance that is complete (the size of its study, say)."""
        self._spool = spool
        self._vet = vet
        self._record_all = record_all
        self._group = GroupCommit(self._settle)
        self._observer = observer or SilentObserver()
        self._one_at_a_time = KeyedLock()

    def begin(self, command: StoreCommand) -> Deposit:
        """Prepare for the data set of a C-STORE."""
        return _Receipt(self, command)

    def receive(self, received: ReceivedInstance) -> StoreOutcome:
        """Keep a whole instance and say how its C-STORE is answered."""
        deposit = self.begin(received)
        deposit.write(received.encoded)
        return deposit.keep()

    def draft(self, command: StoreCommand) -> Draft:
        """Begin a file in the spool."""
        return self._spool.draft(command)

    def keep(self, draft: Draft) -> None:
        """Make bytes, name and row durable, and tell the observer; raises what kept one of them from being so."""
        finished = draft.finish()
        if not self._spool.holds(finished):
            self._vet(finished)
            draft.sync()
        reach("receiver.bytes-durable")
        # One instance at a time for each UID: a file that one association discards must not be another's acknowledged one.
        with self._one_at_a_time.held(finished.identity.sop_instance_uid):
            kept = self._group.settle(finished)
        reach("receiver.recorded")
        self._observer.kept(kept.instance, kept.recording)

    def take_in(self, instance: SpooledInstance) -> Recording:
        """Commit the row of an instance that was found in the spool: an earlier process ended between its name and its row."""
        recordings = self._record_all([instance])
        self._remove_doubles([instance], recordings)
        return recordings[0]

    def refuse(self, command: StoreCommand, error: Exception) -> StoreOutcome:
        """Tell log and observer, and return the answer."""
        outcome = next(outcome for kind, outcome in OUTCOME_OF if isinstance(error, kind))
        LOG.warning("a C-STORE was refused: %s", error, extra={"action": "store_refused", "calling_ae_title": command.calling_ae_title})
        self._observer.refused(command, outcome, error)
        return outcome

    def _settle(self, drafts: Sequence[FinishedDraft]) -> Sequence[_Kept | Exception]:
        """Give a group of drafts durable names and rows; where the rows fail, take back the names that were given now."""
        placed = self._spool.place_all(drafts)
        instances = [one for one in placed if not isinstance(one, Exception)]
        recordings: Sequence[Recording] | None = None
        try:
            recordings = self._record_all(instances) if instances else ()
        finally:
            if recordings is None:
                self._spool.discard(instances)
        self._remove_doubles(instances, recordings)
        of_each = iter(recordings)
        return [one if isinstance(one, Exception) else _Kept(instance=one, recording=next(of_each)) for one in placed]

    def _remove_doubles(self, instances: Sequence[SpooledInstance], recordings: Sequence[Recording]) -> None:
        """The row of a known instance may have named another file until now: that one goes."""
        for instance, recording in zip(instances, recordings, strict=True):
            if recording is Recording.DUPLICATE:
                self._spool.remove_doubles(instance)


class _Receipt:
    """One instance on its way in; what goes wrong is kept until the answer is due."""

    def __init__(self, receiver: Receiver, command: StoreCommand) -> None:
        self._receiver = receiver
        self._command = command
        self._draft: Draft | None = None
        self._error: Exception | None = None
        try:
            self._draft = receiver.draft(command)
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
            if self._draft is None:
                raise self._error or ValueError("an instance was kept after it was dropped")
            self._receiver.keep(self._draft)
        except EXPECTED as error:
            return self._receiver.refuse(self._command, error)
        finally:
            self.drop()
        return StoreOutcome.SUCCESS

    def drop(self) -> None:
        """Leave nothing of the draft behind."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.close()
