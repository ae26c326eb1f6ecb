"""Matching: the first enabled rule, in the order of the files, whose conditions hold for a series, wins.

Reasons and traces can be logged: they show values of technical attributes only (see `rules.judgement`).
"""

from __future__ import annotations

from dataclasses import dataclass

from rules.judgement import Attributes, findings
from rules.rule import Rule, RuleSet, Target, rule_hash


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done with a series."""

    rule: Rule
    rule_hash: str
    targets: tuple[Target, ...]
    """The rule's targets, each with the rule's weights name where it has none of its own."""
    destinations: tuple[str, ...]
    trace: tuple[str, ...]
    """Why the rule matched: a line for each condition, without anything that identifies the patient."""


@dataclass(frozen=True, kw_only=True)
class NoMatch:
    """No rule applies; `reasons` has a line a rule: the first condition that failed."""

    reasons: tuple[str, ...]


def match(attributes: Attributes, ruleset: RuleSet) -> Plan | NoMatch:
    """Return the plan of the first enabled rule whose conditions all hold, or why there is none."""
    reasons: list[str] = []
    for rule in ruleset.rules:
        outcome = _try(rule, attributes)
        if isinstance(outcome, Plan):
            return outcome
        reasons.append(f"rule {rule.name!r}: {outcome}")
    return NoMatch(reasons=tuple(reasons) or ("no rules are loaded",))


def _try(rule: Rule, attributes: Attributes) -> Plan | str:
    """Return the rule's plan, or the first reason against it."""
    if not rule.enabled:
        return "not enabled"
    trace: list[str] = []
    for finding in findings(rule.match, attributes):
        if not finding.holds:
            return finding.words
        trace.append(finding.words)
    return Plan(rule=rule, rule_hash=rule_hash(rule), targets=rule.resolved_targets, destinations=rule.destinations, trace=tuple(trace))
