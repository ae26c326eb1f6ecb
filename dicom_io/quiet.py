"""Silence for pydicom's warnings while files are read: what matters in them is judged here and refused with a typed reason.

Archives are full of values that are a character too long and of pixel data with a byte of padding too many. Python's
warning filters belong to the process, so the filter stays as long as any thread is reading.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_readers: list[object] = []
_restore: list[warnings.catch_warnings[None]] = []


@contextmanager
def without_pydicom_warnings() -> Iterator[None]:
    """Ignore UserWarnings until the last of all threads in this context has left it; other warnings still come through."""
    reader = object()
    with _lock:
        if not _readers:
            filters = warnings.catch_warnings()
            filters.__enter__()
            warnings.filterwarnings("ignore", category=UserWarning)
            _restore.append(filters)
        _readers.append(reader)
    try:
        yield
    finally:
        with _lock:
            _readers.remove(reader)
            if not _readers:
                _restore.pop().__exit__(None, None, None)
