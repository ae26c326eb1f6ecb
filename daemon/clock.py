"""Time as an argument: everything that waits or stamps takes a Clock, so that tests never sleep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the present moment, aware, UTC."""
    return datetime.now(UTC)
