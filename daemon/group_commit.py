"""Group commit: the rows of instances that are ready at the same moment are committed together, in one transaction.

There is no thread of its own: whoever comes first leads, and takes along everybody who came while the last group was on its way.
An association alone waits for nobody; many share the wait for the disk that a commit costs.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from daemon.errors import Transient
from daemon.spool import Recording, SpooledInstance

RecordAll = Callable[[Sequence[SpooledInstance]], Sequence[Recording]]
"""Commits the rows of several instances in one transaction, all or none; `InstanceBook.record_instances`."""

EXPECTED = (Transient, OSError, SQLAlchemyError)
"""What disk and database may raise; anything else is a fault of ours."""


class GroupFailed(Transient):
    """An instance was not recorded because of a fault that another one met."""

    code = "group-failed"


@dataclasses.dataclass(kw_only=True)
class _Ticket:
    instance: SpooledInstance
    recording: Recording | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or self.recording is not None


class GroupCommit:
    """Records instances. Safe to call from many threads."""

    def __init__(self, record_all: RecordAll) -> None:
        self._record_all = record_all
        self._waiting: list[_Ticket] = []
        self._waiting_lock = threading.Lock()
        self._leading = threading.Lock()

    def record(self, instance: SpooledInstance) -> Recording:
        """Return once the row of an instance is durable; raises what kept its group from being recorded."""
        ticket = _Ticket(instance=instance)
        with self._waiting_lock:
            self._waiting.append(ticket)
        with self._leading:
            if not ticket.is_done:
                with self._waiting_lock:
                    group, self._waiting = self._waiting, []
                self._record(group)
        if ticket.recording is None:
            raise ticket.error or GroupFailed("expected a group to be settled as a whole")
        return ticket.recording

    def _record(self, group: Sequence[_Ticket]) -> None:
        """Settle every ticket; a fault of ours goes on to the leader, and the others may send again."""
        try:
            for ticket, recording in zip(group, self._record_all([ticket.instance for ticket in group]), strict=True):
                ticket.recording = recording
        except EXPECTED as error:
            for ticket in group:
                ticket.error = error
        finally:
            for ticket in group:
                if not ticket.is_done:
                    ticket.error = GroupFailed("another instance of the same moment met a fault; send this one again")
