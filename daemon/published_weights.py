"""The official MedSAM2 files: what their publisher calls them, where they are, and how one gets here, with a network or without.

The publisher states no hash on its page's text, and none was known to us when this was written: who installs one vouches for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daemon.download import LOOPBACK, DownloadFailed, Fetched, fetch, forget
from daemon.errors import ConfigError, UntrustedWeights
from daemon.weights import sha256_of

PUBLISHER = "https://huggingface.co/wanglab/MedSAM2"
FILES = f"{PUBLISHER}/resolve/main"
LICENCE = f"the publisher's terms, see {PUBLISHER}"


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One file of the publisher's."""

    file: str
    what_for: str
    sha256: str | None = None
    """None: not known."""

    @property
    def name(self) -> str:
        """What the publisher calls the model."""
        return Path(self.file).stem

    @property
    def intended_use(self) -> str:
        """For people."""
        return f"research, {self.what_for}; not for diagnosis"


PUBLISHED: Mapping[str, PublishedWeights] = {
    one.name: one
    for one in (
        PublishedWeights(file="MedSAM2_latest.pt", what_for="the publisher's newest model for all kinds of images"),
        PublishedWeights(file="MedSAM2_2411.pt", what_for="the publisher's general model of November 2024"),
        PublishedWeights(file="MedSAM2_CTLesion.pt", what_for="lesions in CT"),
        PublishedWeights(file="MedSAM2_MRI_LiverLesion.pt", what_for="liver lesions in MR"),
        PublishedWeights(file="MedSAM2_US_Heart.pt", what_for="the heart in ultrasound"),
    )
}


def published(name: str) -> PublishedWeights | None:
    """Return the file that a person means by its name, with or without `.pt`; None where the publisher has none of that name."""
    return PUBLISHED.get(name.removesuffix(".pt"))


def download(
    wanted: PublishedWeights,
    folder: Path,
    mirror: str | None,
    sha256: str | None,
    progress: Callable[[int, int], None],
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """Fetch a published file into `folder` (made if absent), unless an earlier call has; `sha256` is what a person expects.

    Raises:
        DownloadFailed: it did not come; the message says what to copy where without a network.
        UntrustedWeights: its bytes are not those that the server, or the person, states; they were removed.
        ConfigError: the mirror cannot be used safely.
    """
    base = _checked(mirror or FILES, sha256 or wanted.sha256)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / wanted.file
    if path.is_file():
        fetched = Fetched(path=path, stated_sha256=None)
    else:
        try:
            fetched = fetch(f"{base}/{wanted.file}", path, progress, tls)
        except DownloadFailed as error:
            raise DownloadFailed(f"{error}\n{without_network(wanted)}") from error
    _expect(path, fetched.stated_sha256, "the server states")
    _expect(path, sha256 or wanted.sha256, "expected")
    return fetched


def without_network(wanted: PublishedWeights) -> str:
    """Return what to do where this machine has no way to the publisher."""
    return (
        f"Without a network here: download {FILES}/{wanted.file} on a machine that has one, note its SHA-256 from"
        f" {PUBLISHER}/blob/main/{wanted.file}, carry the file here, and run"
        f" `medsam2d weights install /path/to/{wanted.file} --name {wanted.name} --sha256 HASH`"
    )


def _expect(path: Path, sha256: str | None, who: str) -> None:
    if sha256 is not None and (found := sha256_of(path)) != sha256.lower():
        forget(path)
        raise UntrustedWeights(
            f"{path.name}: {who} SHA-256 {sha256.lower()}, got {found}; what was downloaded is removed, nothing is installed"
        )


def _checked(base: str, sha256: str | None) -> str:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"--mirror: expected https://HOST[:PORT]/PATH without user, query or fragment, got {base!r}")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and sha256 is None:
        raise ConfigError("--mirror: expected https, or --sha256 beside plain http, since anybody on the way could put other weights there")
    return base.rstrip("/")
