"""Store and forward: the trail on disk is the store, and a cursor beside it says how far the repository has read.

The cursor moves only when a batch was read to its end. What was cut off is sent again: a message may come twice, none is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from daemon.atna import EVENTS, AuditSource, Patient, PatientOf, message_of
from daemon.audit_chain import FILES, AuditRecord, records_of
from daemon.chaos_points import reach
from daemon.spool import sync_folder
from daemon.syslog_tls import frame

CURSOR = "forwarded"
BATCH = 200

Send = Callable[[Sequence[bytes]], None]
"""Sends frames and returns when the repository has read them all; raises Transient where it has not."""


class Cursor:
    """The file and the hash of the last record that the repository has read, in a file beside the trail."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the trail."""
        self._folder = folder
        self._path = folder / CURSOR

    def read(self) -> tuple[str, str]:
        """Return the name of the file and the hash; empty texts where nothing was forwarded."""
        try:
            name, _, digest = self._path.read_text(encoding="ascii").strip().partition(" ")
        except FileNotFoundError:
            return "", ""
        return name, digest

    def moved_at(self) -> datetime | None:
        """Return when a record was last forwarded; None where none was."""
        try:
            return datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def move(self, name: str, digest: str) -> None:
        """Remember a record; when this returns, it survives a power cut."""
        temporary = self._folder / f".{CURSOR}.part"
        with temporary.open("w", encoding="ascii") as stream:
            stream.write(f"{name} {digest}\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(self._path)
        sync_folder(self._folder)


@dataclass(kw_only=True)
class Forwarder:
    """Forwards the trail in `folder`, a batch at a time."""

    folder: Path
    source: AuditSource
    patient_of: PatientOf
    send: Send
    process_id: int = field(default_factory=os.getpid)
    _idle_at: tuple[str, int] | None = None
    """Name and size of the newest file when nothing was left."""

    def forward_once(self) -> bool:
        """Forward the next batch; return whether there was one. Raises Transient: nothing of it counts as forwarded."""
        newest = self._newest()
        if newest is None or newest == self._idle_at:
            return False
        cursor = Cursor(self.folder)
        batch = [found for found, _ in zip(records_after(self.folder, *cursor.read()), range(BATCH), strict=False)]
        if not batch:
            self._idle_at = newest
            return False
        frames = [made for _, record in batch if (made := self._frame(record)) is not None]
        if frames:
            self.send(frames)
        reach("audit.forwarded")
        cursor.move(batch[-1][0].name, batch[-1][1].hash)
        return True

    def _newest(self) -> tuple[str, int] | None:
        files = sorted(self.folder.glob(FILES))
        return (files[-1].name, files[-1].stat().st_size) if files else None

    def _frame(self, record: AuditRecord) -> bytes | None:
        xml = message_of(record, self.source, self.patient_of)
        if xml is None:
            return None
        outcome = EVENTS[record.event].outcome
        return frame(xml, at=record.at, host=self.source.source_id, process_id=self.process_id, outcome=outcome)


def records_after(folder: Path, name: str, digest: str) -> Iterator[tuple[Path, AuditRecord]]:
    """Yield every record after the cursor's, with its file. A cursor whose file was archived starts at the oldest file that is left."""
    found = not digest or not (folder / name).exists()
    for path in sorted(folder.glob(FILES)):
        if path.name < name:
            continue
        for record in records_of(path):
            if found:
                yield path, record
            found = found or record.hash == digest


def stalled_since(folder: Path) -> datetime | None:
    """Return since when a record of the trail waits and none was forwarded; None where nothing waits. Raises OSError."""
    cursor = Cursor(folder)
    waiting = next(records_after(folder, *cursor.read()), None)
    if waiting is None:
        return None
    return max(datetime.fromisoformat(waiting[1].at), cursor.moved_at() or datetime.min.replace(tzinfo=UTC))


def patients_in(spool: Path) -> PatientOf:
    """Return what looks a study's patient up in the header of one of its instances in the spool."""

    def patient_of(study_instance_uid: str) -> Patient | None:
        path = next((spool / "instances" / study_instance_uid).glob("*/*.dcm"), None)
        if path is None:
            return None
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "PatientName"])
        except (InvalidDicomError, OSError):  # retention may remove it meanwhile
            return None
        return Patient(patient_id=str(header.get("PatientID") or ""), name=str(header.get("PatientName") or ""))

    return patient_of
