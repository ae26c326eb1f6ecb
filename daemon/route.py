"""A route: how objects reach a destination. It opens a session; a session sends one object after the other and says what became of each.

The kinds of routes stand in `dicom_route.py`, `stow_route.py` and `folder_route.py`; `daemon.delivery` decides what follows.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dicom_io.commitment import CommitmentReport
from dicom_io.sender import Outgoing, Reached, SendResult


class Confirmation(enum.Enum):
    """What makes a stored object a delivered one."""

    ANSWER = "answer"
    """The answer to its sending is enough."""
    COMMITMENT = "commitment"
    """The destination reports that it is committed."""
    QUERY = "query"
    """The destination finds it."""


class Session(Protocol):
    """One visit to a destination."""

    @property
    def confirmation(self) -> Confirmation:
        """What makes a stored object a delivered one, at this destination, in this session."""

    def send(self, item: Outgoing) -> SendResult:
        """Send one object. Raises where the session is over: what was not answered may or may not have arrived."""


class ConfirmingSession(Session, Protocol):
    """A session that can also ask for confirmations."""

    @property
    def commitment_timeout_seconds(self) -> float:
        """How long a report may take before it is asked for again."""

    @property
    def offers_query(self) -> bool:
        """Whether `found` can be asked."""

    def found(self, items: Sequence[Outgoing]) -> frozenset[str]:
        """Return the SOP Instance UIDs of `items` that the destination finds."""

    def request_commitment(self, transaction_uid: str, items: Sequence[Outgoing]) -> None:
        """Ask for storage commitment. Raises where the destination says no, or nothing."""

    def await_report(self, transaction_uid: str) -> None:
        """Keep the session open for a report of this transaction, for as long as is configured."""


Keep = Callable[[CommitmentReport], bool]


class Route(Protocol):
    """The way to one destination."""

    def open(self, items: Sequence[Outgoing], *, overdue: bool, keep: Keep, reached: Reached) -> AbstractContextManager[Session]:
        """Open a session for `items`. `overdue`: among them are some whose commitment report did not come."""
