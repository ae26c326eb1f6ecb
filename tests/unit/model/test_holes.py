"""Only small, closed gaps are filled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.holes import FILLED_LOGIT, fill_holes


@pytest.mark.parametrize(("area", "filled"), [(8, True), (7, False), (0, False)])
def test_a_hole_is_filled_up_to_the_area(area: int, filled: bool) -> None:
    logits = torch.ones(1, 1, 16, 16)
    logits[0, 0, 4:6, 4:8] = -3.0
    out = fill_holes(logits, area)
    assert bool((out > 0).all()) is filled
    if filled:
        assert (out[0, 0, 4:6, 4:8] == FILLED_LOGIT).all()


def test_diagonal_neighbours_are_one_hole() -> None:
    logits = torch.ones(1, 1, 16, 16)
    for i in range(9):
        logits[0, 0, i, i] = -1.0
    assert int((fill_holes(logits, 8) <= 0).sum()) == 9


def test_a_logit_of_zero_is_background() -> None:
    logits = torch.ones(1, 1, 8, 8)
    logits[0, 0, 3, 3] = 0.0
    assert (fill_holes(logits, 1) > 0).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.8), area=st.integers(1, 8))
def test_any_picture_is_filled_as_by_walking_its_components(seed: int, share: float, area: int) -> None:
    foreground = np.random.default_rng(seed).random((2, 12, 12)) < share
    logits = torch.from_numpy(np.where(foreground, 1.0, -1.0).astype(np.float32))[:, None]
    out = fill_holes(logits, area)[:, 0].numpy() > 0
    for before, after in zip(foreground, out, strict=True):
        assert (after == (before | _small_by_walking(~before, area))).all()


def _small_by_walking(background: NDArray[np.bool_], area: int) -> NDArray[np.bool_]:
    small = np.zeros_like(background)
    left = {(int(y), int(x)) for y, x in np.argwhere(background)}
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            component.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        if len(component) <= area:
            for pixel in component:
                small[pixel] = True
    return small
