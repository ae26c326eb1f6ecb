"""One accepted connection: bytes in through a single buffer, each answer out in one write, and a limit on every silence."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

BUFFER_BYTES = 256 << 10
"""Two of the largest PDUs that DCMTK sends; the memory of an association, whatever the size of its objects."""

Monotonic = Callable[[], float]


class ConnectionEnded(Exception):
    """The peer closed or reset the connection."""


class HandshakeFailed(ConnectionEnded):
    """The peer does not speak TLS, or showed no certificate that is trusted."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(message)
        self.address = address


class PeerSilent(Exception):
    """Nothing came within the time that we wait."""


class Connection:
    """A blocking stream socket, plain or TLS, for one thread."""

    def __init__(self, stream: socket.socket, silence_seconds: float, clock: Monotonic = time.monotonic) -> None:
        """`silence_seconds`: how long a read or a write may make no progress."""
        self._stream = stream
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._deadline: float | None = None
        self._buffer = memoryview(b"")
        self._start = self._end = 0
        stream.settimeout(silence_seconds)

    def limit(self, seconds: float | None) -> None:
        """Let everything that is read from now on come within `seconds` altogether; None: only silence counts."""
        self._deadline = None if seconds is None else self._clock() + seconds
        self._stream.settimeout(self._silence_seconds)

    def exactly(self, count: int) -> memoryview:
        """Return the next `count` bytes, at most BUFFER_BYTES; the view is valid until the next read."""
        while self._end - self._start < count:
            self._fill()
        self._start += count
        return self._buffer[self._start - count : self._start]

    def some(self, limit: int) -> memoryview:
        """Return at least one and at most `limit` of the next bytes, without waiting for more than one."""
        if self._start == self._end:
            self._fill()
        count = min(limit, self._end - self._start)
        self._start += count
        return self._buffer[self._start - count : self._start]

    def send(self, answer: bytes) -> None:
        """Send an answer in one write."""
        try:
            self._stream.sendall(answer)
        except TimeoutError as error:
            raise PeerSilent("expected the peer to take an answer") from error
        except OSError as error:
            raise ConnectionEnded("expected the peer to take an answer") from error

    def wait_for_end(self, seconds: float) -> None:
        """Read and forget until the peer closes, at most `seconds`: our last answer would be lost with a reset (PS3.8 state 13)."""
        self.limit(seconds)
        with contextlib.suppress(ConnectionEnded, PeerSilent):
            while True:
                self.some(BUFFER_BYTES)

    def stop_reading(self) -> None:
        """Let every read find the end; may be called from another thread."""
        with contextlib.suppress(OSError):
            # The socket's own method: that of a TLS socket would also forget the keys that our last word needs.
            socket.socket.shutdown(self._stream, socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def _fill(self) -> None:
        """Read more, behind what is there; move that to the front where the buffer ends."""
        if not self._buffer:
            self._buffer = memoryview(bytearray(BUFFER_BYTES))  # a connection that says nothing costs nothing
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == BUFFER_BYTES:
            rest = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, len(rest)
            self._buffer[: self._end] = rest
        if self._deadline is not None:
            self._allow(self._deadline - self._clock())
        try:
            count = self._stream.recv_into(self._buffer[self._end :])
        except TimeoutError as error:
            raise PeerSilent("expected more bytes") from error
        except OSError as error:
            raise ConnectionEnded("expected more bytes") from error
        if count == 0:
            raise ConnectionEnded("expected more bytes")
        self._end += count

    def _allow(self, seconds: float) -> None:
        if seconds <= 0:
            raise PeerSilent("expected the whole of it within its time")
        self._stream.settimeout(min(seconds, self._silence_seconds))
