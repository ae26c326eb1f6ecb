"""Concepts are checked against DICOM's context groups: a wrong code does not go unnoticed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dicom_io.codes import CATEGORIES, LATERALITIES, Code
from dicom_io.context_groups import CATEGORY_GROUPS, LATERALITY_GROUPS, REGION_GROUPS, TYPE_GROUPS, check_concept


def _code(value: str, meaning: str, scheme: str = "SCT") -> Code:
    return Code(value=value, scheme=scheme, meaning=meaning)


@pytest.mark.parametrize(
    ("groups", "codes"),
    [
        (CATEGORY_GROUPS, CATEGORIES.values()),
        (LATERALITY_GROUPS, LATERALITIES.values()),
        (TYPE_GROUPS, [_code("10200004", "Liver"), _code("10200004", "LIVER"), _code("4147007", "Mass"), _code("64033007", "Kidney")]),
        (REGION_GROUPS, [_code("39607008", "Lung"), _code("64033007", "Kidney")]),
    ],
)
def test_concepts_of_the_groups_are_right(groups: Sequence[int], codes: Sequence[Code]) -> None:
    assert [check_concept(code, groups, extensible=False) for code in codes] == [None] * len(codes)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (_code("10200004", "Spleen"), r"expected the meaning 'Liver' for \(10200004, SCT\), got 'Spleen'; is it the right code\?"),
        (_code("10200005", "Liver"), r"expected a concept of CID 7151, got .*; 'Liver' is \(10200004, SCT\); set unlisted: true"),
        (_code("24028007", "Right"), "expected a concept of CID 7151"),
        (_code("T-62000", "Liver", "SRT"), r"'Liver' is \(10200004, SCT\)"),
    ],
)
def test_a_wrong_code_is_named_with_the_right_one(code: Code, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        raise ValueError(check_concept(code, TYPE_GROUPS, extensible=True))


def test_a_closed_group_takes_nothing_from_elsewhere_whoever_vouches_for_it() -> None:
    organ = _code("113343008", "Organ")
    told = check_concept(organ, CATEGORY_GROUPS, extensible=False, unlisted=True)
    assert told is not None
    assert "expected a concept of CID 7150" in told
    assert "unlisted" not in told


def test_private_codes_and_those_a_person_vouches_for_are_taken() -> None:
    assert check_concept(_code("L1", "Vertebra of our own", "99SITE"), TYPE_GROUPS, extensible=True) is None
    assert check_concept(_code("272673000", "Bone structure"), TYPE_GROUPS, extensible=True, unlisted=True) is None


@pytest.mark.parametrize("value", ["272673001", "276273000", "27267300", "27267300X"])
def test_a_mistyped_snomed_code_is_found_by_its_check_digit(value: str) -> None:
    told = check_concept(_code(value, "Bone structure"), TYPE_GROUPS, extensible=True, unlisted=True)
    assert told is not None
    assert "expected a SNOMED CT identifier with a valid check digit" in told
