"""Who claims work: host, process and boot, so that the leases of dead processes can be told from those of slow ones."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class WorkerIdentity:
    """A process that claims jobs or deliveries; `boot_id` changes with every start of the machine, since pids repeat after it."""

    host: str
    pid: int
    boot_id: str
    name: str


def this_process(name: str) -> WorkerIdentity:
    """Return the identity of the calling process, called `name` in status and logs."""
    return WorkerIdentity(host=socket.gethostname(), pid=os.getpid(), boot_id=BOOT_ID.read_text().strip(), name=name)


def process_is_alive(pid: int) -> bool:
    """Tell whether `pid` runs on this host; a zombie that nobody has waited for counts as dead."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The name in parentheses may itself hold spaces and parentheses: the state follows the last one (proc(5)).
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
