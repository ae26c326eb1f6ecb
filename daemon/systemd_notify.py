"""The sd_notify protocol: tells systemd that the service is ready, alive, reloading or stopping.

One datagram of KEY=VALUE lines to the socket named by $NOTIFY_SOCKET (sd_notify(3)); without that variable nothing is sent.
"""

from __future__ import annotations

import os
import socket

SEND_LIMIT_SECONDS = 1.0


def notify(*lines: str) -> bool:
    """Send lines such as `READY=1` or `STATUS=...`; return whether a service manager heard them.

    A manager that does not listen never holds the service up: what cannot be sent within a second is dropped.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket is spelled with a leading NUL byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(SEND_LIMIT_SECONDS)
        try:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
        except OSError:
            return False
    return True


def watchdog_interval_seconds() -> float | None:
    """Return how often WATCHDOG=1 is due (half of the manager's limit), or None where no watchdog is set for this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or owner != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
