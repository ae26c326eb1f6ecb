"""A draft: one instance on its way into the spool, written to a temporary file as its fragments come."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import mmap
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from daemon.disk import NO_SPACE, Reserve, SpoolFull
from dicom_io.errors import NotDicom, RejectedInput
from dicom_io.part10 import Identity, file_header, identify
from dicom_io.received import Fragment, StoreCommand

HEADER_BYTES = 16 << 10
"""How much of the data set is kept in memory, to be read for its identity; a longer header is read from the file."""
SPACE_CHECK_BYTES = 8 << 20
"""How often, while a large object comes, the free space is looked at again."""


class InstanceTooLarge(RejectedInput):
    """An instance, or the study that it belongs to, is larger than the limit."""

    code = "instance-too-large"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedDraft:
    """A complete instance under a temporary name."""

    temporary: Path
    command: StoreCommand
    identity: Identity
    sha256: str
    """Of the data set's bytes as sent, in hexadecimal."""
    bytes: int
    """Length of the data set as sent."""


class Draft:
    """A file in `incoming/`; locked, so that a sweep knows that it is in use. `close` it in the end, which removes its name."""

    def __init__(self, incoming: Path, command: StoreCommand, reserve: Reserve, maximum_bytes: int | None = None) -> None:
        """Raises SpoolFull, NotDicom (the command's UIDs are none) or OSError, and leaves no file then."""
        header = file_header(command)
        reserve.require(len(header))
        self.command = command
        self.path = incoming / f"{uuid.uuid4().hex}.part"
        self._reserve = reserve
        self._maximum_bytes = maximum_bytes
        self._hash = hashlib.sha256()
        self._start = bytearray()
        self._size = 0
        self._unchecked = 0
        self._descriptor: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._offset = len(header)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            _write(self._descriptor, header, self.path)
        except (OSError, SpoolFull):
            self.close()
            raise

    def write(self, fragment: Fragment) -> None:
        """Take the next bytes; raises SpoolFull, InstanceTooLarge or OSError, after which the draft can only be closed."""
        descriptor = self._open()
        size = len(fragment)
        self._size += size
        self._unchecked += size
        if self._maximum_bytes is not None and self._size > self._maximum_bytes:
            raise InstanceTooLarge(f"instance: expected at most {self._maximum_bytes} bytes, got more; raise the limit or send it in parts")
        if self._unchecked >= SPACE_CHECK_BYTES:
            self._unchecked = 0
            self._reserve.require(size)
        _write(descriptor, fragment, self.path)
        self._hash.update(fragment)
        if len(self._start) < HEADER_BYTES:
            self._start += fragment[: HEADER_BYTES - len(self._start)]

    def finish(self) -> FinishedDraft:
        """Return what was written, which is not durable yet; raises NotDicom, DataSetMismatch or OSError."""
        return FinishedDraft(
            temporary=self.path,
            command=self.command,
            identity=self._identify(),
            sha256=self._hash.hexdigest(),
            bytes=self._size,
        )

    def sync(self) -> None:
        """Make the bytes durable; raises SpoolFull or OSError."""
        with no_space_is_full(self.path):
            os.fsync(self._open())

    def close(self) -> None:
        """Remove the temporary name; what has got its name in `instances/` stays. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError("a draft was used after it was closed")
        return self._descriptor

    def _identify(self) -> Identity:
        if self._size <= len(self._start):
            return identify(self.command, bytes(self._start))
        try:
            return identify(self.command, bytes(self._start))
        except NotDicom:
            # The header is longer than what is in memory: read it where it lies, without loading it.
            with mmap.mmap(self._open(), 0, access=mmap.ACCESS_READ) as whole:
                return identify(self.command, whole, self._offset)


@contextlib.contextmanager
def no_space_is_full(place: Path) -> Iterator[None]:
    """Turn a full disk or quota into SpoolFull."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise SpoolFull(f"{place.parent}: expected room for one instance, got {error.strerror}; free some space") from error
        raise


def _write(descriptor: int, fragment: Fragment, place: Path) -> None:
    left = memoryview(fragment)
    with no_space_is_full(place):
        while left:
            left = left[os.write(descriptor, left) :]
