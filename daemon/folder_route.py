"""The route to a folder that another program watches: whole files, durable, or none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from daemon.disk import sync_folder
from daemon.errors import Transient
from daemon.route import Confirmation, Keep
from daemon.whole_file import sweep_unfinished, write_whole
from dicom_io.sender import Outgoing, Reached, SendResult
from dicom_io.store_status import Outcome

SHARED = 0o666
"""What is written here is for another program; the umask says who may read it."""


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
        sweep_unfinished(self.folder)
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
            write_whole(target, data, SHARED)
        else:
            sync_folder(self.folder)  # a crash may have come between its rename and this
        return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=Outcome.STORED, status=None, reason="")


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
