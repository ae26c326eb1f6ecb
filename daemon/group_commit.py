"""Group commit: what is ready at the same moment is made durable together, with one wait for the disk.

There is no thread of its own: whoever comes first leads, and takes along everybody who came while the last group was on its way.
An association alone waits for nobody; many share the waits that folder and store cost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from daemon.errors import Transient

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

EXPECTED = (Transient, OSError, SQLAlchemyError)
"""What disk and database may raise; anything else is a fault of ours."""


class GroupFailed(Transient):
    """An instance was not recorded because of a fault that another one met."""

    code = "group-failed"


@dataclass(kw_only=True)
class _Ticket(Generic[Item, Outcome]):
    item: Item
    outcome: Outcome | Exception | None = None


class GroupCommit(Generic[Item, Outcome]):
    """Settles items in groups. Safe to call from many threads."""

    def __init__(self, settle: Callable[[Sequence[Item]], Sequence[Outcome | Exception]]) -> None:
        """`settle` makes a group durable, and returns for each item, in the same order, its outcome or what kept it from having one.

        What it raises counts for the whole group.
        """
        self._settle = settle
        self._waiting: list[_Ticket[Item, Outcome]] = []
        self._waiting_lock = threading.Lock()
        self._leading = threading.Lock()

    def settle(self, item: Item) -> Outcome:
        """Return once an item is durable; raises what kept it, or its group, from being so."""
        ticket = _Ticket[Item, Outcome](item=item)
        with self._waiting_lock:
            self._waiting.append(ticket)
        with self._leading:
            if ticket.outcome is None:
                with self._waiting_lock:
                    group, self._waiting = self._waiting, []
                self._lead(group)
        if ticket.outcome is None or isinstance(ticket.outcome, Exception):
            raise ticket.outcome or GroupFailed("expected a group to be settled as a whole")
        return ticket.outcome

    def _lead(self, group: Sequence[_Ticket[Item, Outcome]]) -> None:
        """Settle every ticket; a fault of ours goes on to the leader, and the others may send again."""
        try:
            for ticket, outcome in zip(group, self._settle([ticket.item for ticket in group]), strict=True):
                ticket.outcome = outcome
        except EXPECTED as error:
            for ticket in group:
                ticket.outcome = error
        finally:
            for ticket in group:
                if ticket.outcome is None:
                    ticket.outcome = GroupFailed("another instance of the same moment met a fault; send this one again")
