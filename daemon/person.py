"""Who asked for something that is audited, as far as that is known: a user at the command line, or somebody at the status page."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person as the audit trail names one: by numeric user and address, never by a name."""

    way: str
    """command or status page."""
    user: int | None = None
    """The numeric user that ran the command; None at the status page, which knows no users."""
    address: str = ""
    """Where a request to the status page came from: behind a reverse proxy on this machine, what that proxy says."""
    proof: str = ""
    """What was shown there: token, or none (a page on loopback that asks for none)."""

    def details(self) -> dict[str, str | int]:
        """Return what the trail keeps: what is known, under its name."""
        known = {"by": self.way, "user": self.user, "address": self.address, "proof": self.proof}
        return {name: value for name, value in known.items() if value not in (None, "")}


def at_the_command_line() -> Person:
    """Return the user that runs this command."""
    return Person(way="command", user=os.getuid())
