"""The spool: instances kept on disk exactly as they were sent, durable before they are acknowledged."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import errno
import fcntl
import hashlib
import logging
import mmap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from daemon.chaos_points import reach
from daemon.clock import Clock
from daemon.disk import Reserve, SpoolFull, sync_folder
from daemon.draft import Draft, FinishedDraft, InstanceTooLarge, no_space_is_full
from daemon.errors import Transient
from dicom_io.errors import NotDicom
from dicom_io.part10 import identify_encoded, meta_text, read_meta
from dicom_io.received import ReceivedInstance, StoreCommand

__all__ = [
    "Draft",
    "InstanceTooLarge",
    "Recording",
    "Reserve",
    "Spool",
    "SpoolDamaged",
    "SpoolFull",
    "SpooledInstance",
    "expect_as_received",
    "sync_folder",
]

LOG = logging.getLogger(__name__)
DURABLE_FOLDERS = 4096
"""How many folders are remembered as durable; a forgotten one is synced once more."""
FOLDER_TRIES = 3
"""A folder that retention removes at this very moment is made again."""
HASH_BYTES = 1 << 20


class SpoolDamaged(Transient):
    """A file of the spool no longer holds the bytes that were acknowledged."""

    code = "spool-damaged"


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

    An instance goes through `draft`, `Draft.sync` and `place_all`, in this order; then it survives a power cut.
    Several processes may share a spool. A file under `instances/` is complete and never changes.
    """

    def __init__(
        self,
        folder: Path,
        reserve_bytes: int,
        clock: Clock,
        *,
        also_reserved: Iterable[Path] = (),
        maximum_instance_bytes: int | None = None,
    ) -> None:
        """`reserve_bytes` stay free on the spool's file system and on those of `also_reserved`, folders that exist.

        Raises OSError where the folders cannot be made.
        """
        self._incoming = folder.absolute() / "incoming"
        self._instances = folder.absolute() / "instances"
        self._clock = clock
        self._maximum_instance_bytes = maximum_instance_bytes
        self._durable_folders: collections.OrderedDict[Path, None] = collections.OrderedDict()
        self._lock = threading.Lock()
        for made in (self._incoming, self._instances):
            made.mkdir(parents=True, exist_ok=True)
        sync_folder(self._instances.parent)
        self.reserve = Reserve(reserve_bytes, (self._instances, *also_reserved))

    def write(self, received: ReceivedInstance) -> SpooledInstance:
        """Keep a whole instance: when this returns, it survives a power cut. Whatever is raised, no file is left.

        Raises NotDicom, DataSetMismatch or InstanceTooLarge (the data's fault), SpoolFull, or OSError (the disk's).
        """
        draft = self.draft(received)
        try:
            draft.write(received.encoded)
            finished = draft.finish()
            if not self.holds(finished):
                draft.sync()
            return self.place(finished)
        finally:
            draft.close()

    def draft(self, command: StoreCommand) -> Draft:
        """Begin an instance; raises SpoolFull, NotDicom or OSError."""
        with no_space_is_full(self._incoming):
            return Draft(self._incoming, command, self.reserve, self._maximum_instance_bytes)

    def holds(self, finished: FinishedDraft) -> bool:
        """Say whether these very bytes lie in the spool already, so that the draft need not be made durable."""
        for path in self._candidates(finished):
            if not path.exists():
                return False
            if _holds(path, finished.sha256):
                return True
        return False

    def place(self, finished: FinishedDraft) -> SpooledInstance:
        """Give one draft its durable name; `place_all` with one. Raises SpoolFull or OSError, and no name is left then."""
        (placed,) = self.place_all([finished])
        if isinstance(placed, Exception):
            raise placed
        return placed

    def place_all(self, drafts: Sequence[FinishedDraft]) -> tuple[SpooledInstance | SpoolFull | OSError, ...]:
        """Give drafts, whose bytes are durable, their names; when this returns, the names are durable too.

        Each folder is synced once for all that went into it. A draft that could get none has its error in its place, and no name.
        The same bytes under the same SOP Instance UID are not kept twice; other bytes get a name with their hash. A link,
        unlike a rename, never replaces what another writer put there meanwhile.
        """
        placed = [self._named(finished) for finished in drafts]
        reach("receiver.named")
        instances = [one for one in placed if isinstance(one, SpooledInstance)]
        failed = {folder: error for folder in {one.path.parent for one in instances} if (error := _sync_fault(folder)) is not None}
        for index, one in enumerate(placed):
            if isinstance(one, SpooledInstance) and one.path.parent in failed:
                placed[index] = failed[one.path.parent]
                if one.newly_written:
                    one.path.unlink(missing_ok=True)
        reach("receiver.names-durable")
        return tuple(placed)

    def discard(self, instances: Iterable[SpooledInstance]) -> None:
        """Remove what these receipts wrote and nobody acknowledges; its absence is durable too."""
        folders = set()
        for instance in instances:
            if instance.newly_written:
                instance.path.unlink(missing_ok=True)
                folders.add(instance.path.parent)
        for folder in folders:
            sync_folder(folder)

    def remove_doubles(self, instance: SpooledInstance) -> None:
        """Remove what holds an instance's bytes under another of its names, once its row names the file that counts.

        A damaged file that a resend made good, and that a person then restored, leaves two. What cannot be removed now is
        tried again when the instance comes again, and at the next start.
        """
        for path in _names_of(instance.path.parent, instance.sop_instance_uid, instance.sha256):
            try:
                if path != instance.path and _holds(path, instance.sha256):
                    path.unlink(missing_ok=True)
            except OSError as error:
                LOG.warning("%s: cannot be removed, though another file holds its bytes: %s", path.name, error)

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
            except FileNotFoundError:
                continue  # removed meanwhile, as the double of another
            except NotDicom as error:
                LOG.error("a file in the spool is no instance: %s", error, extra={"action": "spool_foreign_file"})
                continue
            yield instance

    def _candidates(self, finished: FinishedDraft) -> Iterator[Path]:
        """The names that these bytes may have, the usual one first."""
        return _names_of(self._folder(finished), finished.identity.sop_instance_uid, finished.sha256)

    def _folder(self, finished: FinishedDraft) -> Path:
        return self._instances / finished.identity.study_instance_uid / finished.identity.series_instance_uid

    def _named(self, finished: FinishedDraft) -> SpooledInstance | SpoolFull | OSError:
        """Give a draft its name, which is not durable yet; or return what speaks against it."""
        try:
            with no_space_is_full(self._instances):
                path, newly_written = self._name(finished)
        except (SpoolFull, OSError) as error:
            return error
        return SpooledInstance(
            path=path,
            **vars(finished.identity),
            transfer_syntax_uid=finished.command.transfer_syntax_uid,
            sha256=finished.sha256,
            bytes=finished.bytes,
            calling_ae_title=finished.command.calling_ae_title,
            called_ae_title=finished.command.called_ae_title,
            peer_address=finished.command.peer_address,
            received_at=self._clock(),
            newly_written=newly_written,
        )

    def _name(self, finished: FinishedDraft) -> tuple[Path, bool]:
        """Return the candidate that holds these bytes, and whether it got its name now."""
        for _try in range(FOLDER_TRIES):
            self._make_folders(self._folder(finished))
            for path in self._candidates(finished):
                try:
                    path.hardlink_to(finished.temporary)
                except FileNotFoundError:
                    break
                except FileExistsError:
                    if _holds(path, finished.sha256):
                        return path, False
                else:
                    return path, True
            else:
                raise FileExistsError(errno.EEXIST, "another file has the name of these very bytes; remove it", str(path))
        raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again", str(self._folder(finished)))

    def _make_folders(self, series_folder: Path) -> None:
        """Make the folders of study and series, and make them durable once."""
        with self._lock:
            if series_folder in self._durable_folders and series_folder.is_dir():
                return
        for folder in (series_folder.parent, series_folder):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                with self._lock:
                    self._durable_folders.pop(folder, None)
            with self._lock:
                is_durable = folder in self._durable_folders
            if not is_durable:
                sync_folder(folder.parent)
                with self._lock:
                    self._durable_folders[folder] = None
                    if len(self._durable_folders) > DURABLE_FOLDERS:
                        self._durable_folders.popitem(last=False)


