"""The support bundle: what somebody needs to find out what is wrong with an installation, without anything of a patient.

A part that cannot be had (the store cannot be opened, the configuration has faults) says so in its own place: a bundle is made most of
all when something does not work. Whatever looks like a UID is taken out of every part once more, wherever it came from.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from daemon.errors import FORESEEN, ConfigError, Fault, classify
from daemon.version import version
from daemon.whole_file import FOR_US_ALONE, write_whole

MANIFEST = "manifest.json"
LEFT_OUT = (
    "Nothing of a patient: no images, no results, no names, no identifiers, no UIDs of studies, series and instances. No secrets: no keys, "
    "tokens, passwords. No rule's content, only its file's name and hash. No words of errors that a job met, only their codes. No audit "
    "records, only their number and whether their chain is whole. No log."
)
UID = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){5,}")
"""Six numbers and more: neither an address nor a version has so many."""

UNAVAILABLE: tuple[type[Exception], ...] = (*FORESEEN, SQLAlchemyError, ValueError, LookupError, TypeError)
"""What costs one part and not the bundle: whatever was foreseen, and what damaged files make of code that reads them."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of the bundle."""

    name: str
    holds: str
    make: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class MadePart:
    """One file of the bundle as it was made."""

    name: str
    holds: str
    complete: bool
    """False: it says why it is missing instead."""
    bytes: int
    sha256: str


def write_bundle(parts: Sequence[Part], out: Path, now: datetime) -> tuple[MadePart, ...]:
    """Write the parts and a manifest as one .tar.gz that our user alone may read. Raises ConfigError where `out` exists, OSError."""
    if out.exists():
        raise ConfigError(f"{out}: expected a file that does not exist yet, so that no earlier bundle is overwritten")
    files: dict[str, bytes] = {}
    made: list[MadePart] = []
    for part in parts:
        text, complete = _made(part)
        data = UID.sub("(UID)", text.rstrip("\n") + "\n").encode()
        files[part.name] = data
        digest = hashlib.sha256(data).hexdigest()
        made.append(MadePart(name=part.name, holds=part.holds, complete=complete, bytes=len(data), sha256=digest))
    manifest = {
        "software": f"medsam2d {version()}",
        "made_at": now.isoformat(timespec="seconds"),
        "holds": [asdict(one) for one in made],
        "left_out": LEFT_OUT,
    }
    files = {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(), **files}
    write_whole(out, _packed(files, f"medsam2d-support-{now:%Y%m%dT%H%M%SZ}", int(now.timestamp())))
    return tuple(made)


def _made(part: Part) -> tuple[str, bool]:
    try:
        return part.make(), True
    except UNAVAILABLE as error:
        judged = classify(error)
        # An error of the file system ends with a path, in which a UID may stand; a fault of ours quotes whatever it met.
        words = error.strerror if isinstance(error, OSError) else "" if judged.fault is Fault.BUG else judged.message
        return f"not available: [{judged.code}] {words}", False


def _packed(files: dict[str, bytes], folder: str, moment: int) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=moment) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(data), moment, FOR_US_ALONE
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
