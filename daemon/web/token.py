"""The token that page and metrics ask for: read from a file, and proved by a cookie that does not hold it."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from daemon.errors import ConfigError

MINIMUM_CHARACTERS = 16
CURE = "make one with: openssl rand -hex 32"


def read_token(file: Path | None) -> str | None:
    """Return the token in a file; None without one. Raises ConfigError where it cannot be read or is too short to be one."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"web.token_file: expected a readable file, got {error}; {CURE}") from error
    if len(token) < MINIMUM_CHARACTERS:
        raise ConfigError(f"{file}: expected a token of at least {MINIMUM_CHARACTERS} characters, got {len(token)}; {CURE}")
    return token


def cookie_of(token: str) -> str:
    """Return what the cookie holds: proof of the token, and not the token."""
    return hashlib.sha256(f"medsam2d status page {token}".encode()).hexdigest()


def same(shown: str, expected: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(shown.encode(), expected.encode())
