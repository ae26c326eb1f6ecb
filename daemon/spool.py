"""The spool: instances kept on disk exactly as they were sent, durable before they are acknowledged."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import fcntl
import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from daemon.clock import Clock
from daemon.errors import Transient
from dicom_io.errors import NotDicom
from dicom_io.part10 import StoredFile, file_header, identify, identify_encoded, meta_text, read_file
from dicom_io.received import ReceivedInstance

LOG = logging.getLogger(__name__)
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolFull(Transient):
    """The spool's file system is full, or would fall below the reserve."""

    code = "spool-full"


class Recording(enum.Enum):
    """What the book of instances made of one spooled instance."""

    NEW = "new"
    """The first time that this SOP Instance UID was seen."""
    DUPLICATE = "duplicate"
    """The same SOP Instance UID with the same bytes: nothing to do."""
    CONFLICT = "conflict"
    """The same SOP Instance UID with other bytes: kept aside, never overwriting the first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpooledInstance:
    """One instance that lies in the spool; text that is not known after a restart is empty."""

    path: Path
    """Absolute path of the Part 10 file."""
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    """SHA-256, in hexadecimal, of the data set's bytes as sent (without preamble and file meta)."""
    bytes: int
    """Length of the data set as sent, in bytes."""
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    received_at: datetime
    """Aware time of the receipt, in UTC."""
    newly_written: bool = dataclasses.field(default=False, compare=False)
    """Whether this receipt wrote the file; False where the same bytes lay there already."""


