"""Unique identifiers that derive from content: the same content has the same UID, other content another."""

from __future__ import annotations

import hashlib
import re

UUID_ROOT = "2.25"
"""The root under which a UUID written as one decimal number is a UID without registration (PS3.5 B.2)."""
MAXIMUM_UID_LENGTH = 64
"""PS3.5 section 9.1."""
MAXIMUM_ROOT_LENGTH = 40
"""Leaves 23 decimal digits (76 bits) for the digest, so that a chance collision stays out of reach."""

_ROOT = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


def derive_uid(root: str, *entropy: str | bytes) -> str:
    """Return the UID of at most 64 characters that belongs to `entropy`, an ordered list of texts or bytes.

    Under the root `2.25` the suffix is a UUID of version 8 (RFC 9562) made from a SHA-256 digest; under any other
    root it is as many leading decimal digits of the digest as fit. Raises ValueError for a root that is not a UID,
    a root that leaves too few digits, or no entropy at all.
    """
    checked = check_uid_root(root)
    if not entropy:
        raise ValueError("entropy: expected at least one text that tells this object from others, got none")
    digest = hashlib.sha256()
    for part in entropy:
        octets = part.encode("utf-8") if isinstance(part, str) else part
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(octets).to_bytes(8, "big"))
        digest.update(octets)
    if checked == UUID_ROOT:
        return f"{UUID_ROOT}.{_uuid_number(digest.digest())}"
    room = MAXIMUM_UID_LENGTH - len(checked) - 1
    return f"{checked}.{str(int.from_bytes(digest.digest(), 'big'))[:room]}"


def check_uid_root(root: str) -> str:
    """Return `root` if UIDs can be derived under it, else raise ValueError with what was expected (PS3.5 section 9.1)."""
    if not _ROOT.fullmatch(root):
        raise ValueError(
            f"uid_root: expected numbers without leading zeros joined by dots, the first 0, 1 or 2 (like 1.2.826.0.1), got {root!r}"
        )
    arc, second = root.split(".")[:2]
    if arc != "2" and int(second) > 39:
        raise ValueError(f"uid_root: expected a second number of at most 39 below {arc}, got {root!r}")
    if len(root) > MAXIMUM_ROOT_LENGTH:
        raise ValueError(f"uid_root: expected at most {MAXIMUM_ROOT_LENGTH} characters, got {len(root)}; use a shorter root or 2.25")
    return root


def _uuid_number(digest: bytes) -> int:
    """The first 128 bits of a digest as a UUID of version 8, variant RFC 9562."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    return number & ~(0x3 << 62) | (0x2 << 62)
