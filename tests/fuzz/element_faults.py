"""Faults of data sets: lying lengths, confused VRs, numbers that are none, sequences without end, elements twice or not at all."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from tests.fuzz.byte_faults import LENGTHS, Dice, broken
from tests.fuzz.elements import LONG_VRS, UNDEFINED, Element, Encoding, Tree, encode

VRS = (
    *sorted(LONG_VRS),
    *(vr.encode() for vr in ["AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "PN", "SH", "UI", "UL", "US", "ZZ"]),
)
DEEP = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED), struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
DEPTHS = (2, 40, 300, 1500, 20000)

_NUMBERS = (
    b"NaN", b"-inf", b"1e400", b"1e308 ", b"-1", b"0 ", b"1\\2\\3 ", b"", b"99999999999999999999", b"1,5 ", b"0x10", b"\xff\xfe", b"  ",
    b"1e-320", b"--", b"2147483648", b"65535 ", b"0.0000001 ", b"1_0 ", b"\xd9\xa1\xd9\xa2", b"1e5 ", b"20001 ", b"5e", b"1\\NaN\\3 ",
)  # fmt: skip
_TEXTS = (
    b"", b"\xff\xfe\xfd", b"\x1b$B\x30\x21", b"a\r\nERROR injected ", b"\xe2\x80\xaeabc", b"A" * 70000, b"%s%n{0}{", b"\0\0\0\0",
    b"\x1b[31m", b"../../etc/passwd", b"\\" * 40, b"=" * 40, b"None", b"<script>", b"'\"", b"\xc3\x28", b"a^b^c^d^e^f^g^h",
)  # fmt: skip
_UIDS = (
    b"", b"../../../etc/x", b"1..2", b"1." * 40, b"\0", b".", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50",
    b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.8.1", b"1.2.840.10008.5.1.4.1.1.2",
    b"1.2.840.10008.5.1.4.1.1.2.1", b"1.2.840.10008.5.1.4.1.1.4", b"1.2.840.10008.5.1.4.1.1.128", b"1.2.840.10008.5.1.4.1.1.66.4",
    b"1.2.840.10008.5.1.4.1.1.66.7", b"1.2.840.10008.5.1.4.1.1.3.1", b"1.2.840.10008.5.1.4.1.1.88.34", b"1.2.3\\4.5.6", b"1.2/../3",
    b"\xff\xff", b"1.2.840.10008.1.3.10",
)  # fmt: skip


def damaged(dice: Dice, tree: Tree, others: Sequence[Tree]) -> bytes:
    """Return a file of `tree` after a few faults; `others` lend elements."""
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        tree = _once(dice, tree, others)
    file = encode(tree, _encoding(dice))
    return broken(dice, file, dice.choice((1, 1, 4))) if dice.random() < 0.2 else file


def whole(tree: Tree) -> bytes:
    """Return the file of a tree that nothing happened to."""
    return encode(tree, Encoding())


def _encoding(dice: Dice) -> Encoding:
    # Mostly what the file meta says; else a sender that encodes otherwise than it states.
    if dice.random() < 0.88:
        return Encoding(undefined_lengths=dice.random() < 0.4)
    return Encoding(
        explicit=dice.random() < 0.4, little=dice.random() < 0.7, undefined_lengths=dice.random() < 0.5, deflated=dice.random() < 0.2
    )


def _once(dice: Dice, tree: Tree, others: Sequence[Tree]) -> Tree:
    """Break one element, at the top or deep within."""
    if not tree:
        return tree
    place = dice.randrange(len(tree))
    element = tree[place]
    if isinstance(element.value, tuple) and element.value and dice.random() < 0.85:
        item = dice.randrange(len(element.value))
        below = _once(dice, element.value[item], others)
        items = (*element.value[:item], below, *element.value[item + 1 :])
        return (*tree[:place], Element(element.tag, element.vr, items, element.claimed), *tree[place + 1 :])
    lent = dice.choice(dice.choice(others) or tree)
    return (*tree[:place], *dice.choice(FAULTS)(dice, element, lent), *tree[place + 1 :])


Fault = Callable[[Dice, Element, Element], Tree]
"""Breaks an element; the second is any other one. What comes back stands in its place."""


def telling(dice: Dice, vr: bytes) -> bytes:
    """Return a value that a reader of this VR may stumble over."""
    if vr in (b"DS", b"IS"):
        return dice.choice(_NUMBERS)
    if vr == b"UI":
        return dice.choice(_UIDS)
    if vr in _BINARY:
        form, values = _BINARY[vr]
        count = dice.choice((0, 1, 1, 2, 3, 600))
        return b"".join(struct.pack(form, dice.choice(values)) for _ in range(count)) + dice.randbytes(dice.choice((0, 0, 0, 1, 3)))
    return dice.choice(_TEXTS)


_FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 3e38, 1e-40, 1e9)
_BINARY: dict[bytes, tuple[str, tuple[float, ...]]] = {
    b"US": ("<H", (0, 1, 2, 8, 15, 16, 255, 32768, 65535)),
    b"SS": ("<h", (0, 1, -1, -32768, 32767)),
    b"UL": ("<L", (0, 1, 65536, 2**31, 2**32 - 1)),
    b"SL": ("<l", (0, 1, -1, -(2**31), 2**31 - 1)),
    b"FL": ("<f", _FLOATS),
    b"FD": ("<d", (*_FLOATS, 1e308)),
    b"OF": ("<f", _FLOATS),
    b"OD": ("<d", _FLOATS),
    b"OW": ("<H", (0, 1, 65535)),
    b"OB": ("<B", (0, 1, 255)),
}


def _valued(dice: Dice, element: Element, _: Element) -> Tree:
    vr = element.vr if dice.random() < 0.9 else dice.choice(VRS)
    return (Element(element.tag, element.vr, telling(dice, vr)),)


def _absent(_dice: Dice, _element: Element, _: Element) -> Tree:
    return ()


def _twice(_dice: Dice, element: Element, _: Element) -> Tree:
    return element, element


def _emptied(_dice: Dice, element: Element, _: Element) -> Tree:
    return (Element(element.tag, element.vr, () if isinstance(element.value, tuple) else b""),)


def _confused(dice: Dice, element: Element, _: Element) -> Tree:
    return (Element(element.tag, dice.choice(VRS), element.value),)


def _lying(dice: Dice, element: Element, _: Element) -> Tree:
    own = len(element.value) if isinstance(element.value, bytes) else 8
    claimed = dice.choice((*LENGTHS, own + 1, own + 2, own + 60, max(0, own - 1), own * 2))
    return (Element(element.tag, element.vr, element.value, claimed),)


def _lent(_dice: Dice, element: Element, lent: Element) -> Tree:
    return (Element(element.tag, element.vr, lent.value),)


def _renamed(dice: Dice, element: Element, lent: Element) -> Tree:
    return (Element(lent.tag if dice.random() < 0.8 else dice.getrandbits(32), element.vr, element.value),)


def _joined(_dice: Dice, element: Element, lent: Element) -> Tree:
    return element, lent


def _deep(dice: Dice, element: Element, _: Element) -> Tree:
    depth = dice.choice(DEPTHS)
    return (Element(element.tag if dice.random() < 0.5 else 0x00081140, b"SQ", DEEP[1] + (DEEP[0] + DEEP[1]) * depth, UNDEFINED),)


def _many(dice: Dice, element: Element, _: Element) -> Tree:
    """A list that is far longer, or its items in another order."""
    if isinstance(element.value, tuple):
        items = list(element.value)
        dice.shuffle(items)
        return (Element(element.tag, element.vr, tuple(items * dice.choice((1, 2, 7)))),)
    separator = b"" if element.vr in _BINARY else b"\\"
    return (Element(element.tag, element.vr, separator.join([element.value] * dice.choice((2, 3, 500)))[:60000]),)


def _sequence(dice: Dice, element: Element, lent: Element) -> Tree:
    """A value where a sequence should be, or a sequence where a value should be."""
    if isinstance(element.value, tuple):
        return (Element(element.tag, element.vr, telling(dice, b"LO")),)
    return (Element(element.tag, b"SQ", ((lent,), ())),)


FAULTS: tuple[Fault, ...] = (
    _valued, _valued, _valued, _valued, _absent, _twice, _emptied, _confused, _lying, _lent, _renamed, _joined, _deep, _many, _sequence,
)  # fmt: skip
