"""The types of settings: AE titles, hosts, networks, UID roots, hashes and paths, each with what is expected of it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from rules.scalars import Integer, Number

UID_ROOT = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
MAXIMUM_UID_ROOT = 40
"""Leaves room for a digest within the 64 characters of a UID (PS3.5 section 9.1)."""


def _ae_title(text: str) -> str:
    if not 1 <= len(text) <= 16 or text != text.strip() or not text.isascii() or not text.isprintable() or "\\" in text:
        raise ValueError(f"expected an AE title of 1 to 16 ASCII characters without backslash or outer spaces, got {text!r}")
    return text


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"expected an address or a network such as 192.0.2.0/24, got {text!r} ({error})") from error
    return texts


def _host(text: str) -> str:
    if not text or any(character.isspace() for character in text) or "://" in text or "/" in text:
        raise ValueError(f"expected a host name or an address, got {text!r}")
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"expected https://HOST[:PORT]/PATH without user, query or fragment, got {text!r}")
    return text.rstrip("/")


def _uid_root(text: str) -> str:
    if not UID_ROOT.fullmatch(text) or len(text) > MAXIMUM_UID_ROOT:
        raise ValueError(f"expected a UID root of at most {MAXIMUM_UID_ROOT} characters such as 2.25 or 1.2.826.0.1, got {text!r}")
    return text


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError(f"expected 64 hexadecimal digits, got {len(text)} characters: {text[:16]!r}")
    return text.lower()


def _absolute(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return Path(folder, path)


def _format(name: str) -> Any:
    """A `format` in the JSON Schema: the reference of the configuration calls the type by it."""
    return Field(json_schema_extra={"format": name})


AeTitle: TypeAlias = Annotated[str, AfterValidator(_ae_title), _format("ae-title")]
Networks: TypeAlias = Annotated[tuple[Annotated[str, _format("network")], ...], Field(min_length=1), AfterValidator(_networks)]
Host: TypeAlias = Annotated[str, AfterValidator(_host), _format("host")]
HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http_url), _format("http-url")]
Port: TypeAlias = Annotated[Integer, Field(ge=0, le=65535)]
UidRoot: TypeAlias = Annotated[str, AfterValidator(_uid_root), _format("uid-root")]
Sha256: TypeAlias = Annotated[str, AfterValidator(_sha256), _format("sha-256")]
FilePath: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
"""Relative paths count from the folder of the configuration file (without a file: from the current folder)."""
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=40), _format("name")]
Seconds: TypeAlias = Annotated[Number, Field(gt=0, le=86_400)]
