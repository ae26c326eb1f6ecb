"""The chain of audit records: append-only lines of JSON, one file a day, each holding the hash of the one before.

A record that was changed, removed, inserted or moved breaks the chain at a record that can be named. What a chain alone cannot
show is that its newest records were cut off: keep the newest hash elsewhere (a log server, say) to prove that too.
A line that a crash tore was never confirmed to anyone; the next append removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TypeAlias

from daemon.clock import Clock
from daemon.spool import sync_folder

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
GENESIS = "0" * 64
"""The previous hash of the very first record."""
FILES = "audit-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].jsonl"
LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """One line of the trail."""

    at: str
    """ISO 8601 with microseconds, UTC."""
    event: str
    details: Mapping[str, Json]
    previous: str
    """SHA-256 of the record before, `GENESIS` for the first."""
    hash: str
    """SHA-256 of this record's other four fields in canonical JSON (sorted keys, no spaces, ASCII)."""


@dataclass(frozen=True, kw_only=True)
class BrokenRecord:
    """The first record that does not continue the chain."""

    path: Path
    line: int
    """Counted from 1."""
    reason: str


class AuditChain:
    """A folder of audit files that several processes and threads append to."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Use `folder`, which is made (for our user alone) if it does not exist."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder.absolute()
        self._clock = clock

    def append(self, event: str, details: Mapping[str, Json]) -> AuditRecord:
        """Write one record; when this returns, it survives a power cut. Raises OSError: nothing was recorded."""
        with _locked(self.folder):
            newest, end, previous = _end_of_chain(self.folder)
            at = self._clock().astimezone(UTC)
            # A clock that was set back does not write into an older file: the order of the names is the order of the chain.
            name = max(f"audit-{at:%Y-%m-%d}.jsonl", newest.name if newest else "")
            moment = at.isoformat(timespec="microseconds")
            record = AuditRecord(at=moment, event=event, details=details, previous=previous, hash=_digest(moment, event, details, previous))
            path = self.folder / name
            _append_line(path, end if path == newest else 0, (_canonical(vars(record)) + "\n").encode())
        return record


def records(folder: Path) -> Iterator[AuditRecord]:
    """Read every record, the oldest first. Call `verify` first where it matters whether they can be believed."""
    for path in sorted(folder.glob(FILES)):
        yield from records_of(path)


def records_of(path: Path) -> Iterator[AuditRecord]:
    """Read every whole record of one file of the trail; a line that is being written, or was torn, is no record."""
    with path.open(encoding="ascii") as stream:
        for line in stream:
            if line.endswith("\n"):
                yield AuditRecord(**json.loads(line))


def verify(folder: Path) -> BrokenRecord | None:
    """Return the first record that was tampered with, or does not follow the one before it; None for an unbroken chain."""
    previous = GENESIS
    for path in sorted(folder.glob(FILES)):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            reason, found = _judge(line, previous)
            if reason is not None:
                return BrokenRecord(path=path, line=number, reason=reason)
            previous = found
    return None


def _judge(line: bytes, previous: str) -> tuple[str | None, str]:
    """Return what is wrong with a line, or None, and its hash."""
    try:
        record = AuditRecord(**json.loads(line))
    except (ValueError, TypeError):
        return "expected a record in JSON, got something else", ""
    if _canonical(vars(record)).encode() != line:
        return "expected canonical JSON, got another spelling", ""
    if record.previous != previous:
        return f"expected it to follow {previous}, got {record.previous}: records are missing, inserted or moved before it", ""
    computed = _digest(record.at, record.event, record.details, record.previous)
    if record.hash != computed:
        return f"expected hash {computed}, got {record.hash}: the record was changed", ""
    return None, record.hash


def _digest(at: str, event: str, details: Mapping[str, Json], previous: str) -> str:
    return hashlib.sha256(_canonical({"at": at, "event": event, "details": details, "previous": previous}).encode()).hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; each call opens the file anew, so that threads exclude one another too."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _end_of_chain(folder: Path) -> tuple[Path | None, int, str]:
    """Return the newest file, the length of its whole lines in bytes, and the hash of the last record."""
    newest: Path | None = None
    length = 0
    for path in sorted(folder.glob(FILES), reverse=True):
        end, last = _last_line(path)
        if newest is None:
            newest, length = path, end
        if last:
            return newest, length, str(json.loads(last)["hash"])
    return newest, length, GENESIS


def _last_line(path: Path) -> tuple[int, bytes]:
    """Return where the last whole line ends, and that line; reads backwards, since a file may be long."""
    with path.open("rb") as stream:
        start = stream.seek(0, os.SEEK_END)
        tail = b""
        while start > 0 and tail.count(b"\n") < 2:
            step = min(65536, start)
            start = stream.seek(start - step)
            tail = stream.read(step) + tail
            stream.seek(start)
    end = tail.rfind(b"\n") + 1
    return start + end, tail[: max(end - 1, 0)].rpartition(b"\n")[2]


def _append_line(path: Path, end: int, line: bytes) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        stream.truncate(end)
        stream.seek(end)
        try:
            if stream.write(line) != len(line):
                raise OSError(f"{path}: expected room for {len(line)} bytes; free some space")
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(end)
            raise
    if is_new:
        sync_folder(path.parent)
