"""Registration: organs of one trunk carried onto the same trunk on another day and grid."""

from __future__ import annotations

import numpy as np

from rules.find_again import find_again
from rules.registration import Alignment, align, carry_mask, sitk
from rules.voxel_regions import Mask
from tests.unit.rules.bodies import trunk


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_volumes_far_apart_on_other_grids_are_laid_upon_each_other_and_bent() -> None:
    then, now = trunk(), trunk(breath_mm=14, turn_degrees=5, shift_mm=30, coarse=True)
    rigid = align(now.volume, then.volume, deformable=False)
    bent = align(now.volume, then.volume)
    assert bent.similarity > rigid.similarity
    organs = ("liver", "spleen", "left kidney", "right kidney")
    scores = {
        name: [dice(carry_mask(then.masks[name], then.volume, now.volume, found), now.masks[name]) for found in (rigid, bent)]
        for name in organs
    }
    assert min(after for _, after in scores.values()) >= 0.75
    assert np.mean([after for _, after in scores.values()]) > np.mean([before for before, _ in scores.values()])


def test_a_rerun_gives_the_same_map() -> None:
    then, now = trunk(), trunk(breath_mm=10, coarse=True)
    first, second = (align(now.volume, then.volume) for _ in range(2))
    point = (30.0, -20.0, 10.0)
    assert first.transform.TransformPoint(point) == second.transform.TransformPoint(point)


def test_a_region_is_pulled_to_where_its_surroundings_are() -> None:
    """The whole map is off by 8 mm on purpose."""
    then, now = trunk(), trunk()
    off = Alignment(transform=sitk.TranslationTransform(3, (8.0, -8.0, 0.0)), similarity=0.0)
    before = dice(carry_mask(then.masks["lesion"], then.volume, now.volume, off), now.masks["lesion"])
    carried = find_again(then.masks["lesion"], then.volume, now.volume, off)
    assert before < 0.4
    assert dice(carried.mask, now.masks["lesion"]) > 0.9
    assert carried.likeness > 0.9


def test_a_region_that_lies_outside_is_empty() -> None:
    then = trunk()
    off = Alignment(transform=sitk.TranslationTransform(3, (900.0, 0.0, 0.0)), similarity=0.0)
    carried = find_again(then.masks["lesion"], then.volume, then.volume, off)
    assert not carried.mask.any()
    assert carried.likeness == -1.0
