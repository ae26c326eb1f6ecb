"""The record of the service's processes: the supervisor writes which of them is up and when each ended, for page, metrics and notices.

It lies in the state folder and says nothing once its supervisor is gone. Losing it costs a look back of some minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from daemon.database.identity import process_is_alive, this_process

FILE = "processes.json"
MOST_ENDS = 32
"""Of one role; older ones are forgotten."""


@dataclass(frozen=True, kw_only=True)
class RoleRecord:
    """One role's process."""

    ready: bool
    ended: tuple[datetime, ...] = ()
    """When its process ended by itself, the latest last; aware, UTC."""

    def ends_within(self, span: timedelta, now: datetime) -> tuple[datetime, ...]:
        """Return those ends that are no older than `span`."""
        return tuple(moment for moment in self.ended if now - moment <= span)


def write_processes(folder: Path, roles: Mapping[str, RoleRecord]) -> None:
    """Write the record of the calling process's children into the state folder. Raises OSError."""
    own = this_process("supervisor")
    described = {role: {"ready": one.ready, "ended": [moment.isoformat() for moment in one.ended]} for role, one in roles.items()}
    record = {"host": own.host, "pid": own.pid, "boot_id": own.boot_id, "roles": described}
    temporary = folder / f".{FILE}.part"
    temporary.write_text(json.dumps(record) + "\n", encoding="ascii")
    temporary.rename(folder / FILE)


def read_processes(folder: Path) -> Mapping[str, RoleRecord]:
    """Return the record in the state folder by role; empty where no supervisor of this host runs, or none has written it."""
    here = this_process("reader")
    try:
        found = json.loads((folder / FILE).read_text(encoding="ascii"))
        is_ours = (found["host"], found["boot_id"]) == (here.host, here.boot_id) and process_is_alive(int(found["pid"]))
        roles = {
            str(role): RoleRecord(ready=bool(one["ready"]), ended=tuple(datetime.fromisoformat(moment) for moment in one["ended"]))
            for role, one in found["roles"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return roles if is_ours else {}
