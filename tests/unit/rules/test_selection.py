"""Which of several series of a study a rule takes: criterion after criterion, with the scores in words."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from rules.kernels import sharpness
from rules.selection import Measures, Selection, best_volume, measures_of, rank

THIN = Measures(slice_spacing_mm=1.0, slices=300, coverage_mm=299, kernel="Br36f", phase="arterial", acquired="20260101101500")
THICK = Measures(slice_spacing_mm=5.0, slices=70, coverage_mm=345, kernel="Bl57f", phase="portal-venous", acquired="20260101102000")
SILENT = Measures()
SERIES = {"1.1": THIN, "1.2": THICK, "1.3": SILENT}


def selection(*by: object) -> Selection:
    return Selection.model_validate({"by": list(by)})


@pytest.mark.parametrize(
    ("criterion", "chosen", "score"),
    [
        ("thinnest", "1.1", "1 mm"),
        ("thickest", "1.2", "5 mm"),
        ("softest_kernel", "1.1", "Br36f (sharpness 36)"),
        ("sharpest_kernel", "1.2", "Bl57f (sharpness 57)"),
        ("most_slices", "1.1", "300 slices"),
        ("largest_coverage", "1.2", "345 mm"),
        ("first_acquired", "1.1", "20260101101500"),
        ("last_acquired", "1.2", "20260101102000"),
        ({"phase": ["portal-venous", "arterial"]}, "1.2", "portal-venous"),
    ],
)
def test_each_criterion_prefers_what_it_says_and_what_is_not_stated_comes_last(criterion: object, chosen: str, score: str) -> None:
    ranking = rank(selection(criterion), SERIES)
    assert (ranking[0].key, ranking[0].scores[0][1], ranking[0].reason) == (chosen, score, "")
    assert [one.place for one in ranking] == [1, 2, 3]
    assert ranking[-1].key == "1.3"
    assert ranking[-1].reason.endswith(f"against {score}")


def test_the_first_criterion_that_tells_two_series_apart_decides() -> None:
    twin = Measures(slice_spacing_mm=1.004, slices=301)
    first, second = rank(selection("thinnest", "most_slices"), {"1.1": THIN, "1.9": twin})
    assert (first.key, second.reason) == ("1.9", "most_slices: 300 slices against 301 slices")
    assert second.words == "thinnest: 1 mm, most_slices: 300 slices"


def test_equal_series_leave_what_was_chosen_before_and_any_order_gives_the_same_answer() -> None:
    equal = {"1.7": THIN, "1.5": THIN, "1.6": THIN}
    for keys in itertools.permutations(equal):
        assert rank(selection("thinnest"), {key: equal[key] for key in keys})[0].key == "1.5"
    ranking = rank(selection("thinnest"), equal, chosen_before="1.7")
    assert [one.key for one in ranking] == ["1.7", "1.5", "1.6"]
    assert ranking[1].reason == "equal by every criterion"


def test_a_series_of_several_volumes_takes_part_with_its_best_one() -> None:
    assert best_volume(selection("thickest"), [THIN, THICK]) is THICK


def test_measures_come_from_facts_and_headers() -> None:
    found = measures_of(
        {
            "slice_spacing_mm": "0.75",
            "slices": "200",
            "coverage_mm": "149.25",
            "ConvolutionKernel": ("Br40d", "3"),
            "phase": "arterial",
            "AcquisitionDateTime": "",
            "AcquisitionDate": "20260102",
            "AcquisitionTime": "030405.5",
        }
    )
    assert found == Measures(
        slice_spacing_mm=0.75, slices=200, coverage_mm=149.25, kernel="Br40d", phase="arterial", acquired="20260102030405.5"
    )
    assert measures_of({"SeriesDate": "yesterday"}) == SILENT


@pytest.mark.parametrize(
    ("softer", "sharper"), [("B30f", "B70f"), ("Br40d", "Hr68"), ("STANDARD", "BONEPLUS"), ("FC08", "FC52"), ("B", "E"), ("I26s", "I70f")]
)
def test_the_names_of_each_maker_are_ordered_by_sharpness(softer: str, sharper: str) -> None:
    low, high = sharpness(softer), sharpness(sharper)
    assert low is not None
    assert high is not None
    assert low < high


def test_an_unknown_kernel_has_no_sharpness() -> None:
    assert sharpness("ultra") is None
    assert rank(selection("sharpest_kernel"), {"1.1": Measures(kernel="ultra")})[0].scores[0][1] == "ultra (not a known kernel)"


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("thinest", "got 'thinest'; did you mean 'thinnest'?"),
        ({"phase": ["portal"]}, "phase: expected delayed, portal-venous, arterial, native, got 'portal'; did you mean 'portal-venous'?"),
        ({"fase": ["arterial"]}, "or {phase: [...]}, got a mapping"),
    ],
)
def test_a_criterion_that_does_not_exist_is_named_with_the_near_one(by: object, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        selection(by)
    assert words in str(caught.value)
