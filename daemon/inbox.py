"""The inbox: files that an export or a USB import drops into a folder are taken in as if they had been received.

A file is taken once it has been left alone for a while and nobody holds it open for writing; it is removed only after its bytes
are in the spool and its row is committed, so that a crash in between leads to a duplicate that is ignored. What is no DICOM is
moved to the sub-folder `rejected`, with the reason beside it. DICOMDIRs, hidden files, unfinished downloads and links stay where
they are.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from daemon.config import InboxSettings
from daemon.errors import ConfigError
from daemon.spool import sync_folder
from dicom_io.errors import NotDicom
from dicom_io.part10 import meta_text, read_file
from dicom_io.received import ReceivedInstance, StoreOutcome
from dicom_io.values import is_uid

LOG = logging.getLogger(__name__)

Receive = Callable[[ReceivedInstance], StoreOutcome]
"""Keeps one instance durably and says how it went; the receiver's."""

REJECTED = "rejected"
UNFINISHED_SUFFIXES = frozenset({".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download"})
"""Names that copying programs give to what they have not finished."""
DICOMDIR = "DICOMDIR"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
RESCAN_SECONDS = 10.0
"""How often the folder is looked through where nothing announces a change: some network file systems announce none."""
FOLDER_REST_SECONDS = 60.0
PER_LOOK = 500
"""Files taken in one look, so that a stop is noticed in the middle of a large import."""


@dataclass(frozen=True)
class Sight:
    """What a file looked like when it was last seen."""

    size: int
    modified_ns: int
    inode: int
    since: float


@dataclass(kw_only=True)
class Inbox:
    """One folder that is looked through again and again; `look` does one pass."""

    folder: Path
    quiet_seconds: float
    calling_ae_title: str
    called_ae_title: str
    receive: Receive
    now: Callable[[], float] = time.monotonic
    _seen: dict[Path, Sight] = field(default_factory=dict)
    _empty: dict[Path, float] = field(default_factory=dict)

    def look(self) -> int:
        """Take what is ready and return how many files were taken or rejected."""
        present: dict[Path, Sight] = {}
        done = 0
        for path, status in candidates(self.folder):
            sight = self._sight(path, status)
            present[path] = sight
            if done < PER_LOOK and self.now() - sight.since >= self.quiet_seconds and self._take(path):
                present.pop(path)
                done += 1
        self._seen = present
        self._remove_rested_folders()
        return done

    @property
    def is_waiting(self) -> bool:
        """Whether something is there that is not ready yet."""
        return bool(self._seen or self._empty)

    def _sight(self, path: Path, status: os.stat_result) -> Sight:
        last = self._seen.get(path)
        if last is not None and (last.size, last.modified_ns, last.inode) == (status.st_size, status.st_mtime_ns, status.st_ino):
            return last
        return Sight(size=status.st_size, modified_ns=status.st_mtime_ns, inode=status.st_ino, since=self.now())

    def _take(self, path: Path) -> bool:
        """Take one file that has been left alone; False where it must wait."""
        try:
            if is_being_written(path):
                return False
            outcome = self._receive(path)
        except NotDicom as error:
            return self._reject(path, f"{error}")
        except OSError as error:
            LOG.warning("inbox: a file waits, since it cannot be read (%s)", error.strerror)
            return False
        except Exception as error:  # noqa: BLE001  # the boundary that an association has for a C-STORE: one file never ends the receiver
            # Only where it happened: an exception's own words may quote a patient's data.
            trace = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("inbox: a file could not be handled: %s\n%s", type(error).__name__, trace, extra={"action": "inbox_failed"})
            return self._reject(path, f"a fault of this software ({type(error).__name__}); report it with the log, then put the file back")
        if outcome is None:  # a DICOMDIR under another name
            return False
        if outcome is StoreOutcome.OUT_OF_RESOURCES:
            return False
        if outcome is not StoreOutcome.SUCCESS:
            return self._reject(path, f"refused with status 0x{outcome:04X}: the data set cannot be identified; see the log")
        path.unlink(missing_ok=True)
        return True

    def _receive(self, path: Path) -> StoreOutcome | None:
        stored = read_file(path)
        sop_class = meta_text(stored.meta, "MediaStorageSOPClassUID")
        if sop_class == MEDIA_STORAGE_DIRECTORY:
            return None
        named = (sop_class, meta_text(stored.meta, "MediaStorageSOPInstanceUID"), meta_text(stored.meta, "TransferSyntaxUID"))
        if not all(map(is_uid, named)):
            raise NotDicom("expected SOP class, instance and transfer syntax in the file meta, got not all of them; export it again")
        received = ReceivedInstance(
            sop_class_uid=sop_class,
            sop_instance_uid=meta_text(stored.meta, "MediaStorageSOPInstanceUID"),
            transfer_syntax_uid=meta_text(stored.meta, "TransferSyntaxUID"),
            calling_ae_title=self.calling_ae_title,
            called_ae_title=self.called_ae_title,
            peer_address="",
            encoded=stored.encoded,
        )
        return self.receive(received)

    def _reject(self, path: Path, reason: str) -> bool:
        """Move a file below `rejected`, at the place that it had, with the reason in a file beside it."""
        target = free_name(self.folder / REJECTED / path.relative_to(self.folder))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            target.with_name(f"{target.name}.reason.txt").write_text(f"{reason}\n", encoding="utf-8")
            sync_folder(target.parent)
        except OSError as error:
            LOG.warning("inbox: a file that is no DICOM cannot be moved to %s (%s)", REJECTED, error.strerror)
            return False
        LOG.warning("inbox: a file was moved to %s; the reason lies beside it", REJECTED, extra={"action": "inbox_rejected"})
        return True

    def _remove_rested_folders(self) -> None:
        """Remove sub-folders that have been empty for a while: whoever copies into one may pause between two files."""
        empty = {path: self._empty.get(path, self.now()) for path in empty_folders(self.folder)}
        for path, since in tuple(empty.items()):
            if self.now() - since >= FOLDER_REST_SECONDS:
                with contextlib.suppress(OSError):  # something has come meanwhile
                    path.rmdir()
                empty.pop(path)
        self._empty = empty


