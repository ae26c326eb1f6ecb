"""Faults of bytes: what wires, disks and enemies do to any stream, whatever it means."""

from __future__ import annotations

import random
from collections.abc import Callable

Dice = random.Random
LENGTHS = (0, 1, 2, 5, 6, 255, 4096, 65535, 0x7FFFFFFF, 0xFFFFFFFF)


def _flip(dice: Dice, stream: bytes) -> bytes:
    if not stream:
        return stream
    place = dice.randrange(len(stream))
    return stream[:place] + bytes((stream[place] ^ 1 << dice.randrange(8),)) + stream[place + 1 :]


def _cut(dice: Dice, stream: bytes) -> bytes:
    return stream[: dice.randrange(len(stream) + 1)]


def _drop(dice: Dice, stream: bytes) -> bytes:
    place = dice.randrange(len(stream) + 1)
    return stream[:place] + stream[place + dice.randrange(20) :]


def _repeat(dice: Dice, stream: bytes) -> bytes:
    start, place = dice.randrange(len(stream) + 1), dice.randrange(len(stream) + 1)
    return stream[:place] + stream[start : start + dice.randrange(100)] + stream[place:]


def _insert(dice: Dice, stream: bytes) -> bytes:
    place = dice.randrange(len(stream) + 1)
    return stream[:place] + dice.randbytes(dice.randrange(12)) + stream[place:]


def _length(dice: Dice, stream: bytes) -> bytes:
    """Put a telling number where a length may be."""
    place = dice.randrange(len(stream) + 1)
    order = dice.choice(("big", "little"))
    return stream[:place] + dice.choice(LENGTHS).to_bytes(4, order) + stream[place + 4 :]  # type: ignore[arg-type]


FAULTS: tuple[Callable[[Dice, bytes], bytes], ...] = (_flip, _flip, _cut, _drop, _repeat, _insert, _length)


def broken(dice: Dice, stream: bytes, times: int) -> bytes:
    """Return a stream after some faults."""
    for _ in range(times):
        stream = dice.choice(FAULTS)(dice, stream)
    return stream
