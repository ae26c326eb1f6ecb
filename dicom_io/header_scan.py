"""A data set's header, walked and not decoded: the raw values of a few elements before a tag, whatever lies between them.

Works on bytes or on a memory map. Long values are stepped over, so that the cost depends on the number of elements before the
tag and never on the size of the object.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Set

Encoded = bytes | bytearray | mmap.mmap

MAXIMUM_ELEMENTS = 1 << 16
"""A header with more, counting those in sequences, is a trap rather than a header."""
MAXIMUM_DEPTH = 64
"""Sequences within sequences."""

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs whose length takes four bytes, after two reserved ones (PS3.5 table 7.1-1)."""
_SHORT_VRS = frozenset(
    (
        b"AE",
        b"AS",
        b"AT",
        b"CS",
        b"DA",
        b"DS",
        b"DT",
        b"FD",
        b"FL",
        b"IS",
        b"LO",
        b"LT",
        b"PN",
        b"SH",
        b"SL",
        b"SS",
        b"ST",
        b"TM",
        b"UI",
        b"UL",
        b"US",
    )
)


class HeaderEnds(ValueError):
    """The bytes end, or go on without end, before the header does."""


def scan(encoded: Encoded, wanted: Set[int], *, explicit: bool, little: bool, start: int = 0) -> dict[int, bytes]:
    """Return tag -> raw value of the `wanted` elements of the top level; stops at the first tag beyond the last of them.

    The data set begins at byte `start`.

    `explicit` is what the transfer syntax says of VRs; the first element decides, as some senders encode otherwise than they
    agreed. Raises HeaderEnds where the bytes end before a tag beyond the wanted ones was seen or the data set is complete.
    """
    vr = bytes(encoded[start + 4 : start + 6])
    return _Scanner(encoded, explicit=_is_explicit(vr, agreed=explicit), little=little).scan(wanted, start)


class _Scanner:
    def __init__(self, encoded: Encoded, *, explicit: bool, little: bool) -> None:
        self._encoded = encoded
        self._explicit = explicit
        order = "<" if little else ">"
        self._tag = struct.Struct(f"{order}HH")
        self._short = struct.Struct(f"{order}H")
        self._long = struct.Struct(f"{order}L")
        self._left = MAXIMUM_ELEMENTS

    def scan(self, wanted: Set[int], position: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        last, end = max(wanted), len(self._encoded)
        while position < end:
            tag, length, start = self._element(position, explicit=self._explicit)
            if tag > last:
                break
            if length == UNDEFINED:
                position = self._after_sequence(start, explicit=self._explicit and self._encoded[position + 4 : position + 6] != b"UN")
                continue
            position = start + length
            if tag in wanted:
                if position > end:
                    raise HeaderEnds("bytes that end within a UID")
                found[tag] = bytes(self._encoded[start:position])
        return found

    def _element(self, position: int, *, explicit: bool) -> tuple[int, int, int]:
        """Tag, length and place of the value of the element at `position`."""
        self._left -= 1
        encoded = self._encoded
        if position + 8 > len(encoded) or self._left < 0:
            raise HeaderEnds("bytes that end within the header, or a header without end")
        group, number = self._tag.unpack_from(encoded, position)
        tag = group << 16 | number
        vr = encoded[position + 4 : position + 6]
        if not explicit or group == 0xFFFE:
            return tag, self._long.unpack_from(encoded, position + 4)[0], position + 8
        if vr not in _LONG_VRS:
            return tag, self._short.unpack_from(encoded, position + 6)[0], position + 8
        if position + 12 > len(encoded):
            raise HeaderEnds("bytes that end within the header")
        return tag, self._long.unpack_from(encoded, position + 8)[0], position + 12

    def _after_sequence(self, position: int, *, explicit: bool) -> int:
        """The place behind the sequence (or encapsulated value) of undefined length whose first item is at `position`."""
        # (what ends it, whether its elements have VRs); a sequence of VR UN is encoded with implicit VRs (PS3.5 section 6.2.2).
        open_ends = [(_SEQUENCE_END, explicit)]
        while open_ends:
            ending, explicit = open_ends[-1]
            tag, length, start = self._element(position, explicit=explicit)
            if tag == ending:
                open_ends.pop()
                position = start
            elif length != UNDEFINED:
                position = start + length
            elif len(open_ends) > MAXIMUM_DEPTH:
                raise HeaderEnds("sequences within sequences without end")
            else:
                is_unknown = explicit and self._encoded[position + 4 : position + 6] == b"UN"
                open_ends.append((_ITEM_END if tag == _ITEM else _SEQUENCE_END, explicit and not is_unknown))
                position = start
        return position


def _is_explicit(vr: bytes, *, agreed: bool) -> bool:
    is_vr = vr in _LONG_VRS or vr in _SHORT_VRS
    # Two capital letters that are no VR we know: a VR younger than us, if VRs were agreed on.
    return is_vr or (agreed and vr.isalpha() and vr.isupper())
