"""Results on disk: each name gets one content, durable before anything refers to it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import ClassVar

from daemon.disk import sync_folder
from daemon.whole_file import sweep_unfinished, write_whole

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")


class ResultConflict(Exception):
    """A result of this name exists with other bytes; a name is given to one content only."""

    code: ClassVar[str] = "result-conflict"


class Results:
    """A folder of files that are written once and never changed."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made (for our user alone) if it does not exist."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder.absolute()

    def write(self, name: str, data: bytes) -> Path:
        """Return the file `name` that holds `data`; when this returns, it survives a power cut. Safe to repeat.

        Raises:
            ResultConflict: the file exists with other bytes.
            ValueError: `name` is not a plain file name.
            OSError: the disk's fault; no file of that name was made, and no other is left.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"expected a plain file name of letters, digits, '.', '_' and '-', got {name!r}")
        path = self.folder / name
        if path.exists():
            if path.read_bytes() != data:
                raise ResultConflict(f"{path}: expected the bytes that were written first, got others; a result's name is never reused")
            sync_folder(self.folder)  # a crash may have come between its rename and this
        else:
            write_whole(path, data)
        return path

    def sweep(self) -> int:
        """Remove what killed writers left here, and return how many files went."""
        return sweep_unfinished(self.folder)

    def put_aside(self, name: str, data: bytes) -> Path:
        """Keep `data` in the quarantine beside the results, under `name` and its hash: it is for people and never sent."""
        quarantine = Results(self.folder / "quarantine")
        stem, suffix = Path(name).stem, Path(name).suffix
        return quarantine.write(f"{stem}-{hashlib.sha256(data).hexdigest()[:12]}{suffix}", data)
