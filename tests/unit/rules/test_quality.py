"""Verdicts: what is delivered, what with a warning, what not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.prompt import BoxPrompt
from model.result import ObjectResult, StopReason, Stops
from rules.cleanup import clean
from rules.prompts.generate import PromptedObject
from rules.quality import Decision, Verdict, judge
from rules.rule import Target
from tests.unit.rules.examples import empty, target, volume

SHAPE = (6, 20, 20)


def mask_of(*slices: slice) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros(SHAPE, np.bool_)
    mask[slices] = True
    return mask


INNER = mask_of(slice(2, 4), slice(5, 15), slice(5, 15))  # 200 voxels of 2 mm3: 0.4 ml


def verdict(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], score: float = 5.0, **limits: object) -> Verdict:
    prompted = PromptedObject(
        target=Target.model_validate(target(limits=limits)),
        object_id=3,
        label="Liver",
        prompts=(BoxPrompt(frame=3, left=5, top=5, right=14, bottom=14, object_id=3),),
    )
    ious = np.full(SHAPE[0], 0.9, np.float32)
    ious[0] = np.nan
    result = ObjectResult(
        object_id=3,
        mask=mask,
        iou=ious,
        object_score_logit=np.full(SHAPE[0], score, np.float32),
        stability=np.ones(SHAPE[0], np.float32),
        stopped=Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END),
    )
    (found,) = judge([prompted], [result], volume(empty(*SHAPE)))
    return found


def test_a_mask_within_all_limits_is_accepted() -> None:
    found = verdict(INNER, minimum_volume_ml="0.4", maximum_volume_ml="0.4", minimum_iou="0.89")
    assert (found.decision, found.reasons, found.delivers) == (Decision.ACCEPT, (), True)
    assert found.volume_ml == pytest.approx(0.4)
    assert found.median_iou == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"minimum_volume_ml": "1"}, "Liver: volume: expected at least 1 ml, got 0.40 ml"),
        ({"maximum_volume_ml": "0.2"}, "Liver: volume: expected at most 0.2 ml, got 0.40 ml"),
        ({"minimum_iou": "0.95"}, "Liver: predicted IoU: expected a median of at least 0.95, got 0.900"),
    ],
)
def test_a_mask_beyond_a_limit_is_withheld(limits: dict[str, Any], reason: str) -> None:
    found = verdict(INNER, **limits)
    assert (found.decision, found.reasons, found.delivers) == (Decision.WITHHOLD, (reason,), False)


def test_an_empty_mask_is_withheld_for_that_reason_alone() -> None:
    found = verdict(mask_of(slice(0)), minimum_volume_ml="1", minimum_iou="0.5")
    assert (found.decision, found.reasons) == (Decision.WITHHOLD, ("Liver: the mask is empty",))
    assert found.median_iou is None


def test_a_mask_that_touches_the_edge_is_flagged_but_delivered() -> None:
    found = verdict(mask_of(slice(0, 3), slice(5, 9), slice(0, 9)))
    assert (found.decision, found.delivers) == (Decision.FLAG, True)
    assert "first slice, left column" in found.reasons[0]


def test_a_mask_that_touches_the_edge_is_withheld_where_the_whole_object_is_asked_for() -> None:
    found = verdict(mask_of(slice(0, 3), slice(5, 9), slice(5, 9)), whole="true")
    assert (found.decision, found.delivers) == (Decision.WITHHOLD, False)
    assert found.reasons == ("Liver: the mask touches the volume's edge (first slice); part of the object may lie outside",)
    assert verdict(INNER, whole="true").decision is Decision.ACCEPT


def test_an_object_that_the_model_does_not_see_where_it_was_prompted_is_flagged() -> None:
    found = verdict(INNER, score=-1.0)
    assert (found.decision, found.reasons) == (Decision.FLAG, ("Liver: the model sees no such object on the prompted slice 3",))


def test_a_missing_result_is_an_error_not_a_verdict() -> None:
    prompted = PromptedObject(target=Target.model_validate(target()), object_id=1, label="Liver", prompts=())
    with pytest.raises(ValueError, match="expected one for object 1"):
        judge([prompted], [], volume(empty(*SHAPE)))


def test_cleaning_keeps_the_largest_part_only_where_the_target_asks() -> None:
    mask = INNER | mask_of(slice(0, 1), slice(0, 2), slice(0, 2))
    assert clean(mask, Target.model_validate(target())) is mask
    assert np.array_equal(clean(mask, Target.model_validate(target(largest_component="true"))), INNER)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"minimum_score": "0.99"}, "Liver: quality score: expected at least 0.99, got 0.95"),
        ({"minimum_mean": "-900"}, "Liver: mean intensity: expected at least -900, got -1000.0"),
        ({"maximum_mean": "-1100"}, "Liver: mean intensity: expected at most -1100, got -1000.0"),
    ],
)
def test_a_mask_that_is_loose_or_of_the_wrong_brightness_is_withheld(limits: dict[str, Any], reason: str) -> None:
    found = verdict(INNER, **limits)
    assert (found.decision, found.reasons) == (Decision.WITHHOLD, (reason,))


def test_the_agreement_is_judged_only_where_a_second_look_is_asked_for() -> None:
    with pytest.raises(ValueError, match="expected second_look: true"):
        Target.model_validate(target(limits={"minimum_agreement": "0.7"}))
    item = Target.model_validate(target(limits={"minimum_agreement": "0.7"}, second_look="true"))
    prompted = PromptedObject(
        target=item, object_id=3, label="Liver", prompts=(BoxPrompt(frame=3, left=5, top=5, right=14, bottom=14, object_id=3),)
    )
    figures = np.full(SHAPE[0], 0.9, np.float32)
    stops = Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END)
    result = ObjectResult(object_id=3, mask=INNER, iou=figures, object_score_logit=figures, stability=figures, stopped=stops)
    loose, firm = (judge([prompted], [result], volume(empty(*SHAPE)), {3: dice})[0] for dice in (0.4, 0.9))
    assert loose.reasons == ("Liver: agreement with the second look: expected at least 0.7, got 0.40",)
    assert firm.decision is Decision.ACCEPT
