"""The names of the configured rules, read anew now and then: what a metric may have as a label."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rules.errors import ConfigFaults
from rules.load import load_rules

LOG = logging.getLogger("medsam2d.rule_names")
FRESH_SECONDS = 60.0


class RuleNames:
    """Reads the rule files at most once a minute; while they have faults, the names of before stand, as the rules themselves do."""

    def __init__(self, paths: Sequence[Path], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._monotonic = paths, monotonic
        self._read_at: float | None = None
        self._names: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """Return the names, in the order in which the rules are tried."""
        now = self._monotonic()
        if self._read_at is None or now - self._read_at >= FRESH_SECONDS:
            self._read_at = now
            try:
                self._names = tuple(rule.name for rule in load_rules(self._paths).rules)
            except ConfigFaults as error:
                LOG.warning("metrics go by the rules as they were, since the new ones have faults: %s", error)
        return self._names
