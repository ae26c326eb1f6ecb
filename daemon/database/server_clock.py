"""The server's clock: where several hosts share one database, its time decides about leases, not theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from daemon.database.engine import Database

REFRESH_SECONDS = 60.0


def seconds_since_boot() -> float:
    """Return seconds that also pass while the machine sleeps, and that nobody can set (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ServerClock:
    """Reads the server's time once a minute, and in between counts on from there: this host's time of day plays no part."""

    def __init__(self, database: Database, seconds: Callable[[], float] = seconds_since_boot) -> None:
        self._database = database
        self._seconds = seconds
        self._lock = threading.Lock()
        self._read: tuple[float, datetime] | None = None

    def __call__(self) -> datetime:
        """Return the present moment on the server, aware, UTC; it never runs back within a minute."""
        with self._lock:
            if self._read is None or self._seconds() - self._read[0] > REFRESH_SECONDS:
                self._read = self._ask()
            at, moment = self._read
            return moment + timedelta(seconds=self._seconds() - at)

    def _ask(self) -> tuple[float, datetime]:
        with self._database.reading() as connection:
            moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return self._seconds(), moment.astimezone(UTC)
