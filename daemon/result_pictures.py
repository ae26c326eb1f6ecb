"""Pictures of results for the status page: each target outlined on its largest slice, with the verdicts, in a folder of their own.

They are drawn by the worker, which has volume and masks at hand, so that looking at a page costs nothing but a small file. They
show a patient's images: mode 0600, removed with the inputs, and no reason to fail a job.
"""

from __future__ import annotations

import io
import json
import logging
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, PngImagePlugin, UnidentifiedImageError

if TYPE_CHECKING:  # the page, which only reads, has no need of the model
    from daemon.pipeline import Segmented

LOG = logging.getLogger("medsam2d.pictures")
MOST_TARGETS = 12
"""Panels of one picture: more would be a picture too large for a glance."""
VERDICTS = "verdicts"
"""Keyword of the PNG text that holds the verdicts as JSON."""


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """What was decided of one target."""

    label: str
    decision: str
    """accept, flag or withhold; what is withheld is in no picture."""
    reasons: tuple[str, ...]
    volume_ml: float


@dataclass(frozen=True, kw_only=True)
class ResultPicture:
    """The picture of one volume of a job."""

    number: int
    verdicts: tuple[TargetVerdict, ...]


class ResultPictures:
    """The pictures of the latest attempt of each job, numbered by volume from 1."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made (for our user alone) with its first picture."""
        self.folder = folder

    def keep(self, job_id: int, outcome: Segmented) -> None:
        """Draw and keep the picture of a volume. What cannot be drawn or kept is logged: it is no reason to lose a result."""
        from daemon.overlay_sheet import overlay_of  # drawing needs what only a worker has loaded

        number = len(self._files(job_id)) + 1
        try:
            self._write(self._path(job_id, number), _with_verdicts(overlay_of(outcome, MOST_TARGETS), _verdicts(outcome)))
        except (OSError, ValueError) as error:
            LOG.warning("job %s: no picture for the status page [%s]", job_id, type(error).__name__)

    def forget(self, job_id: int) -> None:
        """Remove the pictures of an earlier attempt."""
        for path in self._files(job_id):
            with suppress(OSError):  # what cannot be removed now goes with its age
                path.unlink()

    def of(self, job_id: int) -> tuple[ResultPicture, ...]:
        """Return what pictures there are of a job, with their verdicts; damaged ones are left out."""
        found: list[ResultPicture] = []
        for path in self._files(job_id):
            with suppress(OSError, ValueError, KeyError, TypeError, UnidentifiedImageError), Image.open(path) as picture:
                said = json.loads(picture.info[VERDICTS])
                verdicts = tuple(TargetVerdict(**{**one, "reasons": tuple(one["reasons"])}) for one in said)
                found.append(ResultPicture(number=_number(path), verdicts=verdicts))
        return tuple(found)

    def read(self, job_id: int, number: int) -> bytes | None:
        """Return a picture as PNG; None where there is none (any longer)."""
        try:
            return self._path(job_id, number).read_bytes()
        except OSError:
            return None

    def _path(self, job_id: int, number: int) -> Path:
        return self.folder / f"{job_id}-{number}.png"

    def _files(self, job_id: int) -> list[Path]:
        return sorted(self.folder.glob(f"{job_id}-[0-9]*.png"), key=_number)

    def _write(self, path: Path, data: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.folder / f".{uuid.uuid4().hex}.part"
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _verdicts(outcome: Segmented) -> list[TargetVerdict]:
    return [
        TargetVerdict(label=verdict.label, decision=verdict.decision.value, reasons=verdict.reasons, volume_ml=round(verdict.volume_ml, 1))
        for verdict in outcome.verdicts
    ]


def _with_verdicts(png: bytes, verdicts: Sequence[TargetVerdict]) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt(VERDICTS, json.dumps([asdict(verdict) for verdict in verdicts]))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()
