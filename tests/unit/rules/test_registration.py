"""Registration: organs of one trunk carried onto the same trunk on another day and grid."""

from __future__ import annotations

from rules.find_again import find_again
from rules.registration import Alignment, align, carry_mask
from rules.simple_itk import sitk
from rules.voxel_regions import Mask
from tests.unit.rules.bodies import bent, now, then


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_volumes_far_apart_on_other_grids_are_laid_upon_each_other_and_bent() -> None:
    rigid = align(now().volume, then().volume, deformable=False)
    assert bent().similarity > rigid.similarity
    organs = ("liver", "spleen", "left kidney", "right kidney")
    for name in organs:
        assert dice(carry_mask(then().masks[name], then().volume, now().volume, bent()), now().masks[name]) >= 0.85


def test_a_rerun_gives_the_same_map() -> None:
    point = (30.0, -20.0, 10.0)
    assert align(now().volume, then().volume).transform.TransformPoint(point) == bent().transform.TransformPoint(point)


def test_a_region_is_pulled_to_where_its_surroundings_are() -> None:
    """The whole map is off by 8 mm on purpose."""
    image = then()
    off = Alignment(transform=sitk.TranslationTransform(3, (8.0, -8.0, 0.0)), similarity=0.0)
    before = dice(carry_mask(image.masks["lesion"], image.volume, image.volume, off), image.masks["lesion"])
    carried = find_again(image.masks["lesion"], image.volume, image.volume, off)
    assert before < 0.4
    assert dice(carried.mask, image.masks["lesion"]) > 0.9
    assert carried.likeness > 0.9


def test_a_region_that_lies_outside_is_empty() -> None:
    image = then()
    off = Alignment(transform=sitk.TranslationTransform(3, (900.0, 0.0, 0.0)), similarity=0.0)
    carried = find_again(image.masks["lesion"], image.volume, image.volume, off)
    assert not carried.mask.any()
    assert carried.likeness == -1.0
