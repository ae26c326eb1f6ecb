"""A lock for each key: those who mean the same thing wait for one another, and nobody else does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class KeyedLock:
    """Locks that exist only while somebody holds or waits for them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Hold the lock of a key for the length of the block."""
        with self._guard:
            lock, users = self._locks.get(key) or (threading.Lock(), 0)
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = (lock, users - 1)
