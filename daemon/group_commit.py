"""Group commit: instances that are ready at the same moment get their names, their folders' fsync and their rows together.

There is no thread of its own: whoever comes first leads, and takes along everybody who came while the last group was on its way.
An association alone waits for nobody; many share the two waits for the disk that an acknowledgement costs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy.exc import SQLAlchemyError

from daemon.draft import FinishedDraft
from daemon.errors import Transient
from daemon.spool import Recording, Spool, SpooledInstance
from dicom_io.errors import RejectedInput

LOG = logging.getLogger(__name__)
EXPECTED = (Transient, OSError, SQLAlchemyError, RejectedInput)
"""What disk, database and data may raise; anything else is a fault of ours."""

RecordAll = Callable[[Sequence[SpooledInstance]], Sequence[Recording]]
"""Commits the rows of several instances in one transaction; `InstanceBook.record_instances`."""


class GroupFailed(Transient):
    """An instance was not kept because of a fault that another one met."""

    code = "group-failed"


@dataclasses.dataclass(kw_only=True)
class _Ticket:
    finished: FinishedDraft
    instance: SpooledInstance | None = None
    recording: Recording | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or self.recording is not None


class GroupCommit:
    """Names, syncs and records. Safe to call from many threads."""

    def __init__(self, spool: Spool, record_all: RecordAll) -> None:
        self._spool = spool
        self._record_all = record_all
        self._waiting: list[_Ticket] = []
        self._waiting_lock = threading.Lock()
        self._leading = threading.Lock()

    def commit(self, finished: FinishedDraft) -> tuple[SpooledInstance, Recording]:
        """Return once name and row of an instance, whose bytes are durable, are durable too.

        Raises what kept it from being so, after its name was removed.
        """
        ticket = _Ticket(finished=finished)
        with self._waiting_lock:
            self._waiting.append(ticket)
        with self._leading:
            if not ticket.is_done:
                with self._waiting_lock:
                    group, self._waiting = self._waiting, []
                self._commit(group)
        if ticket.instance is None or ticket.recording is None:
            raise ticket.error or RuntimeError("a group was committed without one of its instances")
        return ticket.instance, ticket.recording

    def _commit(self, group: Sequence[_Ticket]) -> None:
        """Settle every ticket; a fault of ours goes on to the leader, after everybody's names were taken back."""
        try:
            for ticket in group:
                with _told_to([ticket]):
                    ticket.instance = self._spool.place(ticket.finished)
            placed = [ticket for ticket in group if ticket.instance is not None]
            with _told_to(placed):
                self._spool.sync_folders(_instance(ticket).path.parent for ticket in placed)
                recordings = self._record_all([_instance(ticket) for ticket in placed]) if placed else ()
                for ticket, recording in zip(placed, recordings, strict=True):
                    ticket.recording = recording
        finally:
            for ticket in group:
                if ticket.recording is None:
                    ticket.error = ticket.error or GroupFailed("another instance of the same moment met a fault; send this one again")
                    self._take_back(ticket)

    def _take_back(self, ticket: _Ticket) -> None:
        instance, ticket.instance = ticket.instance, None
        if instance is None or not instance.newly_written:
            return
        try:
            self._spool.discard(instance)
        except OSError as error:
            # Nobody was told that it is kept; the next start takes it in as if it had come then.
            LOG.error("a file without a row could not be removed: %s", error.strerror, extra={"action": "spool_not_discarded"})


@contextlib.contextmanager
def _told_to(tickets: Sequence[_Ticket]) -> Iterator[None]:
    """Let a failure of disk, database or data answer these instances rather than end the group."""
    try:
        yield
    except EXPECTED as error:
        for ticket in tickets:
            ticket.error = error


def _instance(ticket: _Ticket) -> SpooledInstance:
    if ticket.instance is None:
        raise ValueError("expected a ticket whose instance has its name")
    return ticket.instance
