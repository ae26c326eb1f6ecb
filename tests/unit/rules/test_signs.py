"""Signs of quality, and the prompts of a second pass: what tells a firm mask from a loose one."""

from __future__ import annotations

import numpy as np
import pytest

from model.prompt import BoxPrompt, MaskPrompt, PointPrompt
from model.result import ObjectResult, StopReason, Stops
from rules.second_pass import agreement, jittered, refined
from rules.signs import signs_of

SHAPE = (6, 20, 20)
BOX = BoxPrompt(frame=2, left=5, top=5, right=14, bottom=14, object_id=7)


def result(*, iou: float = 0.9, jump: bool = False, both_ways: float | None = None) -> ObjectResult:
    mask = np.zeros(SHAPE, np.bool_)
    mask[1:5, 5:15, 5:15] = True
    if jump:
        mask[3:5] = np.roll(mask[3:5], 9, axis=2)
    ious = np.full(SHAPE[0], iou, np.float32)
    ious[3] = min(iou + 0.05, 1.0)
    agreed = None if both_ways is None else np.full(SHAPE[0], both_ways, np.float32)
    return ObjectResult(
        object_id=7,
        mask=mask,
        iou=ious,
        object_score_logit=np.full(SHAPE[0], 5.0, np.float32),
        stability=np.full(SHAPE[0], 0.9, np.float32),
        stopped=Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END),
        agreement=agreed,
    )


def test_the_score_is_the_mean_of_the_figures_that_there_are() -> None:
    signs = signs_of(result(), [BOX])
    assert (signs.continuity, signs.jump, signs.both_ways, signs.second_look) == (1.0, None, None, None)
    assert signs.score == pytest.approx((0.9 + 0.9 + 0.9 + 1.0) / 4)
    assert signs_of(result(both_ways=0.2), [BOX], second_look=0.1).score == pytest.approx((0.9 * 3 + 1.0 + 0.2 + 0.1) / 6)


def test_an_empty_mask_scores_nothing() -> None:
    emptied = result()
    emptied.mask[:] = False
    assert signs_of(emptied, [BOX], second_look=1.0).score == 0.0


def test_a_mask_that_leaps_aside_is_found_where_it_leaps() -> None:
    mask = result(jump=True)
    assert signs_of(mask, [BOX]).jump == 2
    assert signs_of(mask, [BOX]).score < signs_of(result(), [BOX]).score


def test_refining_adds_the_box_of_the_best_slice_that_had_no_prompt() -> None:
    first, second = refined([BOX], result())
    assert first == BOX
    assert second == BoxPrompt(frame=3, left=5, top=5, right=14, bottom=14, object_id=7)


def test_there_is_nothing_to_refine_where_every_slice_was_prompted() -> None:
    prompts = [BoxPrompt(frame=k, left=5, top=5, right=14, bottom=14, object_id=7) for k in range(SHAPE[0])]
    assert refined(prompts, result()) == tuple(prompts)


def test_moved_prompts_stay_within_the_image_and_say_almost_the_same() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[4:8, 17:] = True
    box, point, drawn = jittered(
        [
            BoxPrompt(frame=2, left=0, top=5, right=19, bottom=14),
            PointPrompt(frame=2, points=((19.0, 3.0),), labels=(1,)),
            MaskPrompt(frame=1, mask=mask),
        ],
        (20, 20),
    )
    assert isinstance(box, BoxPrompt)
    assert (box.left, box.top, box.right, box.bottom) == (0, 3, 19, 16)
    assert isinstance(point, PointPrompt)
    assert point.points == ((19, 3.0),)
    assert isinstance(drawn, MaskPrompt)
    assert 0.7 < agreement(drawn.mask, mask) < 1.0


def test_two_empty_masks_agree() -> None:
    assert agreement(np.zeros(SHAPE, np.bool_), np.zeros(SHAPE, np.bool_)) == 1.0
