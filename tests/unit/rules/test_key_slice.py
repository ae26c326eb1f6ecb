"""Key slices: on which slices of a region the model is prompted."""

from __future__ import annotations

import numpy as np
import pytest

from rules.prompts.key_slice import KeySlices, key_frames, region_boxes
from rules.voxel_regions import Mask


def cone() -> Mask:
    """Sections that grow from slice 2 to slice 11 and then end: 1, 2, ... 10 rows of 4 columns."""
    mask = np.zeros((16, 20, 20), np.bool_)
    for step in range(10):
        mask[2 + step, 3 : 4 + step, 5:9] = True
    return mask


FLAT = np.zeros((16, 20, 20), np.float32)


@pytest.mark.parametrize(
    ("settings", "frames"),
    [
        ({"choice": "largest"}, (11,)),
        ({"choice": "middle"}, (6,)),
        ({"choice": "largest", "slices": 3}, (11, 3, 6)),
        ({"choice": "middle", "slices": 3}, (6, 3, 9)),
        ({"choice": "middle", "slices": 9}, (6, 2, 3, 4, 5, 7, 8, 9, 10)),
    ],
)
def test_the_slices_are_the_asked_ones_the_chosen_first(settings: dict[str, object], frames: tuple[int, ...]) -> None:
    assert key_frames(cone(), FLAT, KeySlices.model_validate(settings)) == frames


def test_the_sharpest_slice_is_where_the_image_changes_most_among_the_large_sections() -> None:
    image = FLAT.copy()
    image[3, ::2] = 1000.0  # sharp, but a thin section
    image[8, ::2] = 100.0
    assert key_frames(cone(), image, KeySlices(choice="sharpest")) == (8,)


def test_a_box_is_the_sections_extent_widened_within_the_image() -> None:
    (box,) = region_boxes(cone(), FLAT, KeySlices(choice="largest"))
    assert (box.frame, box.left, box.top, box.right, box.bottom) == (11, 5, 3, 8, 12)
    (box,) = region_boxes(cone(), FLAT, KeySlices(choice="largest", margin_pixels=6))
    assert (box.left, box.top, box.right, box.bottom) == (0, 0, 14, 18)


def test_an_empty_region_has_no_key_slice() -> None:
    with pytest.raises(ValueError, match="at least one voxel"):
        key_frames(np.zeros((3, 4, 4), np.bool_), np.zeros((3, 4, 4), np.float32), KeySlices())
