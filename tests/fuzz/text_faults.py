"""Faults of texts in lines and tokens: YAML that grows or loops, JSON and XML of other shapes, controls that hide what is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tests.fuzz.byte_faults import Dice, broken

VALUES = (
    "NaN", ".inf", "-.inf", "1e999", "-1", "0", "99999999999999999999999", "0x10", "0o17", "1_000", "12:30:45", "true", "no", "~", "''",
    '""', "[]", "{}", "[[], {}]", "{a: {b: c}}", "null", "2001-01-01", "!!python/object/apply:os.system [id]", "!!binary aGk=", "!<x> y",
    "*nobody", "\u202eabc\u202c", "\u0000", "\ufeff", "\x07", "\u2028", "a\u0301" * 40, "A" * 5000, "../../../../etc/passwd", "/dev/zero",
    "/proc/self/mem", "(a+)+$", "(" * 300, "[a-z]{1,99999999}", "(?P<x>a)(?P=x)*", "{0}{1}%s%n", "<script>", "&lt;", "\\", "\t",
    "- - - - x", "? x", ": :", "|", ">", "https://[::1", "http://user:pw@host:99999/", "1.2.3", "5 mm", "\u00e9", "\U0001f600",
)  # fmt: skip
_LAUGHS = zip("abcdefgh", "bcdefghi", strict=True)
BOMBS = (
    "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in _LAUGHS),
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "rules: &r\n- match: *r\n",
    "[" * 4000,
    "{a: " * 2000,
    "- " * 3000,
    "<<: &a {<<: *a}\n",
    "? " * 1500,
    "a: " + "b" * 2_000_000,
)
_TOKEN = re.compile(r"[^\s:,\[\]{}\"'<>=]+")
Fault = Callable[[Dice, str, Sequence[str]], str]
"""Breaks a text; the list holds other texts to borrow from."""


def damaged(dice: Dice, text: str, others: Sequence[str], faults: Sequence[Fault]) -> bytes:
    """Return a text after a few faults, as bytes."""
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        text = dice.choice(faults)(dice, text, others)
    encoded = text.encode("utf-8", errors="replace")
    return broken(dice, encoded, dice.choice((1, 2, 6))) if dice.random() < 0.2 else encoded


def _value(dice: Dice, text: str, _: Sequence[str]) -> str:
    """One word for a telling one."""
    words = list(_TOKEN.finditer(text))
    if not words:
        return text + dice.choice(VALUES)
    word = dice.choice(words)
    return text[: word.start()] + dice.choice(VALUES) + text[word.end() :]


def _lent_word(dice: Dice, text: str, others: Sequence[str]) -> str:
    words = list(_TOKEN.finditer(text))
    lent: list[str] = _TOKEN.findall(dice.choice(others))
    if not words or not lent:
        return text
    word = dice.choice(words)
    return text[: word.start()] + dice.choice(lent) + text[word.end() :]


def _lines(change: Callable[[Dice, list[str]], list[str]]) -> Fault:
    return lambda dice, text, _: "\n".join(change(dice, text.split("\n")))


def _without(dice: Dice, lines: list[str]) -> list[str]:
    place = dice.randrange(len(lines))
    return lines[:place] + lines[place + dice.choice((1, 1, 5)) :]


def _again(dice: Dice, lines: list[str]) -> list[str]:
    place = dice.randrange(len(lines))
    return lines[:place] + [lines[place]] * dice.choice((2, 2, 30)) + lines[place + 1 :]


def _moved(dice: Dice, lines: list[str]) -> list[str]:
    lines = [*lines]
    line = lines.pop(dice.randrange(len(lines)))
    lines.insert(dice.randrange(len(lines) + 1), line)
    return lines


def _indented(dice: Dice, lines: list[str]) -> list[str]:
    place = dice.randrange(len(lines))
    return [*lines[:place], dice.choice((" ", "  ", "\t", "      ", "- ")) + lines[place], *lines[place + 1 :]]


def _outdented(dice: Dice, lines: list[str]) -> list[str]:
    place = dice.randrange(len(lines))
    return [*lines[:place], lines[place].lstrip(" -"), *lines[place + 1 :]]


def _bomb(dice: Dice, text: str, _: Sequence[str]) -> str:
    bomb = dice.choice(BOMBS)
    return dice.choice((bomb, bomb + text, text + "\n" + bomb))


def _looped(dice: Dice, text: str, _: Sequence[str]) -> str:
    """An anchor on one value and aliases of it elsewhere, within itself at worst."""
    words = sorted(dice.sample(list(_TOKEN.finditer(text)), k=min(2, len(_TOKEN.findall(text)))), key=lambda word: word.start())
    for word, mark in zip(reversed(words), ("*loop", "&loop x"), strict=False):
        text = text[: word.start()] + mark + text[word.end() :]
    return text


def _spliced(dice: Dice, text: str, others: Sequence[str]) -> str:
    other = dice.choice(others)
    return text[: dice.randrange(len(text) + 1)] + other[dice.randrange(len(other) + 1) :]


def _nested(opening: str, closing: str) -> Fault:
    def fault(dice: Dice, text: str, _: Sequence[str]) -> str:
        place, depth = dice.randrange(len(text) + 1), dice.choice((3, 60, 1200, 100_000))
        return text[:place] + opening * depth + closing * dice.choice((0, depth)) + text[place:]

    return fault


YAML: tuple[Fault, ...] = (
    _value, _value, _value, _value, _lent_word, _lent_word, _lines(_without), _lines(_again), _lines(_moved), _lines(_indented),
    _lines(_outdented), _looped, _bomb, _spliced,
)  # fmt: skip
JSON: tuple[Fault, ...] = (_value, _value, _value, _lent_word, _spliced, _nested("[", "]"), _nested('{"Value": [', "]}"))
XML: tuple[Fault, ...] = (_value, _value, _lent_word, _spliced, _nested("<a>", "</a>"), _nested("<!DOCTYPE x [<!ENTITY a 'b'>]>", ""))
