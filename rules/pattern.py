"""Regular expressions in rules, bounded: what a sender writes into a header can never make one run for ever.

Python's `re` tries every way to split a text among the repeats of a pattern. A repeat inside a repeat, or many repeats in a
row, makes that exponential or a high power of the text's length, so both are refused when the rule is loaded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

MAXIMUM_LENGTH = 200
MAXIMUM_REPEATS = 4
"""`*`, `+`, `?` and `{m,n}` together: with the longest subject, at most some millions of steps."""
MAXIMUM_SUBJECT = 128
"""Longer texts never match: descriptions and names in DICOM hold at most 64 characters (PS3.5 table 6.2-1, LO and SH)."""

REPEAT = re.compile(r"[*+?]|\{\d*,?\d*\}")
TOKEN = re.compile(
    r"\\."  # an escaped character
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a set of characters
    r"|\(\?[aiLmsu-]*\)"  # flags for the whole pattern
    r"|\((?:\?(?:[:=!>]|<[=!]|P?<\w+>|[aiLmsu-]*:))?"  # the start of a group
    rf"|[)|]|{REPEAT.pattern}|.",
    re.DOTALL,
)
VERBOSE = re.compile(r"\(\?[aiLmsu-]*x")


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> re.Pattern[str]:
    """Return the compiled pattern; raises ValueError (expected, got, cure) for one that is wrong or could run for ever."""
    if len(text) > MAXIMUM_LENGTH:
        raise ValueError(f"expected a pattern of at most {MAXIMUM_LENGTH} characters, got {len(text)}")
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression, got {text!r}: {error}") from error
    if VERBOSE.search(text):
        raise ValueError(f"expected a pattern without the flag x (spaces that do not count), got {text!r}")
    _refuse_costly(text)
    return pattern


def _checked(text: str) -> str:
    compile_pattern(text)
    return text


Pattern: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""The text of a pattern in a rule; it is checked when the rule is read."""


def matches(pattern: re.Pattern[str], subject: str) -> bool:
    """Tell whether the whole of `subject` matches; texts beyond `MAXIMUM_SUBJECT` characters never do."""
    return len(subject) <= MAXIMUM_SUBJECT and pattern.fullmatch(subject) is not None


def _refuse_costly(text: str) -> None:
    tokens = TOKEN.findall(text)
    repeats = 0
    branching = [False]  # for each open group: does it hold a repeat or an alternative?
    closed = False  # was the token before this one the end of such a group?
    after_repeat = False
    for token in tokens:
        is_repeat = bool(REPEAT.fullmatch(token)) and not after_repeat  # `?` after a repeat only makes it lazy
        # An optional group adds one more way, a repeated one multiplies them.
        if is_repeat and closed and token != "?":
            raise ValueError(f"expected no repeated group that holds a repeat or an alternative, got {text!r}; it could take for ever")
        repeats += is_repeat
        branching[-1] = branching[-1] or is_repeat or token == "|"
        closed = _step(token, branching)
        after_repeat = is_repeat
    if repeats > MAXIMUM_REPEATS:
        cure = "split it into several conditions under `any`"
        raise ValueError(f"expected at most {MAXIMUM_REPEATS} repeats (* + ? {{m,n}}) in a pattern, got {repeats}; {cure}")


def _step(token: str, branching: list[bool]) -> bool:
    if token.startswith("(") and not token.endswith(")"):
        branching.append(False)
    elif token == ")" and len(branching) > 1:
        inner = branching.pop()
        branching[-1] = branching[-1] or inner
        return inner
    return False
