"""Loading rules: all files in a fixed order, all faults at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rules.errors import ConfigFaults, Fault
from rules.rule import Rule, RuleFile, RuleSet, RuleSource
from rules.strict_yaml import read

SUFFIXES = (".yaml", ".yml")
CASE_SUFFIX = ".cases.yaml"
"""Files of cases stand beside the rules that they test (`rules.cases`)."""


def load_rules(paths: Sequence[Path]) -> RuleSet:
    """Return the rules of files and folders in the order given; within a folder by file name, within a file from the top.

    Raises `ConfigFaults` with the faults of all files: a missing path, a folder without rule files, a name used twice.
    """
    faults: list[Fault] = []
    rules: list[Rule] = []
    sources: dict[str, RuleSource] = {}
    for file in rule_files(paths, faults):
        try:
            loaded = read(file, RuleFile)
        except ConfigFaults as error:
            faults += error.faults
            continue
        for index, rule in enumerate(loaded.value.rules):
            source = RuleSource(places=loaded.places, index=index)
            if rule.name in sources:
                faults.append(_taken(rule.name, source, sources[rule.name]))
                continue
            sources[rule.name] = source
            rules.append(rule)
    if faults:
        raise ConfigFaults(faults)
    return RuleSet(rules=tuple(rules), sources=sources)


def rule_files(paths: Sequence[Path], faults: list[Fault] | None = None) -> list[Path]:
    """Return the files that `paths` name, in the order in which they are read; folders without any are added to `faults`."""
    found: list[Path] = []
    for path in paths:
        files = sorted(file for file in path.iterdir() if _holds_rules(file)) if path.is_dir() else [path]
        if not files and faults is not None:
            message = f"expected a folder with rule files (*{', *'.join(SUFFIXES)}), got none"
            faults.append(Fault(file=path, line=None, path="", message=message))
        found += [file for file in files if file not in found]
    return found


def _holds_rules(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.endswith(CASE_SUFFIX)


def _taken(name: str, source: RuleSource, first: RuleSource) -> Fault:
    line = first.places.lines[("rules", first.index, "name")]
    message = f"the name {name!r} is taken by {first.places.file}:{line}; rename one"
    return source.places.fault(("rules", source.index, "name"), message)
