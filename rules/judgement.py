"""Judgement: does a condition hold for a series' attributes, and in which words?

The words name keywords, and show values of technical attributes only. What may identify the patient (names, ids, dates,
free text) stays out of them, so that they can be logged and audited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from pydicom.datadict import keyword_dict

from rules.condition import NETWORK_KEYS, NUMERIC_VRS, Condition, ValueTest, is_numeric, representation
from rules.pattern import compile_pattern, matches
from rules.scalars import NUMBER, shown

Attributes: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""DICOM keyword (or `calling_ae_title`, `called_ae_title`) to text, or to one text a value."""
Values: TypeAlias = tuple[str, ...]

TECHNICAL_VRS = NUMERIC_VRS | {"CS"}
PATIENT_GROUP = 0x0010
"""Everything in group 0010 describes the patient, numbers and codes included (PS3.6)."""
NEUTRAL = frozenset({*NETWORK_KEYS, "Manufacturer", "ManufacturerModelName", "SOPClassUID", "ConvolutionKernel"})
"""Attributes of other value representations whose values say nothing of a person."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether one part of a condition holds, in words that can be logged."""

    holds: bool
    words: str


def findings(condition: Condition, attributes: Attributes) -> Iterator[Finding]:
    """Judge a condition part by part: its tests in the order of the file, then `all`, `any` and `not`; it holds if all do."""
    for key, test in condition.tests.items():
        yield _judge(key, test, attributes)
    for inner in condition.all or ():
        yield _conjunction(inner, attributes)
    if condition.any:
        yield _disjunction(condition.any, attributes)
    if condition.negation:
        inside = _conjunction(condition.negation, attributes)
        yield Finding(holds=not inside.holds, words=f"not ({inside.words})")


def _conjunction(condition: Condition, attributes: Attributes) -> Finding:
    words = []
    for finding in findings(condition, attributes):
        if not finding.holds:
            return finding
        words.append(finding.words)
    return Finding(holds=True, words="; ".join(words))


def _disjunction(conditions: tuple[Condition, ...], attributes: Attributes) -> Finding:
    words = []
    for condition in conditions:
        finding = _conjunction(condition, attributes)
        if finding.holds:
            return finding
        words.append(finding.words)
    return Finding(holds=False, words=f"none of any: ({' | '.join(words)})")


def _judge(key: str, test: ValueTest, attributes: Attributes) -> Finding:
    values = _values(attributes.get(key, ()))
    form = next(form for form in FORMS if getattr(test, form.key) is not None)
    holds = form.holds(key, test, values)
    return Finding(holds=holds, words=_words(key, form.expected(test), values, holds=holds))


def _values(found: str | Values) -> Values:
    texts = (found,) if isinstance(found, str) else found
    return tuple(text for text in (text.strip(" \0") for text in texts) if text)


def _equal(key: str, wanted: Values, values: Values) -> bool:
    if not is_numeric(key):
        return not set(wanted).isdisjoint(values)
    return not {_number(text) or text for text in wanted}.isdisjoint(_number(text) or text for text in values)


def _in_range(key: str, test: ValueTest, values: Values) -> bool:
    if test.range is None:
        return False
    low = float("-inf") if test.range.minimum is None else test.range.minimum
    high = float("inf") if test.range.maximum is None else test.range.maximum
    return any(low <= float(text) <= high for text in values if NUMBER.fullmatch(text))


def _matches(_key: str, test: ValueTest, values: Values) -> bool:
    pattern = compile_pattern(test.matches or "")
    return any(matches(pattern, value) for value in values)


def _presence(_key: str, test: ValueTest, values: Values) -> bool:
    return bool(values) == test.present


def _number(text: str) -> tuple[float] | None:
    return (float(text),) if NUMBER.fullmatch(text) else None


def _words(key: str, expected: str, values: Values, *, holds: bool) -> str:
    if not values:
        return f"{key}: expected {expected}, got no value" if _is_neutral(key) else f"{key}: absent or empty"
    if not _is_neutral(key):
        return f"{key}: {'as expected' if holds else 'not as expected'} (values are not shown: they may identify the patient)"
    return f"{key}: expected {expected}, got {', '.join(map(shown, values[:8]))}"


@lru_cache(maxsize=1024)
def _is_neutral(key: str) -> bool:
    if key in NEUTRAL:
        return True
    group = keyword_dict[key] >> 16
    return group != PATIENT_GROUP and not TECHNICAL_VRS.isdisjoint(representation(key).split(" or "))


def _range_words(test: ValueTest) -> str:
    low, high = (None, None) if test.range is None else (test.range.minimum, test.range.maximum)
    return " and ".join(
        words for words in ("" if low is None else f"at least {low:g}", "" if high is None else f"at most {high:g}") if words
    )


@dataclass(frozen=True, kw_only=True)
class _Form:
    key: str
    holds: Callable[[str, ValueTest, Values], bool]
    expected: Callable[[ValueTest], str]


FORMS = (
    _Form(key="equals", holds=lambda key, test, values: _equal(key, (test.equals or "",), values), expected=lambda test: repr(test.equals)),
    _Form(
        key="one_of",
        holds=lambda key, test, values: _equal(key, test.one_of or (), values),
        expected=lambda test: f"one of {', '.join(map(shown, test.one_of or ()))}",
    ),
    _Form(key="matches", holds=_matches, expected=lambda test: f"a match of {shown(test.matches)}"),
    _Form(key="range", holds=_in_range, expected=_range_words),
    _Form(key="present", holds=_presence, expected=lambda test: "a value" if test.present else "no value"),
)
"""How each form of a test is judged and said."""
