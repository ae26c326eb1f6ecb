"""Cases: headers and the rule that they must get, and studies and the series that must be chosen, checked by `medsam2d rules test`.

A file `NAME.cases.yaml` in a rule folder:

    cases:
      - name: portal venous phase, thin
        attributes: {Modality: CT, BodyPartExamined: ABDOMEN, SliceThickness: 1.5, plane: axial}
        expect: ct-abdomen-boxes
      - name: a localizer
        attributes: {Modality: CT, ImageType: [ORIGINAL, PRIMARY, LOCALIZER]}
        expect: none
    studies:
      - name: thin before thick
        rule: ct-abdomen-boxes
        series:
          thin: {Modality: CT, BodyPartExamined: ABDOMEN, SliceThickness: 1.5, slice_spacing_mm: 1}
          thick: {Modality: CT, BodyPartExamined: ABDOMEN, SliceThickness: 5, slice_spacing_mm: 5}
        expect: thin
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rules.condition import condition_key
from rules.load import CASE_SUFFIX
from rules.match import NoMatch, Plan, match, reason_against, shadow_plans
from rules.rule import RuleSet
from rules.scalars import Section, Text
from rules.selection import measures_of, rank
from rules.strict_yaml import load

NOTHING = "none"
"""What a case expects that no rule may match."""

Values: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


Attributes: TypeAlias = dict[Annotated[str, AfterValidator(condition_key)], Values]


class Case(Section):
    """One header and what must come of it."""

    name: Text
    attributes: Attributes
    """DICOM keywords, facts and AE titles; a list for several values."""
    expect: Text
    """Name of the rule that must be the first to match, or none."""


class StudyCase(Section):
    """Several series of one study, and the one that a rule with `select` must choose."""

    name: Text
    rule: Text
    """Name of the rule."""
    series: Annotated[dict[Text, Attributes], Field(min_length=1)]
    """By a name of your own: what each series says, as in a case."""
    expect: Text
    """The name of the series that must be chosen, or none."""


class CaseFile(Section):
    """The document of a file of cases."""

    cases: tuple[Case, ...] = ()
    studies: tuple[StudyCase, ...] = ()

    @model_validator(mode="after")
    def _holds_some(self) -> CaseFile:
        if not self.cases and not self.studies:
            raise ValueError("expected at least one case under `cases` or `studies`, got none")
        return self


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A case and what came of it; `reason` says why where it is not what was expected."""

    file: Path
    case: Case | StudyCase
    got: str
    reason: str

    @property
    def passed(self) -> bool:
        """Whether the expected rule was the first to match, or the expected series was chosen."""
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
    document = load(file, CaseFile)
    matched = [_outcome(file, case, ruleset) for case in document.cases]
    return (*matched, *(_chosen(file, case, ruleset) for case in document.studies))


def _chosen(file: Path, case: StudyCase, ruleset: RuleSet) -> Outcome:
    plans = {name: match(attributes, ruleset) for name, attributes in case.series.items()}
    taking_part = [name for name, plan in plans.items() if isinstance(plan, Plan) and plan.rule.name == case.rule]
    rule = next((rule for rule in ruleset.rules if rule.name == case.rule), None)
    if rule is None or rule.select is None:
        missing = f"no rule is called {case.rule!r}" if rule is None else f"rule {case.rule!r} has no `select`: it takes every series"
        return Outcome(file=file, case=case, got=NOTHING, reason=missing)
    ranking = rank(rule.select, {name: measures_of(case.series[name]) for name in taking_part})
    got = ranking[0].key if ranking else NOTHING
    if got == case.expect:
        return Outcome(file=file, case=case, got=got, reason="")
    places = "; ".join(f"{ranked.place}. {ranked.key}: {ranked.words}" for ranked in ranking) or f"no series gets rule {case.rule!r}"
    return Outcome(file=file, case=case, got=got, reason=places)


def _outcome(file: Path, case: Case, ruleset: RuleSet) -> Outcome:
    found = match(case.attributes, ruleset)
    got = NOTHING if isinstance(found, NoMatch) else found.rule.name
    if case.expect in {plan.rule.name for plan in shadow_plans(case.attributes, ruleset)}:
        got = case.expect  # it is tried beside the rule that applies
    return Outcome(file=file, case=case, got=got, reason="" if got == case.expect else _why(case, ruleset))


def _why(case: Case, ruleset: RuleSet) -> str:
    expected = next((rule for rule in ruleset.rules if rule.name == case.expect), None)
    if case.expect == NOTHING:
        return "a rule matches although none should"
    if expected is None:
        return f"no rule is called {case.expect!r}"
    reason = reason_against(expected, case.attributes)
    return "an earlier rule matches first" if reason == "matches" else f"{case.expect}: {reason}"
