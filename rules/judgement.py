"""Judgement: does a condition hold for a series' attributes, and in which words?

The words name keywords, and show values of technical attributes only. What may identify the patient (names, ids, dates,
free text) stays out of them, so that they can be logged and audited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import keyword_dict

from rules.condition import NETWORK_KEYS, NUMERIC_VRS, Condition, ValueTest, representation
from rules.facts import FACTS
from rules.predicates import Attributes, Values, stripped_values, value_predicate
from rules.scalars import shown

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


def findings(condition: Condition, attributes: Attributes, *, identify: bool = False) -> Iterator[Finding]:
    """Judge a condition part by part: its tests in the order of the file, then `all`, `any` and `not`; it holds if all do.

    With `identify` the words show every value, for a person who may see them: they must never be logged then.
    """
    for key, test in condition.tests.items():
        yield _judge(key, test, attributes, identify=identify)
    for inner in condition.all or ():
        yield _conjunction(inner, attributes, identify=identify)
    if condition.any:
        yield _disjunction(condition.any, attributes, identify=identify)
    if condition.negation:
        inside = _conjunction(condition.negation, attributes, identify=identify)
        yield Finding(holds=not inside.holds, words=f"not ({inside.words})")


def _conjunction(condition: Condition, attributes: Attributes, *, identify: bool) -> Finding:
    words = []
    for finding in findings(condition, attributes, identify=identify):
        if not finding.holds:
            return finding
        words.append(finding.words)
    return Finding(holds=True, words="; ".join(words))


def _disjunction(conditions: tuple[Condition, ...], attributes: Attributes, *, identify: bool) -> Finding:
    words = []
    for condition in conditions:
        finding = _conjunction(condition, attributes, identify=identify)
        if finding.holds:
            return finding
        words.append(finding.words)
    return Finding(holds=False, words=f"none of any: ({' | '.join(words)})")


def _judge(key: str, test: ValueTest, attributes: Attributes, *, identify: bool) -> Finding:
    values = stripped_values(attributes.get(key, ()))
    holds = value_predicate(key, test)(values)
    return Finding(holds=holds, words=_words(key, _expected(test), values, holds=holds, shows=identify or _is_neutral(key)))


def _words(key: str, expected: str, values: Values, *, holds: bool, shows: bool) -> str:
    if not values:
        return f"{key}: expected {expected}, got no value" if shows else f"{key}: absent or empty"
    if not shows:
        return f"{key}: {'as expected' if holds else 'not as expected'} (values are not shown: they may identify the patient)"
    return f"{key}: expected {expected}, got {', '.join(map(shown, values[:8]))}"


@lru_cache(maxsize=1024)
def _is_neutral(key: str) -> bool:
    if key in NEUTRAL or key in FACTS:
        return True
    group = keyword_dict[key] >> 16
    return group != PATIENT_GROUP and not TECHNICAL_VRS.isdisjoint(representation(key).split(" or "))


def _range_words(test: ValueTest) -> str:
    low, high = (None, None) if test.range is None else (test.range.minimum, test.range.maximum)
    return " and ".join(
        words for words in ("" if low is None else f"at least {low:g}", "" if high is None else f"at most {high:g}") if words
    )


def _expected(test: ValueTest) -> str:
    form = next(name for name in EXPECTED if getattr(test, name) is not None)
    return EXPECTED[form](test)


EXPECTED: Mapping[str, Callable[[ValueTest], str]] = {
    "equals": lambda test: repr(test.equals),
    "one_of": lambda test: f"one of {', '.join(map(shown, test.one_of or ()))}",
    "matches": lambda test: f"a match of {shown(test.matches)}",
    "range": _range_words,
    "present": lambda test: "a value" if test.present else "no value",
}
"""How each form of a test is said."""
