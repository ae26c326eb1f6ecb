"""Health: whether the service could take and keep an image now, asked of the parts themselves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping

from daemon.errors import Transient

CONNECT_SECONDS = 2.0
FRESH_SECONDS = 2.0
"""How long an answer holds: health checks of several balancers, and of anybody who asks in a loop, cost one look."""
ANY_ADDRESS: Mapping[str, str] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what listens everywhere is asked on loopback

Check = Callable[[], str | None]
"""Return what is wrong, in words without anything of a patient; None for nothing."""


def failing(checks: Mapping[str, Check]) -> dict[str, str]:
    """Return the name of every check that fails, with its words."""
    found = {name: check() for name, check in checks.items()}
    return {name: words for name, words in found.items() if words is not None}


class Readiness:
    """The answer of `failing`, at most `FRESH_SECONDS` old; who asks while a look is taken waits for that one."""

    def __init__(self, checks: Mapping[str, Check], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._checks, self._monotonic = checks, monotonic
        self._looking = threading.Lock()
        self._seen: tuple[float, dict[str, str]] | None = None

    def failing(self) -> dict[str, str]:
        """Return the name of every check that fails, with its words."""
        with self._looking:
            if self._seen is None or self._monotonic() - self._seen[0] >= FRESH_SECONDS:
                self._seen = (self._monotonic(), failing(self._checks))
            return dict(self._seen[1])


def port_is_open(host: str, port: int) -> Check:
    """Whether somebody listens there; the connection asks for nothing, which leaves no record."""

    def check() -> str | None:
        try:
            socket.create_connection((ANY_ADDRESS.get(host, host), port), CONNECT_SECONDS).close()
        except OSError as error:
            return f"expected port {port} to be open, got {error.strerror or type(error).__name__}"
        return None

    return check


def store_can_be_written(write: Callable[[], None]) -> Check:
    """Whether a transaction that writes can begin; `write` raises where not."""

    def check() -> str | None:
        try:
            write()
        except Transient as error:
            return f"expected a store that can be written, got [{error.code}]"
        return None

    return check


def reserve_is_kept(is_kept: Callable[[], bool]) -> Check:
    """Whether there is more space than the reserve."""
    return lambda: None if is_kept() else "expected more free space than spool.reserve_mib, got less: new instances are refused"
