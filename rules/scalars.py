"""Scalars of a YAML file: all arrive as text, and the declared type converts them by the few spellings given here.

YAML's own guesses (0104 is 68, ON is true, 1.20 is 1.2, 12:30 is 750) never apply.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
DIGITS = 18
"""Longest integer that is read: beyond it no setting has a meaning."""


class Section(BaseModel):
    """A mapping with known keys only; frozen. The docstrings of its fields become the JSON Schema's descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def integer(value: object) -> object:
    """Convert text to int; other types pass on to the declared type. Raises ValueError for anything but plain decimal digits."""
    if not isinstance(value, str):
        return value
    if not INTEGER.fullmatch(value) or len(value) > DIGITS:
        raise ValueError(f"expected a whole number without leading zeros, got {shown(value)}")
    return int(value)


def number(value: object) -> object:
    """Convert text to float; raises ValueError for anything but a decimal number (no inf, no nan, no unit)."""
    if not isinstance(value, str):
        return value
    if not NUMBER.fullmatch(value):
        raise ValueError(f"expected a number (the unit stands in the key's name), got {shown(value)}")
    return float(value)


def flag(value: object) -> object:
    """Convert `true` or `false` to bool; raises ValueError for every other spelling (yes, on, 1)."""
    if not isinstance(value, str):
        return value
    if value not in ("true", "false"):
        raise ValueError(f"expected true or false, got {shown(value)}")
    return value == "true"


Integer: TypeAlias = Annotated[int, BeforeValidator(integer)]
Number: TypeAlias = Annotated[float, BeforeValidator(number)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(flag)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def near_match(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or nothing if none is near."""
    by_lower = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
