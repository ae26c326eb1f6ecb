"""The route to a folder that another program watches: whole files, durable, or none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from daemon.errors import Transient
from daemon.route import Confirmation, Keep
from daemon.spool import sync_folder
from dicom_io.sender import Outgoing, Reached, SendResult
from dicom_io.store_status import Outcome


class FolderMissing(Transient):
    """The folder of a destination is not there: its share is not mounted, or it was never made."""

    code: ClassVar[str] = "folder-missing"


@dataclass(frozen=True, kw_only=True)
class FolderRoute:
    """Files in a folder."""

    name: str
    folder: Path

    def open(self, items: Sequence[Outgoing], *, overdue: bool, keep: Keep, reached: Reached) -> AbstractContextManager[FolderSession]:
        """See that the folder is there. Raises FolderMissing."""
        if not self.folder.is_dir():
            raise FolderMissing(f"{self.name}: expected the folder {self.folder}, got none; mount the share or make the folder")
        return nullcontext(FolderSession(self.folder))


@dataclass(frozen=True)
class FolderSession:
    """Writes each object under its SOP Instance UID, whole or not at all."""

    folder: Path
    confirmation: Confirmation = Confirmation.ANSWER

    def send(self, item: Outgoing) -> SendResult:
        """Write one object; when this returns, file and name are durable. Raises OSError."""
        target = self.folder / f"{item.sop_instance_uid}.dcm"
        data = item.path.read_bytes()
        if not _holds(target, data):
            # A name that starts with a dot and has no .dcm: whoever watches the folder sees whole files only.
            temporary = self.folder / f".{uuid.uuid4().hex}.part"
            try:
                with temporary.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.rename(target)
            finally:
                temporary.unlink(missing_ok=True)
        sync_folder(self.folder)
        return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=Outcome.STORED, status=None, reason="")


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
