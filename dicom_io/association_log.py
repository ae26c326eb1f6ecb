"""What became of each association: one event when it begins or is rejected, one when it ends, with what was stored."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Callable
from typing import Protocol

from dicom_io.admission import Rejection, Request
from dicom_io.received import StoreOutcome


class AssociationEventKind(enum.Enum):
    """What happened to an association."""

    ASSOCIATED = "associated"
    REJECTED = "rejected"
    RELEASED = "released"
    """Ended in order, by the peer."""
    ABORTED = "aborted"
    """Ended by an A-ABORT of either side, a broken connection or a time-out."""
    STORE_FAILED = "store-failed"
    """A C-STORE met a fault of ours; it was answered as a failure."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssociationEvent:
    """One thing that happened to an association."""

    kind: AssociationEventKind
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    reason: str = ""
    """Why it was rejected, or which fault a C-STORE met."""
    stored: int = 0
    """C-STOREs answered with success, so far."""
    refused: int = 0
    """C-STOREs answered with a failure, so far."""


Observe = Callable[[AssociationEvent], None]
"""Hears of every association; called in the thread of that association."""


class Alive(Protocol):
    """An association, told apart by its identity: its thread will do."""

    def is_alive(self) -> bool:
        """Say whether it goes on."""


class AssociationLog:
    """Counts for each active association, and tells of its beginning and end exactly once."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._active: dict[Alive, AssociationEvent] = {}

    @property
    def active(self) -> int:
        """How many associations began and have not ended."""
        with self._lock:
            return sum(1 for association in self._active if association.is_alive())

    def associated(self, association: Alive, request: Request) -> None:
        """An association was accepted."""
        event = AssociationEvent(kind=AssociationEventKind.ASSOCIATED, **dataclasses.asdict(request))
        with self._lock:
            # A thread that died without a farewell leaves no entry for ever.
            self._active = {known: last for known, last in self._active.items() if known.is_alive()}
            self._active[association] = event
        self._observe(event)

    def rejected(self, request: Request, rejection: Rejection) -> None:
        """An association was rejected."""
        self._observe(AssociationEvent(kind=AssociationEventKind.REJECTED, reason=rejection.text, **dataclasses.asdict(request)))

    def count(self, association: Alive, outcome: StoreOutcome) -> None:
        """A C-STORE was answered."""
        with self._lock:
            last = self._active.get(association)
            if last is not None:
                succeeded = outcome is StoreOutcome.SUCCESS
                self._active[association] = dataclasses.replace(
                    last, stored=last.stored + int(succeeded), refused=last.refused + int(not succeeded)
                )

    def store_failed(self, association: Alive, error: Exception) -> None:
        """A C-STORE met a fault of ours."""
        with self._lock:
            last = self._active.get(association)
        if last is not None:
            self._observe(dataclasses.replace(last, kind=AssociationEventKind.STORE_FAILED, reason=f"{type(error).__name__}: {error}"))

    def ended(self, association: Alive, kind: AssociationEventKind) -> None:
        """An association ended; one that never began (a health probe) is passed over, and a second end of the same too."""
        with self._lock:
            last = self._active.pop(association, None)
        if last is not None:
            self._observe(dataclasses.replace(last, kind=kind))
