"""Propagation through frames with a compact network: reach, stop rule, independence of objects, sharing of features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.lockstep import Batch
from model.options import PropagationOptions
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from model.result import ObjectResult, StopReason
from model.segmenter import Segmenter
from tests.unit.model.compact import compact_model

FRAMES = np.random.default_rng(0).integers(0, 256, (9, 40, 48), dtype=np.uint8)
FULL = PropagationOptions(stop_after_empty_frames=None, keep_logits=True)


def _box(frame: int, object_id: int = 1) -> BoxPrompt:
    return BoxPrompt(frame=frame, left=8, top=6, right=30, bottom=28, object_id=object_id)


def _segmenter(object_score: float = 4.0) -> Segmenter:
    return Segmenter(compact_model(object_score=object_score), "cpu", "compact")


def _segment(prompts: list[Prompt], options: PropagationOptions = FULL, object_score: float = 4.0) -> tuple[ObjectResult, ...]:
    return _segmenter(object_score).segment(FRAMES, prompts, options).objects


def _visited(values: NDArray[np.float32]) -> list[int]:
    return np.flatnonzero(~np.isnan(values)).tolist()


def test_both_directions_start_at_the_prompted_frame_and_reach_the_ends() -> None:
    (one,) = _segment([_box(4)])
    assert one.logits_forward is not None
    assert one.logits_backward is not None
    assert _visited(one.logits_forward[:, 0, 0]) == [4, 5, 6, 7, 8]
    assert _visited(one.logits_backward[:, 0, 0]) == [0, 1, 2, 3, 4]
    assert _visited(one.iou) == list(range(9))
    assert one.mask.shape == FRAMES.shape
    assert (one.stopped.forward, one.stopped.backward) == (StopReason.REACHED_END, StopReason.REACHED_END)
    assert (one.mask == (np.nan_to_num(one.logits_forward) > 0) | (np.nan_to_num(one.logits_backward) > 0)).all()


def test_the_backward_pass_from_the_first_frame_is_empty() -> None:
    (one,) = _segment([_box(0)])
    assert one.logits_backward is not None
    assert _visited(one.logits_backward[:, 0, 0]) == []


def test_an_object_that_stays_away_stops_each_direction_after_the_limit() -> None:
    (one,) = _segment([_box(4)], PropagationOptions(stop_after_empty_frames=2), object_score=-4.0)
    assert _visited(one.object_score_logit) == [2, 3, 4, 5, 6]
    assert (one.stopped.forward, one.stopped.backward) == (StopReason.EMPTY_FRAMES, StopReason.EMPTY_FRAMES)
    assert not one.mask.any()


def test_the_stop_rule_waits_for_a_conditioning_frame_ahead() -> None:
    (one,) = _segment([_box(1), _box(6)], PropagationOptions(stop_after_empty_frames=1), object_score=-4.0)
    assert _visited(one.object_score_logit) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_the_reference_never_stops() -> None:
    (one,) = _segment([_box(4)], PropagationOptions(reference=True), object_score=-4.0)
    assert _visited(one.object_score_logit) == list(range(9))


def test_the_extent_bounds_both_directions() -> None:
    (one,) = _segment([_box(4)], PropagationOptions(extent=(3, 6), stop_after_empty_frames=None))
    assert _visited(one.iou) == [3, 4, 5, 6]
    assert (one.stopped.forward, one.stopped.backward) == (StopReason.EXTENT, StopReason.EXTENT)


def test_an_object_is_segmented_alike_alone_and_with_others() -> None:
    others: list[Prompt] = [_box(2, 2), PointPrompt(frame=4, points=((20.0, 20.0),), labels=(1,), object_id=3)]
    (alone,) = _segment([_box(4)])
    together = _segment([*others, _box(4)])
    assert [one.object_id for one in together] == [2, 3, 1]
    for field in ("logits_forward", "logits_backward", "iou", "object_score_logit"):
        np.testing.assert_allclose(getattr(together[2], field), getattr(alone, field), atol=1e-3)
    assert _visited(together[0].iou) == list(range(9))


def test_the_reference_starts_every_object_at_the_earliest_prompt() -> None:
    later, _ = _segment([_box(5, 1), _box(2, 2)], PropagationOptions(reference=True, keep_logits=True))
    assert later.logits_forward is not None
    assert _visited(later.logits_forward[:, 0, 0]) == [2, 3, 4, 5, 6, 7, 8]
    assert not later.mask[2].any()


def test_a_box_sent_again_starts_anew_unless_the_reference_is_asked_for() -> None:
    first = BoxPrompt(frame=4, left=1, top=1, right=40, bottom=35)
    (fresh,), (again,) = _segment([_box(4)]), _segment([first, _box(4)])
    (fed,) = _segment([first, _box(4)], PropagationOptions(reference=True, keep_logits=True))
    assert fresh.logits_forward is not None
    assert again.logits_forward is not None
    assert fed.logits_forward is not None
    np.testing.assert_array_equal(again.logits_forward, fresh.logits_forward)
    assert np.abs(fed.logits_forward[4] - fresh.logits_forward[4]).max() > 1e-4


def test_a_point_after_a_box_refines_its_answer() -> None:
    point = PointPrompt(frame=4, points=((2.0, 2.0),), labels=(0,))
    (box,), (refined,) = _segment([_box(4)]), _segment([_box(4), point])
    assert box.logits_forward is not None
    assert refined.logits_forward is not None
    assert np.abs(refined.logits_forward[4] - box.logits_forward[4]).max() > 1e-4


def test_a_mask_prompt_is_its_own_answer() -> None:
    mask = np.zeros((40, 48), np.bool_)
    mask[8:30, 10:35] = True
    (one,) = _segment([MaskPrompt(frame=3, mask=mask)])
    assert (one.mask[3] != mask).sum() <= 0.05 * mask.sum()
    assert one.iou[3] == 1.0


def test_every_frame_is_encoded_once_for_all_objects_passes_and_calls() -> None:
    segmenter = _segmenter()
    assert segmenter.segment(FRAMES, [_box(4), _box(2, 2)], FULL).frames_encoded == 9
    assert segmenter.segment(FRAMES, [_box(6)], FULL).frames_encoded == 0
    segmenter.cache.clear()
    assert segmenter.segment(FRAMES[:3], [_box(1)], FULL).frames_encoded == 3


def test_a_small_cache_costs_encodes_but_changes_nothing() -> None:
    roomy = _segmenter().segment(FRAMES, [_box(4)], FULL)
    tight_segmenter = Segmenter(compact_model(object_score=4.0), "cpu", "compact", feature_cache_bytes=0)
    tight = tight_segmenter.segment(FRAMES, [_box(4)], FULL)
    assert tight.frames_encoded > roomy.frames_encoded
    np.testing.assert_array_equal(tight.objects[0].mask, roomy.objects[0].mask)


def test_progress_counts_up_to_the_whole_even_when_a_pass_stops_early() -> None:
    heard: list[tuple[int, int]] = []
    stop_at_once = PropagationOptions(stop_after_empty_frames=1)
    _segmenter(-4.0).segment(FRAMES, [_box(4)], stop_at_once, lambda done, total: heard.append((done, total)))
    assert heard[-1] == (10, 10)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_the_result_names_weights_device_and_precision() -> None:
    result = _segmenter().segment(FRAMES, [_box(4)])
    assert (result.weights_id, result.device, result.precision) == ("compact", "cpu", "float32")
    assert result.objects[0].logits_forward is None


@pytest.mark.parametrize(
    ("prompts", "options", "expected"),
    [
        ([], FULL, "at least one"),
        ([_box(9)], FULL, r"frame of 0\.\.8"),
        ([_box(1)], PropagationOptions(extent=(2, 5)), r"within the extent 2\.\.5"),
        ([_box(4)], PropagationOptions(extent=(2, 12)), r"expected frames of 0\.\.8"),
        ([_box(4)], PropagationOptions(start_frame=20), "start_frame"),
    ],
)
def test_prompts_that_do_not_fit_the_frames_are_refused(prompts: list[Prompt], options: PropagationOptions, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        _segment(prompts, options)


def test_colour_frames_are_accepted() -> None:
    frames = np.repeat(FRAMES[..., None], 3, axis=3)
    coloured = _segmenter().segment(frames, [_box(4)], FULL).objects[0]
    np.testing.assert_allclose(coloured.iou, _segment([_box(4)])[0].iou, atol=1e-5)


@pytest.mark.parametrize("values", [{"stop_after_empty_frames": 0}, {"extent": (4, 2)}, {"hole_filling_area": -1}])
def test_options_that_contradict_themselves_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PropagationOptions(**values)  # type: ignore[arg-type]


def test_an_object_stays_within_its_own_extent_and_slices_between_objects_are_never_encoded() -> None:
    options = PropagationOptions(stop_after_empty_frames=None, object_extents={1: (0, 2), 2: (6, 7)})
    result = _segmenter().segment(FRAMES, [_box(1, 1), _box(7, 2)], options)
    assert [_visited(one.iou) for one in result.objects] == [[0, 1, 2], [6, 7]]
    assert result.frames_encoded == 5
    first, second = result.objects
    assert (first.stopped.forward, first.stopped.backward) == (StopReason.EXTENT, StopReason.REACHED_END)
    assert (second.stopped.forward, second.stopped.backward) == (StopReason.EXTENT, StopReason.EXTENT)


def test_nothing_is_encoded_beyond_the_slice_where_propagation_stops() -> None:
    stop_at_once = PropagationOptions(stop_after_empty_frames=1)
    assert _segmenter(-4.0).segment(FRAMES, [_box(4)], stop_at_once).frames_encoded == 3


def test_a_batch_of_encodes_reaches_no_farther_ahead_than_the_object_has_come() -> None:
    segmenter = Segmenter(compact_model(object_score=-4.0), "cpu", "compact", batch=Batch(frames=8, objects=4))
    assert segmenter.segment(FRAMES, [_box(4)], PropagationOptions(stop_after_empty_frames=2)).frames_encoded <= 7


@pytest.mark.parametrize("batch", [Batch(frames=1, objects=1), Batch(frames=4, objects=3), Batch(frames=8, objects=32)])
def test_every_batch_gives_the_same_masks(batch: Batch) -> None:
    prompts: list[Prompt] = [_box(4), _box(2, 2), _box(7, 3)]
    expected = _segment(prompts)
    got = Segmenter(compact_model(object_score=4.0), "cpu", "compact", batch=batch).segment(FRAMES, prompts, FULL)
    assert got.frames_encoded == 9
    for one, wanted in zip(got.objects, expected, strict=True):
        for field in ("logits_forward", "logits_backward"):
            np.testing.assert_allclose(getattr(one, field), getattr(wanted, field), atol=1e-3)


def test_directions_agree_where_both_saw_a_slice() -> None:
    (one,) = _segment([_box(2), _box(6)])
    assert one.agreement is not None
    assert one.logits_forward is not None
    assert one.logits_backward is not None
    # Forward begins at the first prompt and backward too, so that they meet there alone.
    assert _visited(one.agreement) == [2]
    assert one.agreement[2] == 1.0
    (wide,) = _segment([_box(2), _box(6)], PropagationOptions(stop_after_empty_frames=None, start_frame=2, keep_logits=True))
    assert wide.agreement is not None
    assert _visited(wide.agreement) == [2]


def test_features_held_do_not_grow_with_the_number_of_slices() -> None:
    held = []
    for count in (40, 80):
        frames = np.random.default_rng(1).integers(0, 256, (count, 40, 48), dtype=np.uint8)
        segmenter = Segmenter(compact_model(object_score=4.0), "cpu", "compact", feature_cache_bytes=1 << 18)
        assert segmenter.segment(frames, [_box(count // 2)], PropagationOptions(stop_after_empty_frames=None)).frames_encoded == count
        held.append(segmenter.cache.held)
    assert held[0] == held[1] <= 1 << 18


def test_warming_up_leaves_no_features_behind() -> None:
    segmenter = _segmenter()
    segmenter.warm_up()
    assert segmenter.cache.held == 0
    assert segmenter.segment(FRAMES, [_box(4)], FULL).frames_encoded == 9
