"""A received instance: the bytes of one C-STORE as the peer sent them, and the answer that it gets."""

from __future__ import annotations

import dataclasses
import enum


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReceivedInstance:
    """One C-STORE request; nothing in it is decoded."""

    sop_class_uid: str
    """Affected SOP Class UID of the command (PS3.7 section 9.1.1)."""
    sop_instance_uid: str
    """Affected SOP Instance UID of the command."""
    transfer_syntax_uid: str
    """As negotiated for the presentation context: the encoding of `encoded`."""
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    """IP address of the peer."""
    encoded: bytes
    """The data set as sent: no preamble, no file meta."""


class StoreOutcome(enum.IntEnum):
    """The DIMSE status that answers a C-STORE (PS3.4 table B.2-1)."""

    SUCCESS = 0x0000
    """The instance is kept, durably."""
    OUT_OF_RESOURCES = 0xA700
    """Our side cannot keep it now; the peer may send it again later."""
    DATA_SET_MISMATCH = 0xA900
    """The data set is not the object that the command names."""
    CANNOT_UNDERSTAND = 0xC000
    """The bytes are no data set, or identify no instance."""
