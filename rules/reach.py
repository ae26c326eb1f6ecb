"""Reach: which rules can never apply because an earlier one takes everything they ask for, and which may compete.

The first rule that matches wins, so the order of rules is part of their meaning. What is said here is proven from the
conditions alone: a rule is called unreachable only if every series that meets it also meets an earlier enabled rule; two rules
are called overlapping unless some attribute keeps them apart for certain. Rules in shadow take nothing from others and need no
place in the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.datadict import dictionary_VM, keyword_dict

from rules.condition import SOURCE_ADDRESS, Condition, ValueTest, wanted_values
from rules.networks import overlap
from rules.predicates import value_predicate
from rules.rule import Rule, RuleSet


@dataclass(frozen=True, kw_only=True)
class Shadowed:
    """A rule that never applies, and the earlier rule that always does in its place."""

    rule: Rule
    by: Rule


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Two rules that may both match a series; the first one wins."""

    first: Rule
    second: Rule


def shadowed_rules(ruleset: RuleSet) -> tuple[Shadowed, ...]:
    """Return the enabled rules that no series can reach."""
    return tuple(found for later in _live(ruleset) if (found := _shadow(later, ruleset)) is not None)


def overlapping_rules(ruleset: RuleSet) -> tuple[Overlap, ...]:
    """Return the pairs of enabled rules that no attribute keeps apart, unreachable ones left out."""
    hidden = {found.rule.name for found in shadowed_rules(ruleset)}
    rules = [rule for rule in _live(ruleset) if rule.name not in hidden]
    pairs = ((first, second) for index, first in enumerate(rules) for second in rules[index + 1 :])
    return tuple(Overlap(first=first, second=second) for first, second in pairs if not _apart(first.match, second.match))


def _live(ruleset: RuleSet) -> Iterator[Rule]:
    return (rule for rule in ruleset.rules if rule.is_live)


def _shadow(later: Rule, ruleset: RuleSet) -> Shadowed | None:
    for earlier in _live(ruleset):
        if earlier.name == later.name:
            return None
        if _implies(later.match, earlier.match):
            return Shadowed(rule=later, by=earlier)
    return None


def _implies(narrow: Condition, wide: Condition) -> bool:
    """Tell whether every series that meets `narrow` meets `wide` for certain."""
    tests = all(any(_test_implies(key, have, test) for have in _tests_on(key, narrow)) for key, test in wide.tests.items())
    every = all(_implies(narrow, inner) for inner in wide.all or ())
    some = wide.any is None or any(_implies(narrow, inner) for inner in wide.any) or wide.any == narrow.any
    denied = wide.negation is None or any(wide.negation == denial for denial in _denials(narrow))
    return tests and every and some and denied


def _tests_on(key: str, condition: Condition) -> Iterator[ValueTest]:
    """Yield the tests of a key that must hold, those inside `all` included."""
    if key in condition.tests:
        yield condition.tests[key]
    for inner in condition.all or ():
        yield from _tests_on(key, inner)


def _keys(condition: Condition) -> set[str]:
    return set(condition.tests).union(*(_keys(inner) for inner in condition.all or ()))


def _denials(condition: Condition) -> Iterator[Condition]:
    if condition.negation is not None:
        yield condition.negation
    for inner in condition.all or ():
        yield from _denials(inner)


def _test_implies(key: str, narrow: ValueTest, wide: ValueTest) -> bool:
    if narrow == wide:
        return True
    values = wanted_values(narrow)
    if values is not None:
        # Several values may stand in one attribute, and one that passes is enough: each of them must pass by itself.
        holds = value_predicate(key, wide)
        return wide.present is not False and all(holds((value,)) for value in values)
    if narrow.range is not None and wide.range is not None:
        return _bounds(wide)[0] <= _bounds(narrow)[0] and _bounds(narrow)[1] <= _bounds(wide)[1]
    return wide.present is True and narrow.present is None


def _bounds(test: ValueTest) -> tuple[float, float]:
    interval = test.range
    low = float("-inf") if interval is None or interval.minimum is None else interval.minimum
    high = float("inf") if interval is None or interval.maximum is None else interval.maximum
    return low, high


def _is_single(key: str) -> bool:
    """Tell whether the attribute has one value (PS3.6), so that two different values exclude each other."""
    return key not in keyword_dict or dictionary_VM(keyword_dict[key]) == "1"


def _apart(first: Condition, second: Condition) -> bool:
    shared = _keys(first) & _keys(second)
    pairs = ((key, a, b) for key in shared for a in _tests_on(key, first) for b in _tests_on(key, second))
    return any(_excludes(*pair) for pair in pairs) or _denied(first, second)


def _denied(first: Condition, second: Condition) -> bool:
    return any(_implies(first, denial) for denial in _denials(second)) or any(_implies(second, denial) for denial in _denials(first))


def _excludes(key: str, first: ValueTest, second: ValueTest) -> bool:
    if {first.present, second.present} == {True, False} or (first.present is False) != (second.present is False):
        return True
    wanted = wanted_values(first), wanted_values(second)
    if key == SOURCE_ADDRESS and wanted[0] is not None and wanted[1] is not None:
        return not any(overlap(one, other) for one in wanted[0] for other in wanted[1])
    for one, other in ((first, second), (second, first)):
        values = wanted_values(one)
        if _is_single(key) and values is not None and other.present is None:
            holds = value_predicate(key, other)
            return not any(holds((value,)) for value in values)
    if first.range is not None and second.range is not None:
        return _bounds(first)[1] < _bounds(second)[0] or _bounds(second)[1] < _bounds(first)[0]
    return False
