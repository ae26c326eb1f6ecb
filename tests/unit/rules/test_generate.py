"""Generating: object ids in target order, missing targets with reasons, and boxes that a person drew."""

from __future__ import annotations

import pytest

from model.prompt import BoxPrompt
from rules.prompts.generate import PromptContext, generate, with_boxes
from tests.unit.rules.examples import empty, plan, target, volume

PLAN = plan(target(label="A"), target(label="B", prompt={"kind": "threshold", "low": "9000"}), target(label="C"))


def context() -> PromptContext:
    voxels = empty(4, 20, 20)
    voxels[1:3, 4:9, 4:9] = 200.0
    return PromptContext(volume=volume(voxels))


def test_ids_count_from_one_over_the_targets_that_were_found() -> None:
    found = generate(PLAN, context())
    assert [(item.object_id, item.label, item.prompts[0].object_id) for item in found.objects] == [(1, "A", 1), (2, "C", 2)]
    assert [(item.target.label, item.reason) for item in found.missing] == [("B", "no voxel from 9000 to any")]


def test_a_drawn_box_belongs_to_the_target_in_the_same_place_and_is_clipped() -> None:
    drawn = [BoxPrompt(frame=1, left=2, top=3, right=50, bottom=9), BoxPrompt(frame=9, left=0, top=0, right=1, bottom=1)]
    found = with_boxes(PLAN, drawn, context())
    assert [item.label for item in found.objects] == ["A"]
    assert found.objects[0].prompts == (BoxPrompt(frame=1, left=2, top=3, right=19, bottom=9),)
    assert [(item.target.label, item.reason) for item in found.missing] == [
        ("B", "the box lies outside the volume: expected a slice of 0..3, got slice 9"),
        ("C", "no box was given for this target"),
    ]


def test_more_boxes_than_targets_are_refused() -> None:
    box = BoxPrompt(frame=1, left=2, top=3, right=5, bottom=9)
    with pytest.raises(ValueError, match=r"at most one a target of rule 'ct' \(3\), got 4"):
        with_boxes(PLAN, [box] * 4, context())
