"""Predicates: conditions compiled once into plain functions, so that thousands of series pass hundreds of rules in a moment.

The one place that decides whether a test holds. The words for it are formed elsewhere (`rules.judgement`), and only for the
rules that somebody asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from rules.condition import SOURCE_ADDRESS, Condition, ValueTest, is_numeric
from rules.networks import lies_in, network
from rules.pattern import compile_pattern, matches
from rules.scalars import NUMBER

Attributes: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Condition key (DICOM keyword, fact or part of the association) to text, or to one text a value."""
Values: TypeAlias = tuple[str, ...]
ValuesByKey: TypeAlias = Mapping[str, Values]
ValuePredicate: TypeAlias = Callable[[Values], bool]
Predicate: TypeAlias = Callable[[ValuesByKey], bool]


def values_by_key(attributes: Attributes) -> dict[str, Values]:
    """Return every attribute's values without DICOM's padding; empty values are dropped, as if they were absent."""
    return {key: stripped_values(found) for key, found in attributes.items()}


def stripped_values(found: str | Values) -> Values:
    """Return the values of one attribute without padding and without empty ones."""
    texts = (found,) if isinstance(found, str) else found
    return tuple(text for text in (text.strip(" \0") for text in texts) if text)


def condition_predicate(condition: Condition) -> Predicate:
    """Return the function that tells whether a condition holds; its parts are tried in the order of the file."""
    parts = [_on_key(key, value_predicate(key, test)) for key, test in condition.tests.items()]
    parts += [condition_predicate(inner) for inner in condition.all or ()]
    if condition.any:
        parts.append(_any([condition_predicate(inner) for inner in condition.any]))
    if condition.negation:
        parts.append(_not(condition_predicate(condition.negation)))
    return parts[0] if len(parts) == 1 else _all(parts)


def value_predicate(key: str, test: ValueTest) -> ValuePredicate:
    """Return the function that tells whether the values of `key` pass a test."""
    form = next(name for name in FORMS if getattr(test, name) is not None)
    return FORMS[form](key, test)


def _on_key(key: str, holds: ValuePredicate) -> Predicate:
    return lambda values: holds(values.get(key, ()))


def _all(parts: list[Predicate]) -> Predicate:
    def every(values: ValuesByKey) -> bool:
        for part in parts:  # noqa: SIM110  # a generator in all() costs three times as much on this hot path
            if not part(values):
                return False
        return True

    return every


def _any(parts: list[Predicate]) -> Predicate:
    return lambda values: any(part(values) for part in parts)


def _not(inner: Predicate) -> Predicate:
    return lambda values: not inner(values)


def _equality(key: str, wanted: Values) -> ValuePredicate:
    if key == SOURCE_ADDRESS:
        networks = tuple(map(network, wanted))
        return lambda values: any(lies_in(value, one) for value in values for one in networks)
    if is_numeric(key):
        numbers = frozenset(_number(text) for text in wanted)
        return lambda values: not numbers.isdisjoint(map(_number, values))
    texts = frozenset(wanted)
    return lambda values: not texts.isdisjoint(values)


def _interval(_key: str, test: ValueTest) -> ValuePredicate:
    interval = test.range
    low = float("-inf") if interval is None or interval.minimum is None else interval.minimum
    high = float("inf") if interval is None or interval.maximum is None else interval.maximum
    return lambda values: any(low <= float(text) <= high for text in values if NUMBER.fullmatch(text))


def _pattern(_key: str, test: ValueTest) -> ValuePredicate:
    pattern = compile_pattern(test.matches or "")
    return lambda values: any(matches(pattern, value) for value in values)


def _number(text: str) -> float | str:
    return float(text) if NUMBER.fullmatch(text) else text


FORMS: Mapping[str, Callable[[str, ValueTest], ValuePredicate]] = {
    "equals": lambda key, test: _equality(key, (test.equals or "",)),
    "one_of": lambda key, test: _equality(key, test.one_of or ()),
    "matches": _pattern,
    "range": _interval,
    "present": lambda _key, test: lambda values: bool(values) == test.present,
}
"""How each form of a test is decided."""
