"""What a configuration and its rules name of each other: destinations and weights must exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from daemon.config import SHIPPED_WEIGHTS, Config
from rules.errors import Fault
from rules.places import Places
from rules.rule import RuleSet


def check_references(config: Config, ruleset: RuleSet, known_weights: Collection[str] = (SHIPPED_WEIGHTS,)) -> tuple[Fault, ...]:
    """Return a fault for every name of a destination or of weights that nothing defines, and one if there is no rule at all.

    `known_weights`: names of shipped and installed weights, which count beside the configuration's own.
    """
    weights = {*config.weights, *known_weights}
    faults = [fault for index in range(len(ruleset.rules)) for fault in _rule_faults(config, ruleset, index, weights)]
    if not ruleset.rules:
        faults.append(config.places.fault(("rules", "paths"), "expected at least one rule, got none; name a rule file or folder"))
    if config.worker.default_weights not in weights:
        message = _unknown("weights", config.worker.default_weights, weights)
        faults.append(config.places.fault(("worker", "default_weights"), message))
    return tuple(faults)


def _rule_faults(config: Config, ruleset: RuleSet, index: int, weights: Collection[str]) -> Iterator[Fault]:
    rule = ruleset.rules[index]
    source = ruleset.sources.get(rule.name)
    places = source.places if source else Places(file=Path(f"rule {rule.name}"))
    at = ("rules", source.index if source else index)
    for key, names in (("destinations", rule.destinations), ("review", rule.review)):
        for number, destination in enumerate(names):
            if destination not in config.destinations:
                yield places.fault((*at, key, number), _unknown("destination", destination, config.destinations))
    if rule.weights is not None and rule.weights not in weights:
        yield places.fault((*at, "weights"), _unknown("weights", rule.weights, weights))
    for number, target in enumerate(rule.targets):
        if target.weights is not None and target.weights not in weights:
            yield places.fault((*at, "targets", number, "weights"), _unknown("weights", target.weights, weights))


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    cure = f"add it under `{'destinations' if kind == 'destination' else kind}` in the configuration"
    return f"expected the name of a known {kind} ({', '.join(sorted(known)) or 'there is none'}), got {name!r}; {cure} or correct the name"
