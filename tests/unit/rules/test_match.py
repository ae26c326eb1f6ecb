"""Matching: which rule a series gets, and in which words the others say no."""

from __future__ import annotations

import pytest

from rules.match import NoMatch, Plan, match
from rules.predicates import Attributes
from rules.rule import RuleSet
from tests.unit.rules.examples import rule, target

CT: Attributes = {
    "Modality": "CT",
    "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
    "SliceThickness": "5.000",
    "calling_ae_title": "SCANNER",
    "source_address": "::ffff:10.2.3.4",
    "has_annotations": "true",
    "plane": "axial",
    "slices": "40",
    "coverage_mm": "195",
}
PATIENT = {
    "PatientName": "CTESTI^PLANTED",
    "PatientID": "ID-PLANTED-4711",
    "PatientBirthDate": "19330401",
    "PatientAge": "093Y",
    "PatientWeight": "81.25",
    "PatientSex": "O",
    "AccessionNumber": "ACC-PLANTED",
    "StudyDate": "20200229",
    "StudyInstanceUID": "2.25.987654321",
    "SeriesDescription": "liver of Mr PLANTED",
    "InstitutionName": "PLANTED hospital",
    "ReferringPhysicianName": "PLANTED^DOCTOR",
}


def holds(condition: object, attributes: Attributes) -> bool:
    return isinstance(match(attributes, RuleSet(rules=(rule(match=condition),))), Plan)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"Modality": "CT"}, True),
        ({"Modality": "ct"}, False),
        ({"Modality": ["MR", "CT"]}, True),
        ({"Modality": ["MR", "PT"]}, False),
        ({"ImageType": "PRIMARY"}, True),
        ({"ImageType": "LOCALIZER"}, False),
        ({"SliceThickness": "5"}, True),
        ({"SliceThickness": ["1", "5.0"]}, True),
        ({"SliceThickness": {"range": {"minimum": "5"}}}, True),
        ({"SliceThickness": {"range": {"maximum": "4.9"}}}, False),
        ({"KVP": {"range": {"minimum": "0"}}}, False),
        ({"Modality": {"matches": "C."}}, True),
        ({"Modality": {"matches": "C"}}, False),
        ({"SeriesDescription": {"present": "true"}}, False),
        ({"SeriesDescription": {"present": "false"}}, True),
        ({"calling_ae_title": "SCANNER"}, True),
        ({"called_ae_title": "MEDSAM2D"}, False),
        ({"source_address": "10.2.3.4"}, True),
        ({"source_address": ["192.0.2.0/24", "10.2.0.0/16"]}, True),
        ({"source_address": ["10.3.0.0/16", "2001:db8::/32"]}, False),
        ({"not": {"source_address": "10.0.0.0/8"}}, False),
        ({"source_address": {"present": "true"}}, True),
        ({"has_annotations": "true"}, True),
        ({"plane": "axial", "slices": {"range": {"minimum": "30"}}}, True),
        ({"plane": ["sagittal", "coronal"]}, False),
        ({"coverage_mm": {"range": {"minimum": "300"}}}, False),
        ({"phase": {"present": "false"}}, True),
        ({"all": [{"Modality": "CT"}, {"ImageType": "AXIAL"}]}, True),
        ({"all": [{"Modality": "CT"}, {"ImageType": "CORONAL"}]}, False),
        ({"any": [{"Modality": "MR"}, {"ImageType": "AXIAL"}]}, True),
        ({"any": [{"Modality": "MR"}, {"ImageType": "CORONAL"}]}, False),
        ({"not": {"Modality": "MR"}}, True),
        ({"not": {"Modality": "CT", "ImageType": "AXIAL"}}, False),
        ({"Modality": "CT", "not": {"not": {"any": [{"Modality": "CT"}]}}}, True),
    ],
)
def test_a_condition_holds_as_the_table_says(condition: object, expected: bool) -> None:
    assert holds(condition, CT) is expected


def test_values_are_compared_without_their_padding_and_empty_ones_are_absent() -> None:
    assert holds({"Modality": "CT", "StationName": {"present": "false"}}, {"Modality": "CT ", "StationName": " "})


def test_a_number_that_is_none_is_in_no_range() -> None:
    assert not holds({"SliceThickness": {"range": {"minimum": "0"}}}, {"SliceThickness": "thin"})


def test_the_first_enabled_rule_that_matches_wins_and_its_plan_carries_its_weights() -> None:
    weighted = rule(name="third", weights="big", destinations=["pacs"], targets=[target(), target(label="Spleen", weights="small")])
    rules = (rule(name="first", enabled="false"), rule(name="second", match={"Modality": "MR"}), weighted, rule(name="fourth"))
    found = match(CT, RuleSet(rules=rules))
    assert isinstance(found, Plan)
    assert found.rule.name == "third"
    assert [item.weights for item in found.targets] == ["big", "small"]
    assert found.destinations == ("pacs",)
    assert found.trace == ("Modality: expected 'CT', got 'CT'",)


def test_no_match_names_the_first_condition_that_failed_for_each_rule() -> None:
    rules = (
        rule(name="off", enabled="false"),
        rule(name="mr", match={"Modality": "MR", "ImageType": "NONE"}),
        rule(name="thin", match={"Modality": "CT", "SliceThickness": {"range": {"minimum": "0.5", "maximum": "3"}}}),
        rule(name="either", match={"any": [{"Modality": ["MR", "PT"]}, {"KVP": {"present": "true"}}]}),
        rule(name="neither", match={"not": {"Modality": {"matches": "C."}}}),
    )
    found = match(CT, RuleSet(rules=rules))
    assert isinstance(found, NoMatch)
    assert found.reasons == (
        "rule 'off': not enabled",
        "rule 'mr': Modality: expected 'MR', got 'CT'",
        "rule 'thin': SliceThickness: expected at least 0.5 and at most 3, got '5.000'",
        "rule 'either': none of any: (Modality: expected one of 'MR', 'PT', got 'CT' | KVP: expected a value, got no value)",
        "rule 'neither': not (Modality: expected a match of 'C.', got 'CT')",
    )


def test_without_rules_the_reason_says_so() -> None:
    found = match(CT, RuleSet(rules=()))
    assert isinstance(found, NoMatch)
    assert found.reasons == ("no rules are loaded",)


@pytest.mark.parametrize("negated", [False, True])
def test_no_value_that_may_identify_the_patient_reaches_reasons_or_trace(negated: bool) -> None:
    rules = []
    for number, (keyword, value) in enumerate(PATIENT.items()):
        condition = {keyword: value} if negated else {keyword: {"matches": "nothing like it"}}
        rules.append(rule(name=f"rule{number}", match={"not": condition} if negated else condition))
    everything = {"any": [{keyword: [value]} for keyword, value in PATIENT.items()]}
    found = match({**CT, **PATIENT}, RuleSet(rules=tuple(rules)))
    assert isinstance(found, NoMatch)
    plan = match({**CT, **PATIENT}, RuleSet(rules=(rule(match=everything),)))
    assert isinstance(plan, Plan)
    words = "\n".join((*found.reasons, *plan.trace))
    assert all(keyword in words for keyword in PATIENT)
    assert not [value for value in PATIENT.values() if len(value) > 1 and value in words]
    assert "PLANTED" not in words
