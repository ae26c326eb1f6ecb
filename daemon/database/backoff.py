"""Backoff: how long to wait before the next try, doubling, bounded, and spread so that retries do not march in step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Waits of minimum, 2 x, 4 x ... maximum, each shortened by up to half."""

    minimum_seconds: float = 1.0
    maximum_seconds: float = 300.0

    def delay(self, tries: int, key: str) -> timedelta:
        """Return the wait after the `tries`-th failure in a row (from 1).

        The jitter comes from `key` (a job id, say), so that the same history always gives the same schedule.
        """
        doublings = min(max(tries - 1, 0), 60)
        seconds = min(self.maximum_seconds, self.minimum_seconds * 2.0**doublings)
        digest = hashlib.sha256(f"{key}/{tries}".encode()).digest()
        share = int.from_bytes(digest[:4], "big") / 2**32
        return timedelta(seconds=seconds * (1.0 - share / 2))
