"""The route to a DICOMweb server: STOW-RS, whose answer is the confirmation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from daemon.route import Confirmation, Keep
from dicom_io.sender import Outgoing, Reached, SendResult
from dicom_io.stow import StowServer, StowSession, open_stow


@dataclass(frozen=True, kw_only=True)
class StowRoute:
    """STOW-RS."""

    server: StowServer

    @contextmanager
    def open(self, items: Sequence[Outgoing], *, overdue: bool, keep: Keep, reached: Reached) -> Iterator[StowVisit]:
        """Open one connection."""
        with open_stow(self.server, reached) as session:
            yield StowVisit(session)


@dataclass(frozen=True)
class StowVisit:
    """A session whose answers are all the confirmation that there is."""

    inner: StowSession
    confirmation: Confirmation = Confirmation.ANSWER

    def send(self, item: Outgoing) -> SendResult:
        """Send one object."""
        return self.inner.send(item)
