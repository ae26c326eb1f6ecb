"""Weights by name: which file, whose licence, what for, and the SHA-256 that vouches for it.

Three sources, first match wins: the configuration's `weights` section, weights installed by `medsam2d weights install`
(an index beside the copied files), and the starter weights that ship with the software.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.config import Config
from daemon.errors import UnknownWeights, UntrustedWeights

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights"
INDEX = "index.json"


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One weights file that a name stands for; `sha256` is None where a person trusted the file without one."""

    name: str
    file: Path
    sha256: str | None
    licence: str
    intended_use: str
    source: str
    """Where the entry comes from: configuration, installed, or shipped."""


@dataclass(frozen=True, kw_only=True)
class WeightsBook:
    """Every weights name that is known, in order of precedence."""

    entries: Mapping[str, WeightsEntry]

    def find(self, name: str) -> WeightsEntry:
        """Return the entry of `name`, or, where `name` is a path to a file, raise with the cure.

        Raises `UnknownWeights` that lists the names there are.
        """
        if name in self.entries:
            return self.entries[name]
        known = ", ".join(sorted(self.entries)) or "none"
        raise UnknownWeights(
            f"weights {name!r}: no such name (known: {known}); add it under `weights:` in the configuration "
            f"or run `medsam2d weights install FILE --name {name}`; `segment` also takes the path of an existing file"
        )


def book_of(settings: Config) -> WeightsBook:
    """Return every weights name that the configuration, the installed files and the software know."""
    configured = {
        name: WeightsEntry(
            name=name,
            file=item.file,
            sha256=item.sha256,
            licence=item.licence,
            intended_use=item.intended_use,
            source="configuration",
        )
        for name, item in settings.weights.items()
    }
    return collect(configured, settings.folders.weights)


def collect(configured: Mapping[str, WeightsEntry], folder: Path) -> WeightsBook:
    """Return the book of configured, installed (in `folder`) and shipped weights."""
    return WeightsBook(entries={**_shipped(), **_installed(folder), **configured})


def verify(entry: WeightsEntry) -> str:
    """Return the SHA-256 of the entry's file; raise `UntrustedWeights` if it differs from the recorded one or the file is gone."""
    if not entry.file.is_file():
        raise UntrustedWeights(f"weights {entry.name!r}: no file {entry.file}; restore it or correct `weights.{entry.name}.file`")
    found = sha256_of(entry.file)
    if entry.sha256 is not None and found != entry.sha256:
        raise UntrustedWeights(
            f"weights {entry.name!r}: expected SHA-256 {entry.sha256}, got {found} for {entry.file}; "
            "restore the original file, or record the new hash after checking where the file came from"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class InstallRequest:
    """What a person says of a weights file when installing it."""

    file: Path
    name: str
    sha256: str | None
    trust: bool
    licence: str
    intended_use: str


def install(request: InstallRequest, folder: Path) -> WeightsEntry:
    """Copy a weights file into `folder` and record it; return the entry.

    A file whose hash is not known needs either the expected `sha256` or `trust`. Raises `UntrustedWeights`.
    """
    found = vouched_sha256(request)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{request.name}-{found[:12]}{request.file.suffix}"
    if not target.exists():
        partial = target.with_suffix(target.suffix + ".part")
        shutil.copyfile(request.file, partial)
        _sync(partial)
        partial.replace(target)
    entry = WeightsEntry(
        name=request.name, file=target, sha256=found, licence=request.licence, intended_use=request.intended_use, source="installed"
    )
    _write_index(folder, {**_installed(folder), request.name: entry})
    return entry


def vouched_sha256(request: InstallRequest) -> str:
    """Return the SHA-256 of the request's file; raise `UntrustedWeights` where nobody vouches for it."""
    if not request.file.is_file():
        raise UntrustedWeights(f"no weights file {request.file}; give the path of a .pt or .safetensors file")
    found = sha256_of(request.file)
    known = {entry.sha256 for entry in _shipped().values()}
    if request.sha256 is not None and request.sha256.lower() != found:
        raise UntrustedWeights(f"{request.file}: expected SHA-256 {request.sha256.lower()}, got {found}; the file is not the one meant")
    if request.sha256 is None and found not in known and not request.trust:
        raise UntrustedWeights(
            f"{request.file}: nobody vouches for SHA-256 {found}; compare it with the publisher's and pass --sha256, or pass --trust"
        )
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shipped() -> dict[str, WeightsEntry]:
    sums = SHIPPED / "SHA256SUMS"
    entries = {}
    for line in sums.read_text().splitlines() if sums.is_file() else ():
        digest, file = line.split(maxsplit=1)
        name = Path(file).stem
        entries[name] = WeightsEntry(
            name=name,
            file=SHIPPED / file,
            sha256=digest,
            licence="CC BY-SA 4.0",
            intended_use="demonstration and starting point, not for diagnosis; see model/weights/README.md",
            source="shipped",
        )
    return entries


def _installed(folder: Path) -> dict[str, WeightsEntry]:
    index = folder / INDEX
    if not index.is_file():
        return {}
    rows = json.loads(index.read_text())
    return {name: WeightsEntry(**{**row, "file": folder / row["file"]}) for name, row in rows.items()}


def _write_index(folder: Path, entries: Mapping[str, WeightsEntry]) -> None:
    rows = {name: {**asdict(entry), "file": entry.file.name} for name, entry in entries.items()}
    partial = folder / (INDEX + ".part")
    partial.write_text(json.dumps(rows, indent=2, sort_keys=True) + "\n")
    _sync(partial)
    partial.replace(folder / INDEX)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
