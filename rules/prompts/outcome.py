"""None found: a prompt recipe's proper answer where the image holds no such object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NoneFound:
    """No prompt, and why."""

    reason: str
