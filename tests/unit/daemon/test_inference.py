"""What a rule says of an object's reach, in slices, and the frames that the model sees."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from daemon.inference import _extent
from daemon.windowing import to_frames
from model.preprocess import window_to_uint8
from model.prompt import BoxPrompt


@pytest.mark.parametrize(
    ("reach_mm", "frames", "expected"),
    [(None, [5], None), (10.0, [5], (2, 8)), (9.0, [5], (2, 8)), (8.9, [5], (3, 7)), (100.0, [5], (0, 11)), (3.0, [4, 7], (3, 8))],
)
def test_a_reach_in_millimetres_becomes_whole_slices_within_the_volume(
    reach_mm: float | None, frames: list[int], expected: tuple[int, int] | None
) -> None:
    box = BoxPrompt(frame=0, left=1, top=1, right=2, bottom=2)
    item = SimpleNamespace(
        target=SimpleNamespace(maximum_reach_mm=reach_mm), prompts=[dataclasses.replace(box, frame=frame) for frame in frames]
    )
    volume = SimpleNamespace(spacing_mm=(3.0, 1.0, 1.0), voxels=np.zeros((12, 4, 4), np.float32))
    assert _extent(item, volume) == expected  # type: ignore[arg-type]


def test_frames_are_windowed_slice_by_slice_as_the_whole_volume_would_be() -> None:
    voxels = np.random.default_rng(0).normal(0, 300, (5, 8, 9)).astype(np.float32)
    np.testing.assert_array_equal(to_frames(voxels, -160, 240), window_to_uint8(voxels, -160, 240))
    assert not to_frames(voxels, 5, 5).any()
