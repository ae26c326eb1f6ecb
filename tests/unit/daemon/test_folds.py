"""Folds keep every numbered case aside once, and all cases of a patient on one side."""

from __future__ import annotations

import pytest

from daemon.errors import ConfigError
from daemon.folds import Fold, parse_fold

CASES = ("STS_003_CT", "STS_007_CT", "pt_100__Mandible", "12", "CT_Lesion_000009_03")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_over_all_folds_every_numbered_case_is_kept_aside_exactly_once(count: int) -> None:
    folds = [Fold(index=index, count=count) for index in range(count)]
    for case in CASES:
        assert sorted(fold.split_of(case) for fold in folds) == ["train"] * (count - 1) + ["val"]


def test_cases_of_one_patient_in_two_families_are_on_one_side() -> None:
    for index in range(4):
        fold = Fold(index=index, count=4)
        assert fold.split_of("STS_011_CT") == fold.split_of("STS_011_PET") == fold.split_of("STS_011_MR_T1")


def test_a_case_without_a_number_is_never_measured() -> None:
    assert {Fold(index=index, count=3).split_of("example__bone") for index in range(3)} == {"train"}


def test_a_fold_reads_back_as_it_prints() -> None:
    assert parse_fold(str(Fold(index=1, count=3))) == Fold(index=1, count=3)


@pytest.mark.parametrize("text", ["3/3", "0/1", "1", "-1/3", "a/b", "1/3/5", ""])
def test_a_fold_that_is_none_names_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected INDEX/COUNT"):
        parse_fold(text)
