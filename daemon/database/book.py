"""What every book of the store shares: the database, the clock and the waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daemon.clock import Clock
from daemon.database.backoff import Backoff
from daemon.database.engine import Database
from rules.off_peak import OffPeak


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """How long the store waits, and how long a claim lasts without a sign of life."""

    busy_seconds: float = 20.0
    lease_seconds: float = 30.0
    delivery_lease_seconds: float = 600.0  # a large result to a slow archive; the claims of dead processes are freed at once anyway
    job_backoff: Backoff = field(default_factory=Backoff)
    delivery_backoff: Backoff = field(default_factory=Backoff)
    local_time: Callable[[datetime], datetime] = datetime.astimezone
    """A moment by the clock on the wall, by which off-peak windows open: that of this machine's time zone."""


class Book:
    """A part of the store; all parts share one database."""

    def __init__(self, database: Database, clock: Clock, settings: StoreSettings) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings

    def lease_end(self, now: datetime) -> datetime:
        """Return when a job claimed or confirmed `now` counts as abandoned."""
        return now + timedelta(seconds=self.settings.lease_seconds)

    def may_begin(self, off_peak: str | None, now: datetime) -> datetime:
        """Return when a job with this off-peak window (JSON) may begin at the earliest: `now`, or when the window opens next."""
        if off_peak is None:
            return now
        window = OffPeak.model_validate_json(off_peak)
        local = self.settings.local_time(now)
        return now if window.is_open(local) else window.next_opening(local)
