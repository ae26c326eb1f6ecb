"""Cases: headers beside the rules, and the rule that each must get."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.cases import find_case_files, run_cases
from rules.errors import ConfigFaults
from rules.load import load_rules

LIBRARY = Path(__file__).parents[3] / "rules" / "library"


def test_every_rule_file_of_the_library_has_cases_and_all_hold() -> None:
    ruleset, files = load_rules([LIBRARY]), find_case_files([LIBRARY])
    assert {file.name.removesuffix(".cases.yaml") for file in files} == {source.places.file.stem for source in ruleset.sources.values()}
    outcomes = [outcome for file in files for outcome in run_cases(file, ruleset)]
    assert [(one.case.name, one.reason) for one in outcomes if not one.passed] == []
    assert {one.case.expect for one in outcomes} == {"none", *(rule.name for rule in ruleset.rules)}


def test_a_case_that_fails_says_which_condition_failed(tmp_path: Path) -> None:
    file = tmp_path / "wrong.cases.yaml"
    file.write_text(
        "cases:\n"
        "  - {name: thick, attributes: {Modality: CT, BodyPartExamined: LIVER, SliceThickness: 9}, expect: ct-abdomen-boxes}\n"
        "  - {name: taken, attributes: {Modality: PT, Units: BQML, CorrectedImage: ATTN}, expect: none}\n"
        "  - {name: unheard of, attributes: {Modality: PT}, expect: pet-lesions}\n"
    )
    outcomes = run_cases(file, load_rules([LIBRARY]))
    assert [one.passed for one in outcomes] == [False, False, False]
    assert outcomes[0].reason == "ct-abdomen-boxes: SliceThickness: expected at least 0.5 and at most 5, got '9'"
    assert outcomes[1].got == "pet-hot-lesions-suv"
    assert outcomes[2].reason == "no rule is called 'pet-lesions'"


def test_a_case_about_an_unknown_attribute_is_a_fault_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "typo.cases.yaml"
    file.write_text("cases:\n  - name: typo\n    attributes: {Modalit: CT}\n    expect: none\n")
    with pytest.raises(ConfigFaults, match=r"typo.cases.yaml:3.*did you mean 'Modality'"):
        run_cases(file, load_rules([LIBRARY]))


def test_a_rule_files_own_cases_stand_beside_it() -> None:
    assert find_case_files([LIBRARY / "ct_bone.yaml"]) == (LIBRARY / "ct_bone.cases.yaml",)
    assert find_case_files([LIBRARY / "none.yaml"]) == ()


RULE = """\
rules:
  - name: best-ct
    match: {Modality: CT}
    select: {by: [thinnest, {phase: [portal-venous]}]}
    destinations: []
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: threshold, low: 100}
"""
STUDY = """\
studies:
  - name: thin before thick
    rule: best-ct
    series:
      thick: {Modality: CT, slice_spacing_mm: 5, phase: portal-venous}
      thin: {Modality: CT, slice_spacing_mm: 1}
      other: {Modality: MR, slice_spacing_mm: 0.5}
    expect: %s
"""


@pytest.mark.parametrize(
    ("rules", "expect", "got", "reason"),
    [
        (RULE, "thin", "thin", ""),
        (RULE, "thick", "thin", "1. thin: thinnest: 1 mm, phase: not stated; 2. thick: thinnest: 5 mm, phase: portal-venous"),
        (RULE.replace("CT}", "PT}"), "thin", "none", "no series gets rule 'best-ct'"),
        (RULE.replace("best-ct", "other"), "thin", "none", "no rule is called 'best-ct'"),
        (RULE.replace("    select:", "    # select:"), "thin", "none", "rule 'best-ct' has no `select`: it takes every series"),
    ],
)
def test_a_study_says_which_of_its_series_must_be_chosen(rules: str, expect: str, got: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(rules)
    (tmp_path / "site.cases.yaml").write_text(STUDY % expect)
    (outcome,) = run_cases(tmp_path / "site.cases.yaml", load_rules([tmp_path / "site.yaml"]))
    assert (outcome.got, outcome.reason, outcome.passed) == (got, reason, expect == got)


def test_a_file_of_cases_without_any_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "empty.cases.yaml").write_text("cases: []")
    with pytest.raises(ConfigFaults, match="expected at least one case under `cases` or `studies`, got none"):
        run_cases(tmp_path / "empty.cases.yaml", load_rules([LIBRARY]))
