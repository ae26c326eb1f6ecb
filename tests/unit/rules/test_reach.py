"""Reach: what is proven of rules that stand before one another."""

from __future__ import annotations

import pytest

from rules.reach import overlapping_rules, shadowed_rules
from rules.rule import RuleSet
from tests.unit.rules.examples import rule

AXIAL = {"ImageType": "AXIAL"}


def ruleset(first: object, second: object) -> RuleSet:
    return RuleSet(rules=(rule(name="first", match=first), rule(name="second", match=second)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"Modality": "CT"}, {"Modality": "CT", "BodyPartExamined": "HEAD"}),
        ({"Modality": ["CT", "MR"]}, {"Modality": "MR"}),
        ({"Modality": {"present": "true"}}, {"Modality": "MR"}),
        ({"Modality": {"matches": "C.|M."}}, {"Modality": ["CT", "MR"]}),
        ({"SliceThickness": {"range": {"maximum": "5"}}}, {"SliceThickness": {"range": {"minimum": "1", "maximum": "3"}}}),
        ({"SliceThickness": {"range": {"maximum": "5"}}}, {"SliceThickness": "5.000"}),
        ({"any": [{"Modality": "CT"}, AXIAL]}, {"Modality": "CT", "Units": "HU"}),
        ({"source_address": "10.0.0.0/8"}, {"source_address": ["10.1.0.0/16", "10.2.0.7"]}),
        ({"Modality": "CT", "not": AXIAL}, {"all": [{"Modality": "CT"}, {"not": AXIAL}]}),
    ],
)
def test_a_rule_behind_one_that_asks_for_less_can_never_apply(first: object, second: object) -> None:
    found = shadowed_rules(ruleset(first, second))
    assert [(one.rule.name, one.by.name) for one in found] == [("second", "first")]
    assert overlapping_rules(ruleset(first, second)) == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"Modality": "CT", "BodyPartExamined": "HEAD"}, {"Modality": "CT"}),
        ({"Modality": "CT"}, {"BodyPartExamined": "HEAD"}),
        ({"SliceThickness": {"range": {"maximum": "3"}}}, {"SliceThickness": {"range": {"maximum": "5"}}}),
        ({"Modality": "CT", "not": AXIAL}, {"Modality": "CT"}),
        ({"ImageType": "AXIAL"}, {"ImageType": "ORIGINAL"}),
        ({"source_address": "10.1.0.0/16"}, {"source_address": "10.0.0.0/8"}),
        ({"any": [{"Modality": "CT"}, {"Modality": "MR"}]}, {"BodyPartExamined": "HEAD"}),
    ],
)
def test_rules_that_nothing_keeps_apart_overlap(first: object, second: object) -> None:
    assert shadowed_rules(ruleset(first, second)) == ()
    assert [(one.first.name, one.second.name) for one in overlapping_rules(ruleset(first, second))] == [("first", "second")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"Modality": "CT"}, {"Modality": "MR"}),
        ({"Modality": "CT"}, {"Modality": {"matches": "M."}}),
        ({"Units": "GML"}, {"Units": ["BQML", "CNTS"]}),
        ({"plane": "axial"}, {"all": [{"plane": "sagittal"}]}),
        ({"SliceThickness": {"range": {"maximum": "3"}}}, {"SliceThickness": {"range": {"minimum": "3.1"}}}),
        ({"source_address": "10.1.0.0/16"}, {"source_address": ["10.2.0.0/16", "2001:db8::/32"]}),
        ({"ContrastBolusAgent": {"present": "true"}}, {"ContrastBolusAgent": {"present": "false"}}),
        ({"Modality": "CT", "ImageType": "AXIAL"}, {"Modality": "CT", "not": {"ImageType": "AXIAL"}}),
    ],
)
def test_rules_that_an_attribute_keeps_apart_do_not_overlap(first: object, second: object) -> None:
    assert shadowed_rules(ruleset(first, second)) == ()
    assert overlapping_rules(ruleset(first, second)) == ()


def test_a_rule_in_shadow_takes_nothing_and_is_always_reached() -> None:
    rules = (rule(name="trial", shadow="true"), rule(name="live"), rule(name="late", shadow="true"))
    assert shadowed_rules(RuleSet(rules=rules)) == ()
    assert overlapping_rules(RuleSet(rules=rules)) == ()


def test_a_disabled_rule_takes_nothing() -> None:
    rules = (rule(name="off", enabled="false"), rule(name="on"))
    assert shadowed_rules(RuleSet(rules=rules)) == ()
    assert overlapping_rules(RuleSet(rules=rules)) == ()
