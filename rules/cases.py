"""Cases: headers and the rule that they must get, kept beside the rules and checked by `medsam2d rules test`.

A file `NAME.cases.yaml` in a rule folder:

    cases:
      - name: portal venous phase, thin
        attributes: {Modality: CT, BodyPartExamined: ABDOMEN, SliceThickness: 1.5, plane: axial}
        expect: ct-abdomen-boxes
      - name: a localizer
        attributes: {Modality: CT, ImageType: [ORIGINAL, PRIMARY, LOCALIZER]}
        expect: none
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from rules.condition import condition_key
from rules.load import CASE_SUFFIX
from rules.match import NoMatch, match, reason_against
from rules.rule import RuleSet
from rules.scalars import Section, Text
from rules.strict_yaml import load

NOTHING = "none"
"""What a case expects that no rule may match."""

Values: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Case(Section):
    """One header and what must come of it."""

    name: Text
    attributes: dict[Annotated[str, AfterValidator(condition_key)], Values]
    """DICOM keywords, facts and AE titles; a list for several values."""
    expect: Text
    """Name of the rule that must be the first to match, or none."""


class CaseFile(Section):
    """The document of a file of cases."""

    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A case and what came of it; `reason` says why where it is not what was expected."""

    file: Path
    case: Case
    got: str
    reason: str

    @property
    def passed(self) -> bool:
        """Whether the expected rule was the first to match."""
        return self.got == self.case.expect


def find_case_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the case files beside the rule files of these paths (a rule file's own is NAME.cases.yaml beside NAME.yaml)."""
    return tuple(file for path in paths for file in _beside(path))


def _beside(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob(f"*{CASE_SUFFIX}"))
    own = path.with_suffix(CASE_SUFFIX)
    return [own] if own.is_file() else []


def run_cases(file: Path, ruleset: RuleSet) -> tuple[Outcome, ...]:
    """Match every case of a file; raises `rules.errors.ConfigFaults` for a file that is not one of cases."""
    return tuple(_outcome(file, case, ruleset) for case in load(file, CaseFile).cases)


def _outcome(file: Path, case: Case, ruleset: RuleSet) -> Outcome:
    found = match(case.attributes, ruleset)
    got = NOTHING if isinstance(found, NoMatch) else found.rule.name
    return Outcome(file=file, case=case, got=got, reason="" if got == case.expect else _why(case, ruleset))


def _why(case: Case, ruleset: RuleSet) -> str:
    expected = next((rule for rule in ruleset.rules if rule.name == case.expect), None)
    if case.expect == NOTHING:
        return "a rule matches although none should"
    if expected is None:
        return f"no rule is called {case.expect!r}"
    reason = reason_against(expected, case.attributes)
    return "an earlier rule matches first" if reason == "matches" else f"{case.expect}: {reason}"
