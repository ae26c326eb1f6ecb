"""The rules in use: read from the configured files with everything that they name, and read anew while the service runs."""

from __future__ import annotations

import logging

from daemon.atlases import atlas_faults
from daemon.config import Config
from daemon.config_references import check_references
from daemon.weights import book_of
from rules.errors import ConfigFaults
from rules.load import load_rules
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.rules")


def checked_rules(settings: Config) -> RuleSet:
    """Return the rules after checking every destination and weights name that they use. Raises `ConfigFaults`."""
    ruleset = load_rules(settings.rules.paths)
    faults = (*check_references(settings, ruleset, book_of(settings).entries), *atlas_faults(ruleset))
    if faults:
        raise ConfigFaults(faults)
    return ruleset


def reloaded(settings: Config, current: RuleSet) -> RuleSet:
    """Return the rules as they are on disk now, or the current ones where the new cannot be used."""
    try:
        ruleset = checked_rules(settings)
    except ConfigFaults as error:
        LOG.error("the rules stay as they were, since the new ones have faults:\n%s", error)
        return current
    LOG.info("rules read anew: %d", len(ruleset.rules))
    return ruleset
