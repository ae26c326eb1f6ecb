"""PDUs of the upper layer protocol (PS3.8 section 9.3) as bytes: the headers that we read, and the short ones that we write."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

PDU_HEADER = struct.Struct(">BxL")
"""Type, and length of what follows."""
PDV_HEADER = struct.Struct(">LBB")
"""Length of what follows it, presentation context ID, message control header (PS3.8 sections 9.3.5.1 and E.2)."""

COMMAND_FRAGMENT, LAST_FRAGMENT = 0x01, 0x02
"""Bits of the message control header."""
MAXIMUM_REQUEST_BYTES = 256 << 10
"""128 presentation contexts with 60 transfer syntaxes each, and to spare; nobody is known yet when so much is read."""


class PduType(enum.IntEnum):
    """The seven types of PDU."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortReason(enum.IntEnum):
    """Why the service provider aborts (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0x00
    UNRECOGNIZED_PDU = 0x01
    UNEXPECTED_PDU = 0x02
    INVALID_PARAMETER = 0x06


class MalformedPdu(Exception):
    """The peer broke the protocol; the association is aborted. The message quotes nothing of what was sent."""

    def __init__(self, reason: AbortReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


RELEASE_RP = struct.pack(">BxLL", PduType.RELEASE_RP, 4, 0)


def abort(reason: AbortReason) -> bytes:
    """Return an A-ABORT of the service provider."""
    return struct.pack(">BxLxxBB", PduType.ABORT, 4, 0x02, reason)


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return struct.pack(">BxLxBBB", PduType.ASSOCIATE_RJ, 4, result, source, reason)


def command_pdus(context_id: int, command: bytes, maximum_length: int) -> bytes:
    """Return a command set as P-DATA-TF PDUs, no larger than the peer's maximum (0: unlimited), to be sent in one write."""
    return b"".join(_fragments(context_id, command, maximum_length))


def _fragments(context_id: int, command: bytes, maximum_length: int) -> Iterator[bytes]:
    # A maximum that leaves no room for one byte is answered as if it had left some: there is no smaller fragment.
    size = max(1, maximum_length - PDV_HEADER.size) if maximum_length else len(command)
    for start in range(0, len(command), size):
        piece = command[start : start + size]
        control = COMMAND_FRAGMENT | (LAST_FRAGMENT if start + size >= len(command) else 0)
        yield PDU_HEADER.pack(PduType.P_DATA, PDV_HEADER.size + len(piece))
        yield PDV_HEADER.pack(2 + len(piece), context_id, control) + piece
