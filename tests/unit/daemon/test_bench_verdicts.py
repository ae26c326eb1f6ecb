"""The benchmark of the quality score: its figures say what they claim."""

from __future__ import annotations

import pytest

from daemon.benchmarks.verdicts import Judged, auroc, figures_of


def judged(score: float, dice: float | None) -> Judged:
    return Judged(family="f", case="c", structure="s", score=score, dice=dice)


def test_the_area_under_the_curve_is_the_chance_that_a_good_mask_scores_higher() -> None:
    assert auroc([0.9, 0.8], [0.1, 0.8]) == pytest.approx(3.5 / 4)
    assert auroc([], [0.1]) is None


def test_masks_between_bad_and_good_count_in_neither_and_empty_places_apart() -> None:
    found = figures_of([judged(0.9, 0.85), judged(0.2, 0.1), judged(0.5, 0.6), judged(0.3, None), judged(0.95, None)], 0.8)
    assert (found.objects, found.bad, found.good, found.empty_places) == (3, 1, 1, 2)
    assert (found.auroc, found.bad_withheld, found.good_withheld, found.empty_withheld) == (1.0, 1.0, 0.0, 0.5)
