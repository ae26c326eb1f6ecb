"""What a job came to for each rule, counted volume by volume."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from daemon.pipeline import Segmented
from daemon.planning import Skipped
from daemon.refusals import Refusal
from daemon.store import RuleOutcome


@dataclass
class RuleTally:
    """Counts volumes and withheld targets by rule; what no rule matched counts for none."""

    volumes: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Skipped | Refusal | Segmented) -> None:
        """Count a volume."""
        rule, withheld = _rule_and_withheld(outcome)
        if rule:
            self.volumes[rule] += 1
            self.withheld[rule] += withheld

    def outcomes(self) -> tuple[RuleOutcome, ...]:
        """Return what was counted, by rule."""
        return tuple(RuleOutcome(rule=rule, volumes=count, withheld=self.withheld[rule]) for rule, count in sorted(self.volumes.items()))


def _rule_and_withheld(outcome: Skipped | Refusal | Segmented) -> tuple[str, int]:
    if isinstance(outcome, Segmented):
        return outcome.provenance.rule_name, sum(not verdict.delivers for verdict in outcome.verdicts)
    if isinstance(outcome, Skipped):
        return outcome.rule, outcome.withheld
    return (outcome.plan.rule.name if outcome.plan is not None else ""), 0
