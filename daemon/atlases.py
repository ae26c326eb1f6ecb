"""Atlases that rules name: found beside the rule file, read once, kept for the next series."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from daemon.errors import ConfigError
from rules.atlas import Atlas, read_atlas
from rules.errors import Fault, InvalidAtlas
from rules.match import Plan
from rules.prompts.atlas import AtlasRecipe
from rules.rule import Rule, RuleSet

MOST_IN_MEMORY = 4
"""Atlases that a worker keeps: a rule rarely names more, and each is a volume."""


class AtlasUnusable(ConfigError):
    """A rule names an atlas that is not there or is none."""

    code = "atlas-unusable"


def atlases_for(plan: Plan, ruleset: RuleSet) -> dict[str, Atlas]:
    """Return the atlases that a plan's recipes name, by that name; none where no target asks for one. Raises AtlasUnusable."""
    names = {name for target in plan.targets if isinstance(target.prompt, AtlasRecipe) for name in target.prompt.files}
    return {name: _read(_place(name, plan.rule, ruleset)) for name in sorted(names)}


def atlas_faults(ruleset: RuleSet) -> Iterator[Fault]:
    """Yield a fault for every atlas that a rule names and that cannot be used, at the line that names it."""
    for rule in ruleset.rules:
        source = ruleset.sources.get(rule.name)
        for number, target in enumerate(rule.targets):
            if source is None or not isinstance(target.prompt, AtlasRecipe):
                continue
            for index, name in enumerate(target.prompt.files):
                try:
                    _read(_place(name, rule, ruleset))
                except AtlasUnusable as error:
                    place = ("rules", source.index, "targets", number, "prompt", "files", index)
                    yield source.places.fault(place, str(error))


def _place(name: str, rule: Rule, ruleset: RuleSet) -> Path:
    source = ruleset.sources.get(rule.name)
    return Path(name) if source is None else source.places.file.parent / name


def _read(path: Path) -> Atlas:
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise AtlasUnusable(f"expected an atlas file, got none at {path}; build it with `medsam2d atlas build`") from error
    try:
        return _kept(path, changed)
    except InvalidAtlas as error:
        raise AtlasUnusable(str(error)) from error


@lru_cache(maxsize=MOST_IN_MEMORY)
def _kept(path: Path, changed: int) -> Atlas:
    """Read a file anew only when it has changed."""
    del changed
    return read_atlas(path)
