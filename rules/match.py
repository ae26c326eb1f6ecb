"""Matching: the first live rule, in the order of the files, whose conditions hold for a series, wins; those in shadow run beside it.

Reasons and traces can be logged: they show values of technical attributes only (see `rules.judgement`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rules.judgement import findings
from rules.predicates import Attributes, values_by_key
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
    """No rule applies."""

    attributes: Attributes
    ruleset: RuleSet

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """A line a rule: the first condition that failed. Formed when it is asked for: most series of a busy site match nothing."""
        return tuple(f"rule {rule.name!r}: {reason_against(rule, self.attributes)}" for rule in self.ruleset.rules) or (
            "no rules are loaded",
        )


def match(attributes: Attributes, ruleset: RuleSet) -> Plan | NoMatch:
    """Return the plan of the first rule whose conditions all hold, or why there is none; rules that are off or in shadow do not count."""
    values = values_by_key(attributes)
    for rule, holds in ruleset.predicates:
        if holds(values):
            return plan_of(rule, attributes)
    return NoMatch(attributes=attributes, ruleset=ruleset)


def shadow_plans(attributes: Attributes, ruleset: RuleSet) -> tuple[Plan, ...]:
    """Return the plans of all rules in shadow whose conditions hold: they are tried beside the rule that applies."""
    if not ruleset.shadow_predicates:
        return ()
    values = values_by_key(attributes)
    return tuple(plan_of(rule, attributes) for rule, holds in ruleset.shadow_predicates if holds(values))


def plan_of(rule: Rule, attributes: Attributes) -> Plan:
    """Return the plan of a rule that matches."""
    return Plan(
        rule=rule,
        rule_hash=rule_hash(rule),
        targets=rule.resolved_targets,
        destinations=rule.destinations,
        trace=tuple(finding.words for finding in findings(rule.match, attributes)),
    )


def reason_against(rule: Rule, attributes: Attributes) -> str:
    """Return the first reason why a rule does not apply, or that it does."""
    if not rule.enabled:
        return "not enabled"
    matches = "matches in shadow: its results are sent to nobody" if rule.shadow else "matches"
    return next((finding.words for finding in findings(rule.match, attributes) if not finding.holds), matches)
