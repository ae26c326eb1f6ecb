"""A received instance: what a C-STORE command says, where its bytes go while they come, and the answer that it gets."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Protocol

Fragment = bytes | memoryview
"""Some of the bytes of a data set; a view is valid only during the call that it is given to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreCommand:
    """A C-STORE request before its data set; nothing in it is decoded."""

    sop_class_uid: str
    """Affected SOP Class UID of the command (PS3.7 section 9.1.1)."""
    sop_instance_uid: str
    """Affected SOP Instance UID of the command."""
    transfer_syntax_uid: str
    """As negotiated for the presentation context: the encoding of the data set."""
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    """IP address of the peer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReceivedInstance(StoreCommand):
    """One whole C-STORE request."""

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


class Deposit(Protocol):
    """One instance on its way in: any number of `write`s, then exactly one of `keep` and `drop`."""

    def write(self, fragment: Fragment) -> None:
        """Take the next bytes of the data set; what goes wrong (a full disk, say) is told by `keep`."""

    def keep(self) -> StoreOutcome:
        """The data set is complete: make it durable, and say how the C-STORE is answered."""

    def drop(self) -> None:
        """The data set will never be complete: leave nothing of it behind."""


class Intake(Protocol):
    """Takes instances from many associations at once, each in the thread of its association."""

    def begin(self, command: StoreCommand) -> Deposit:
        """Prepare for the data set of a C-STORE."""


Store = Callable[[ReceivedInstance], StoreOutcome]
"""Keeps a whole instance and says how the C-STORE is answered."""


class InMemory:
    """An intake for small instances: gathers each in memory and hands it to `store` whole."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, command: StoreCommand) -> Deposit:
        """Prepare for the data set of a C-STORE."""
        return _Gathered(self._store, command)


class _Gathered:
    def __init__(self, store: Store, command: StoreCommand) -> None:
        self._store = store
        self._command = command
        self._encoded = bytearray()

    def write(self, fragment: Fragment) -> None:
        self._encoded += fragment

    def keep(self) -> StoreOutcome:
        return self._store(ReceivedInstance(**vars(self._command), encoded=bytes(self._encoded)))

    def drop(self) -> None:
        self._encoded.clear()
