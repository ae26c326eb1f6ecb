"""A network that breaks: a proxy on loopback whose connections can be reset, or that swallows everything for a while."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
UNSPECIFIED = bytes(16)
"""A socket address of family AF_UNSPEC: connecting to it makes the kernel answer with RST and forget the connection (connect(2))."""


class Proxy:
    """Passes connections on to a port of this host, until told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._fuse: int | None = None
        self.burnt = 0
        """How often a connection was reset by `reset_after`."""
        self._passes = threading.Event()
        self._passes.set()
        threading.Thread(target=self._accept, name=f"proxy-{target}", daemon=True).start()

    def reset(self) -> int:
        """Break every connection that is open, and return how many there were."""
        with self._lock:
            ends, self._ends = self._ends, set()
        _reset(ends)
        return len(ends) // 2

    def reset_after(self, count: int) -> None:
        """Break whichever connection passes the `count`th byte from now on, in the midst of what it carries."""
        with self._lock:
            self._fuse = count

    def swallow(self, seconds: float) -> None:
        """Pass nothing on for a while, as a black hole would; then reset what hangs in it."""
        self._passes.clear()
        time.sleep(seconds)
        self.reset()
        self._passes.set()

    def _burns(self, count: int) -> bool:
        with self._lock:
            if self._fuse is None:
                return False
            self._fuse -= count
            if self._fuse > 0:
                return False
            self._fuse = None
            self.burnt += 1
            return True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._ends |= {near, far}
        threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
        self._pass_on(far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._passes.wait()
                if self._burns(len(data)):
                    sink.sendall(data[: len(data) // 2])
                    _reset({source, sink})
                    break
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._ends -= {source}


def _reset(ends: set[socket.socket]) -> None:
    """Let both peers get a RST, though other threads wait in these sockets: closing them would wait for those."""
    for end in ends:
        LIBC.connect(end.fileno(), UNSPECIFIED, len(UNSPECIFIED))