def _names_of(folder: Path, sop_instance_uid: str, sha256: str) -> Iterator[Path]:
    for mark in ("", f".{sha256[:8]}", f".{sha256}"):
        yield folder / f"{sop_instance_uid}{mark}.dcm"


def expect_as_received(path: Path, sha256: str) -> None:
    """Raise SpoolDamaged unless the file holds a data set with this SHA-256: a disk's fault must never become a wrong mask."""
    try:
        found = f"SHA-256 {_sha256(path, read_meta(path)[1])}"
    except (OSError, NotDicom) as error:
        found = getattr(error, "strerror", None) or "no file meta"
    if found != f"SHA-256 {sha256}":
        cure = "send the study once more, or restore the file; the job goes on by itself then"
        raise SpoolDamaged(f"{path.name}: expected the bytes that were received (SHA-256 {sha256}), got {found}; {cure}")


def _sync_fault(folder: Path) -> SpoolFull | OSError | None:
    """Make the names in a folder durable, or return what speaks against it."""
    try:
        with no_space_is_full(folder):
            sync_folder(folder)
    except (SpoolFull, OSError) as error:
        return error
    return None


def _holds(path: Path, digest: str) -> bool:
    """Say whether a file exists and its data set has this SHA-256; a file that a disk's fault made unreadable holds nothing."""
    try:
        return _sha256(path, read_meta(path)[1]) == digest
    except (FileNotFoundError, NotDicom):
        return False


def _sha256(path: Path, start: int) -> str:
    """The hash of a data set, read in pieces."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        while piece := stream.read(HASH_BYTES):
            found.update(piece)
    return found.hexdigest()


def _read_back(path: Path) -> SpooledInstance:
    meta, start = read_meta(path)
    syntax = meta_text(meta, "TransferSyntaxUID")
    status = path.stat()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        identity = identify_encoded(whole, syntax, start)
    return SpooledInstance(
        path=path,
        **vars(identity),
        transfer_syntax_uid=syntax,
        sha256=_sha256(path, start),
        bytes=status.st_size - start,
        calling_ae_title=meta_text(meta, "SourceApplicationEntityTitle"),
        called_ae_title=meta_text(meta, "ReceivingApplicationEntityTitle"),
        peer_address="",
        received_at=datetime.fromtimestamp(status.st_mtime, tz=UTC),
    )
