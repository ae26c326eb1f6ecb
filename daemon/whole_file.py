"""Whole files: a name appears with all of its bytes, durable, or not at all; what a killed writer left is swept away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

from daemon.chaos_points import reach
from daemon.disk import sync_folder

UNFINISHED = ".*.part"
"""Hidden and without the suffix of what it becomes, so that whoever watches a folder sees whole files only."""
FOR_US_ALONE = 0o600


def write_whole(path: Path, data: bytes, mode: int = FOR_US_ALONE) -> None:
    """Make the file `path` hold `data`; when this returns, bytes and name survive a power cut. Replaces a file of that name.

    `mode` is what the umask may still take from. Raises OSError, and leaves nothing behind then.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _claim(descriptor)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
            reach("file.bytes-durable")
            temporary.rename(path)
        reach("file.named")
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sweep_unfinished(folder: Path) -> int:
    """Remove what killed writers left in a folder, and return how many; a living writer's file is locked and stays."""
    removed = 0
    for path in folder.glob(UNFINISHED):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
    return removed


def _claim(descriptor: int) -> None:
    """Lock a file for as long as it is open; on a share without locks nobody sweeps either."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