def candidates(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every file that may be an instance, sub-folders included; links are not followed."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (Path(parent) != folder or name != REJECTED))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith((".", "~")) or name.upper() == DICOMDIR or path.suffix.lower() in UNFINISHED_SUFFIXES:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status


def empty_folders(folder: Path) -> Iterator[Path]:
    """Yield the sub-folders that hold nothing, but what lies below `rejected`."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name != REJECTED]
        elif not folders and not names:
            yield Path(parent)


def is_being_written(path: Path) -> bool:
    """Tell whether a process of this host holds a file open for writing: only then a read lease is refused (fcntl(2)).

    Where leases are not ours to take (another owner, a network file system) the answer is False, and time alone decides.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Whoever opens it for writing during the lease makes the kernel signal us: not by SIGIO, which would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def free_name(path: Path) -> Path:
    """Return `path`, or the first of `path.1`, `path.2` ... that is not taken."""
    number = 0
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


class InboxThread:
    """Looks through an inbox whenever something changes in it, and from time to time."""

    def __init__(self, inbox: Inbox, stop: threading.Event) -> None:
        self._inbox = inbox
        self._stop = stop
        self._changed = threading.Event()
        self._observer = Observer()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._observer.schedule(_Wake(self._changed), str(self._inbox.folder), recursive=True)
        self._observer.start()
        self._thread.start()

    def stop(self) -> None:
        """End after the file that is being taken."""
        self._stop.set()
        self._changed.set()
        self._observer.stop()
        self._observer.join()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                taken = self._inbox.look()
            except OSError as error:
                LOG.warning("inbox: it cannot be looked through (%s); is its share mounted?", error.strerror)
                taken = 0
            if taken:
                LOG.info("inbox: %d files taken", taken, extra={"action": "inbox_taken"})
                continue
            self._changed.wait(min(self._inbox.quiet_seconds, RESCAN_SECONDS) if self._inbox.is_waiting else RESCAN_SECONDS)
            self._changed.clear()


class _Wake(FileSystemEventHandler):
    def __init__(self, changed: threading.Event) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("closed", "moved", "created"):
            self._changed.set()


def open_inbox(settings: InboxSettings, called_ae_title: str, receive: Receive, stop: threading.Event) -> InboxThread | None:
    """Watch the configured inbox, which is made if it does not exist; None where none is configured. Raises ConfigError."""
    if settings.folder is None:
        return None
    try:
        settings.folder.mkdir(mode=0o770, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"inbox.folder: {settings.folder} cannot be made ({error.strerror}); make it for the service's user") from error
    inbox = Inbox(
        folder=settings.folder,
        quiet_seconds=settings.quiet_seconds,
        calling_ae_title=settings.calling_ae_title,
        called_ae_title=called_ae_title,
        receive=receive,
    )
    thread = InboxThread(inbox, stop)
    thread.start()
    return thread