class Spool:
    """Two folders on one file system: `incoming/` for what is being written, `instances/<study>/<series>/` for what is durable.

    Several processes may share a spool. A file under `instances/` is complete and never changes.
    """

    def __init__(self, folder: Path, reserve_bytes: int, clock: Clock) -> None:
        """`reserve_bytes` of the file system stay free. Raises OSError where the folders cannot be made."""
        self._incoming = folder.absolute() / "incoming"
        self._instances = folder.absolute() / "instances"
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._durable_folders: set[Path] = set()
        self._lock = threading.Lock()
        for made in (self._incoming, self._instances):
            made.mkdir(parents=True, exist_ok=True)
        sync_folder(self._instances.parent)

    def write(self, received: ReceivedInstance) -> SpooledInstance:
        """Keep an instance: when this returns, it survives a power cut. Whatever is raised, no file is left.

        The same bytes under the same SOP Instance UID are not written again; other bytes get a name with their hash.
        Raises NotDicom or DataSetMismatch (the data's fault), SpoolFull, or OSError (the disk's).
        """
        identity = identify(received)
        digest = hashlib.sha256(received.encoded).hexdigest()
        series_folder = self._instances / identity.study_instance_uid / identity.series_instance_uid
        names = [f"{identity.sop_instance_uid}{mark}.dcm" for mark in ("", f".{digest[:8]}", f".{digest}")]
        try:
            path, newly_written = self._place(received, digest, [series_folder / name for name in names])
        except OSError as error:
            if error.errno in NO_SPACE:
                raise SpoolFull(f"{self._instances}: expected room for one instance, got {error.strerror}; free some space") from error
            raise
        return SpooledInstance(
            path=path,
            **dataclasses.asdict(identity),
            transfer_syntax_uid=received.transfer_syntax_uid,
            sha256=digest,
            bytes=len(received.encoded),
            calling_ae_title=received.calling_ae_title,
            called_ae_title=received.called_ae_title,
            peer_address=received.peer_address,
            received_at=self._clock(),
            newly_written=newly_written,
        )

    def discard(self, instance: SpooledInstance) -> None:
        """Remove an instance that was written but is not to be acknowledged; its absence is durable too."""
        instance.path.unlink(missing_ok=True)
        sync_folder(instance.path.parent)

    def sweep(self) -> int:
        """Remove what interrupted writers left in `incoming/`, and return how many; a living writer's file is locked and stays."""
        removed = 0
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed

    def instances(self, skip: Callable[[Path], bool] = lambda _path: False) -> Iterator[SpooledInstance]:
        """Read every instance back, but those that `skip` knows, in the order of their paths.

        The peer's address is not kept; the time is that of the file. A file that cannot be read as an instance is no
        acknowledged one: it is logged and passed over, so that it never keeps the service from starting.
        """
        for path in sorted(self._instances.glob("*/*/*.dcm")):
            if skip(path):
                continue
            try:
                instance = _read_back(path)
            except NotDicom as error:
                LOG.error("a file in the spool is no instance: %s", error, extra={"action": "spool_foreign_file"})
                continue
            yield instance

    def _place(self, received: ReceivedInstance, digest: str, candidates: list[Path]) -> tuple[Path, bool]:
        """Return the candidate that holds these bytes, and whether it was written now."""
        folder = candidates[0].parent
        kept = next((path for path in candidates if _holds(path, digest)), None)
        if kept is not None:
            sync_folder(folder)  # its writer may not have come to it yet
            return kept, False
        self._require_space(len(received.encoded))
        self._make_folders(folder)
        with self._temporary(received) as temporary:
            for path in candidates:
                with contextlib.suppress(FileExistsError):
                    # A link, unlike a rename, never replaces what another writer put there meanwhile.
                    path.hardlink_to(temporary)
                    _sync_or_remove(path)
                    return path, True
                if _holds(path, digest):
                    sync_folder(folder)
                    return path, False
        raise FileExistsError(errno.EEXIST, "another file has the name of these very bytes; remove it", str(candidates[-1]))

    def _require_space(self, size: int) -> None:
        status = os.statvfs(self._instances)
        free = status.f_bavail * status.f_frsize
        if free - size < self._reserve_bytes:
            raise SpoolFull(
                f"{self._instances}: expected {self._reserve_bytes} bytes to stay free, got {free} free and {size} to write;"
                " free some space or lower the reserve"
            )

    def _make_folders(self, series_folder: Path) -> None:
        """Make the folders of study and series, and make them durable once."""
        for folder in (series_folder.parent, series_folder):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                with self._lock:
                    self._durable_folders.discard(folder)
            with self._lock:
                is_durable = folder in self._durable_folders
            if not is_durable:
                sync_folder(folder.parent)
                with self._lock:
                    self._durable_folders.add(folder)

    @contextlib.contextmanager
    def _temporary(self, received: ReceivedInstance) -> Iterator[Path]:
        """A durable file in `incoming/` for the length of the block; locked, so that `sweep` knows it is in use."""
        path = self._incoming / f"{uuid.uuid4().hex}.part"
        try:
            with path.open("xb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                stream.write(file_header(received))
                stream.write(received.encoded)
                stream.flush()
                os.fsync(stream.fileno())
                yield path
        finally:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_or_remove(path: Path) -> None:
    """Make a new name durable, or take it back."""
    try:
        sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _holds(path: Path, digest: str) -> bool:
    """Say whether a file exists and its data set has this SHA-256."""
    try:
        return hashlib.sha256(read_file(path).encoded).hexdigest() == digest
    except FileNotFoundError:
        return False


def _read_back(path: Path) -> SpooledInstance:
    stored: StoredFile = read_file(path)
    syntax = meta_text(stored.meta, "TransferSyntaxUID")
    return SpooledInstance(
        path=path,
        **dataclasses.asdict(identify_encoded(stored.encoded, syntax)),
        transfer_syntax_uid=syntax,
        sha256=hashlib.sha256(stored.encoded).hexdigest(),
        bytes=len(stored.encoded),
        calling_ae_title=meta_text(stored.meta, "SourceApplicationEntityTitle"),
        called_ae_title=meta_text(stored.meta, "ReceivingApplicationEntityTitle"),
        peer_address="",
        received_at=datetime.fromtimestamp(path.stat().st_mtime, tz=UTC),
    )
