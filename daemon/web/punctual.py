"""Connections that keep nobody waiting: a request that is not there in time, headers and body, ends its connection."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0
UNFINISHED = frozenset({h11.IDLE, h11.SEND_BODY})
"""The states of a client (RFC 9112 as h11 names them) from which more of a request must come."""


class Punctual(H11Protocol):
    """uvicorn's protocol, which has no limit to how slowly a request comes, with one: from the connection, or the last answer."""

    request_seconds = REQUEST_SECONDS
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, or for the rest of one that was answered early."""
        self._wait()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._overdue is not None:
            self._overdue.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
        self._overdue = self.loop.call_later(self.request_seconds, self._cut_off)

    def _cut_off(self) -> None:
        if self.conn.their_state in UNFINISHED:
            self.transport.abort()


def punctual(seconds: float) -> type[Punctual]:
    """Return the protocol with another limit."""
    attributes: dict[str, Any] = {"request_seconds": seconds}
    return type("Punctual", (Punctual,), attributes)
