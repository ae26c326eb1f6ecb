"""Prompts say what is wrong with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt, check_prompts

BOX = BoxPrompt(frame=2, left=1, top=2, right=7, bottom=9)
POINT = PointPrompt(frame=2, points=((3.0, 4.0),), labels=(1,))
MASK = MaskPrompt(frame=2, mask=np.ones((10, 8), np.bool_))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"right": 0.0}, "left <= right"),
        ({"bottom": 1.0}, "top <= bottom"),
        ({"left": float("nan")}, "finite"),
        ({"frame": -1}, "frame"),
        ({"object_id": 0}, "object_id"),
    ],
)
def test_a_box_that_cannot_be_is_refused(changes: dict[str, float], expected: str) -> None:
    values = {**dataclasses.asdict(BOX), **changes}
    with pytest.raises(ValueError, match=expected):
        BoxPrompt(**values)


@pytest.mark.parametrize(
    ("points", "labels", "expected"),
    [
        ((), (), "at least one"),
        (((1.0, 2.0),), (1, 0), "each with a label"),
        (((1.0, float("inf")),), (1,), "finite"),
        (((1.0, 2.0),), (2,), "positive"),
    ],
)
def test_points_that_cannot_be_are_refused(points: tuple[tuple[float, float], ...], labels: tuple[int, ...], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        PointPrompt(frame=0, points=points, labels=labels)


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a bool"):
        MaskPrompt(frame=0, mask=np.ones((4, 4), np.uint8))


@pytest.mark.parametrize("prompt", [BOX, POINT, MASK])
def test_prompts_within_the_frames_are_accepted(prompt: Prompt) -> None:
    check_prompts((prompt,), frames=3, size=(10, 8))


@pytest.mark.parametrize(
    ("prompt", "frames", "size", "expected"),
    [
        (BOX, 2, (10, 8), r"frame of 0\.\.1, got 2"),
        (BOX, 3, (10, 7), "7 columns x 10 rows"),
        (POINT, 3, (4, 8), "8 columns x 4 rows"),
        (MASK, 3, (8, 10), r"shape \(8, 10\), got \(10, 8\)"),
    ],
)
def test_prompts_outside_the_frames_are_refused(prompt: Prompt, frames: int, size: tuple[int, int], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_prompts((prompt,), frames, size)


def test_no_prompt_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one, got none"):
        check_prompts((), frames=3, size=(10, 8))
