"""Files that survive a power cut, and the space that is never filled: kept for the database and the audit trail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from daemon.errors import Transient

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolFull(Transient):
    """The spool's file system is full, or would fall below the reserve."""

    code = "spool-full"


class Reserve:
    """Bytes that stay free on the file systems of some folders, so that database and audit trail can always be written."""

    def __init__(self, reserve_bytes: int, folders: Iterable[Path]) -> None:
        """`folders` exist; those that share a file system are looked at once."""
        self._reserve_bytes = reserve_bytes
        self._folders = tuple({folder.stat().st_dev: folder for folder in folders}.values())

    def require(self, size: int) -> None:
        """Raise SpoolFull where writing `size` bytes would leave less than the reserve."""
        for folder in self._folders:
            status = os.statvfs(folder)
            free = status.f_bavail * status.f_frsize
            if free - size < self._reserve_bytes:
                raise SpoolFull(
                    f"{folder}: expected {self._reserve_bytes} bytes to stay free, got {free} free and {size} to write;"
                    " free some space or lower the reserve"
                )

    def is_kept(self) -> bool:
        """Say whether there is room for anything at all."""
        try:
            self.require(0)
        except SpoolFull:
            return False
        return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
