"""A data set as a tree of elements that can be broken one by one and still be encoded, with lengths that lie where told to.

Reads Explicit VR Little Endian, which all seeds are written in, and writes that, Implicit VR, Big Endian or deflated (PS3.5 annex A).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TypeAlias

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PREAMBLE = b"\0" * 128 + b"DICM"
_SWAPPED = {b"US": 2, b"SS": 2, b"OW": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"AT": 2, b"FD": 8, b"OD": 8}


@dataclass(frozen=True, slots=True)
class Element:
    """One element; the items of a sequence are trees themselves."""

    tag: int
    vr: bytes
    value: bytes | tuple[Tree, ...]
    claimed: int | None = None
    """The length that it states, where that is not its own."""


Tree: TypeAlias = tuple[Element, ...]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a tree is written; the file meta is always Explicit VR Little Endian."""

    explicit: bool = True
    little: bool = True
    undefined_lengths: bool = False
    deflated: bool = False


def parse(file: bytes) -> Tree:
    """Return the elements of a Part 10 file in Explicit VR Little Endian, its file meta among them."""
    return _elements(file, 132, len(file))[0]


def encode(tree: Tree, encoding: Encoding) -> bytes:
    """Return a Part 10 file."""
    meta = Encoding(undefined_lengths=encoding.undefined_lengths)
    head = b"".join(_encoded(element, meta) for element in tree if element.tag >> 16 == 2)
    body = b"".join(_encoded(element, encoding) for element in tree if element.tag >> 16 != 2)
    if encoding.deflated:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return PREAMBLE + head + body


def _elements(file: bytes, position: int, end: int) -> tuple[Tree, int]:
    found: list[Element] = []
    while position < end:
        group, number = struct.unpack_from("<HH", file, position)
        tag = group << 16 | number
        if tag == _ITEM_END:
            return tuple(found), position + 8
        vr = file[position + 4 : position + 6]
        if vr in LONG_VRS:
            length, start = struct.unpack_from("<L", file, position + 8)[0], position + 12
        else:
            length, start = struct.unpack_from("<H", file, position + 6)[0], position + 8
        if vr == b"SQ":
            items, position = _items(file, start, length)
            found.append(Element(tag, vr, items))
        elif length == UNDEFINED:  # encapsulated pixels, the last element
            found.append(Element(tag, vr, file[start:], UNDEFINED))
            position = len(file)
        else:
            found.append(Element(tag, vr, file[start : start + length]))
            position = start + length
    return tuple(found), position


def _items(file: bytes, position: int, length: int) -> tuple[tuple[Tree, ...], int]:
    items = []
    end = len(file) if length == UNDEFINED else position + length
    while position < end:
        group, number, size = struct.unpack_from("<HHL", file, position)
        position += 8
        if group << 16 | number == _SEQUENCE_END:
            break
        item, position = _elements(file, position, len(file) if size == UNDEFINED else position + size)
        items.append(item)
    return tuple(items), position


def _encoded(element: Element, encoding: Encoding) -> bytes:
    vr, value = element.vr, element.value
    if isinstance(value, tuple):
        content = b"".join(_item(item, encoding) for item in value)
        length = len(content)
        if encoding.undefined_lengths:
            content, length = content + _mark(_SEQUENCE_END, 0, encoding), UNDEFINED
    else:
        content = value if encoding.little else _swapped(vr, value)
        length = len(content)
    length = length if element.claimed is None else element.claimed
    order = "<" if encoding.little else ">"
    tag = struct.pack(f"{order}HH", element.tag >> 16, element.tag & 0xFFFF)
    if not encoding.explicit:
        return tag + struct.pack(f"{order}L", length) + content
    if vr in LONG_VRS:
        return tag + vr + b"\0\0" + struct.pack(f"{order}L", length) + content
    return tag + vr + struct.pack(f"{order}H", min(length, 0xFFFF)) + content


def _item(item: Tree, encoding: Encoding) -> bytes:
    content = b"".join(_encoded(element, encoding) for element in item)
    if encoding.undefined_lengths:
        return _mark(_ITEM, UNDEFINED, encoding) + content + _mark(_ITEM_END, 0, encoding)
    return _mark(_ITEM, len(content), encoding) + content


def _mark(tag: int, length: int, encoding: Encoding) -> bytes:
    return struct.pack("<HHL" if encoding.little else ">HHL", tag >> 16, tag & 0xFFFF, length)


def _swapped(vr: bytes, value: bytes) -> bytes:
    width = _SWAPPED.get(vr, 1)
    if width == 1 or len(value) % width:
        return value
    return b"".join(value[place : place + width][::-1] for place in range(0, len(value), width))
