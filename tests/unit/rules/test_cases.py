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
