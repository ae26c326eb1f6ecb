"""Recipe `threshold`: bright regions become tight boxes, the largest first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK

from model.prompt import BoxPrompt
from rules.prompts.generate import PromptContext, PromptedObject, generate
from rules.voxel_regions import body, closed, component_labels, largest_component, opened
from tests.unit.rules.examples import empty, plan, target, volume

sitk: Any = SimpleITK  # its functions carry no types


def two_spots() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    voxels = empty(8, 40, 40)
    voxels[1:3, 5:9, 6:12] = 200.0  # 2 x 4 x 6 voxels of 2 mm3: 0.096 ml
    voxels[4:7, 20:30, 15:25] = 300.0  # 3 x 10 x 10: 0.6 ml
    voxels[5, 18:32, 14:26] = 300.0  # the largest section; 0.672 - 0.2 ml more
    return voxels


def prompts(voxels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], **recipe: object) -> tuple[tuple[PromptedObject, ...], list[str]]:
    found = generate(plan(target(prompt={"kind": "threshold", **recipe})), PromptContext(volume=volume(voxels)))
    return found.objects, [missing.reason for missing in found.missing]


def box(item: PromptedObject) -> tuple[int, tuple[float, ...]]:
    (prompt,) = item.prompts
    assert isinstance(prompt, BoxPrompt)
    assert prompt.object_id == item.object_id
    return prompt.frame, prompt.corners


def test_the_largest_component_gives_the_tight_inclusive_box_on_its_largest_slice() -> None:
    (only,), missing = prompts(two_spots(), low="100")
    assert box(only) == (5, (14, 18, 25, 31))
    assert only.label == "Liver"
    assert not missing


def test_the_n_largest_become_numbered_objects_in_order_of_volume() -> None:
    first, second = prompts(two_spots(), low="100", n_largest="5")[0]
    assert (first.object_id, first.label) == (1, "Liver 1")
    assert (second.object_id, second.label, box(second)) == (2, "Liver 2", (1, (6, 5, 11, 8)))


def test_an_upper_bound_excludes_what_is_brighter() -> None:
    (only,), _ = prompts(two_spots(), low="100", high="250")
    assert box(only)[0] == 1


def test_volume_filters_keep_what_fits() -> None:
    (only,), _ = prompts(two_spots(), low="100", n_largest="5", maximum_volume_ml="0.1", minimum_volume_ml="0.09")
    assert box(only)[0] == 1
    objects, missing = prompts(two_spots(), low="100", minimum_volume_ml="5")
    assert not objects
    assert missing == ["no region from 100 to any has a volume from 5 to any ml"]


def test_nothing_in_the_range_is_none_found_with_the_reason() -> None:
    assert prompts(two_spots(), low="1000", within="body")[1] == ["no voxel from 1000 to any within the body"]


def test_the_margin_widens_the_box_within_the_image() -> None:
    voxels = empty(3, 20, 20)
    voxels[1, 0:3, 15:20] = 500.0
    (only,), _ = prompts(voxels, low="100", margin_pixels="2")
    assert box(only) == (1, (13, 0, 19, 4))


def test_within_the_body_leaves_out_the_table_and_keeps_what_fills_a_hole() -> None:
    voxels = empty(4, 40, 40)
    voxels[:, 5:30, 5:35] = 40.0
    voxels[:, 10:20, 10:20] = -900.0  # a lung
    voxels[2, 13:16, 13:17] = 300.0  # a nodule in it
    voxels[:, 36:39, :] = 400.0  # the table, brighter and larger
    (only,), _ = prompts(voxels, low="250", within="body")
    assert box(only) == (2, (13, 13, 16, 15))
    assert body(volume(voxels))[:, 10:20, 10:20].all()


def test_padding_is_never_selected() -> None:
    voxels = two_spots()
    found = generate(plan(target()), PromptContext(volume=volume(voxels, padding=voxels > 250)))
    assert box(found.objects[0])[0] == 1


def test_opening_cuts_thin_bridges_and_closing_fills_narrow_gaps() -> None:
    voxels = empty(9, 40, 60)
    voxels[1:8, 10:30, 5:25] = 200.0
    voxels[1:8, 10:30, 35:55] = 200.0
    voxels[3:5, 19:21, 25:35] = 200.0
    assert len(prompts(voxels, low="100", n_largest="5")[0]) == 1
    assert len(prompts(voxels, low="100", n_largest="5", opening_mm="3")[0]) == 2
    voxels[3:5, 19:21, 25:35] = -1000.0
    assert len(prompts(voxels, low="100", n_largest="5", closing_mm="6")[0]) == 1


def test_radii_are_millimetres_along_every_axis() -> None:
    plates = np.zeros((21, 21, 21), np.bool_)
    plates[[8, 12]] = True  # a gap of three slices
    assert closed(plates, 2.0, (1.0, 1.0, 1.0))[10, 10, 10]
    # With slices 5 mm apart a radius of 2 mm does not reach the next one; across columns 1 mm apart it does.
    assert not closed(plates, 2.0, (5.0, 1.0, 1.0))[10, 10, 10]
    assert closed(np.moveaxis(plates, 0, 2), 2.0, (5.0, 5.0, 1.0))[10, 10, 10]
    assert not closed(np.moveaxis(plates, 0, 2), 2.0, (1.0, 1.0, 5.0))[10, 10, 10]
    assert not opened(plates, 1.0, (1.0, 1.0, 1.0)).any()


def test_opening_and_closing_where_the_mask_is_equal_those_of_the_whole_volume() -> None:
    mask = np.zeros((12, 40, 40), np.bool_)
    mask[0:8, 5:20, 5:30] = np.random.default_rng(0).random((8, 15, 25)) < 0.7
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    radius = [2, 2, 1]
    whole_opening = sitk.BinaryMorphologicalOpening(image, radius, SimpleITK.sitkBall, 0.0, 1.0)
    whole_closing = sitk.BinaryMorphologicalClosing(image, radius, SimpleITK.sitkBall, 1.0, True)
    assert np.array_equal(opened(mask, 2.0, (2.0, 1.0, 1.0)), SimpleITK.GetArrayFromImage(whole_opening) > 0)
    assert np.array_equal(closed(mask, 2.0, (2.0, 1.0, 1.0)), SimpleITK.GetArrayFromImage(whole_closing) > 0)


def test_components_are_numbered_in_the_order_of_a_scan_and_equals_keep_it() -> None:
    mask = np.zeros((40, 30, 30), np.bool_)
    mask[::2, ::3, ::5] = True
    labels = component_labels(mask)
    assert labels[mask].tolist() == list(range(1, int(mask.sum()) + 1))
    assert np.argwhere(largest_component(mask)).tolist() == [[0, 0, 0]]
    assert not largest_component(np.zeros_like(mask)).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_box_is_that_of_the_component_found_by_plain_search(seed: int) -> None:
    voxels = np.random.default_rng(seed).normal(0, 100, (4, 12, 12)).astype(np.float32)
    (only,), _ = prompts(voxels, low="80")
    component = max(_flood(voxels >= 80), key=len)
    areas = [sum(1 for k, _, _ in component if k == frame) for frame in range(4)]
    assert max(areas) == areas[box(only)[0]]


def _flood(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[set[tuple[int, int, int]]]:
    left = {(int(k), int(j), int(i)) for k, j, i in np.argwhere(mask)}
    found = []
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            k, j, i = edge.pop()
            component.add((k, j, i))
            steps = {(k + 1, j, i), (k - 1, j, i), (k, j + 1, i), (k, j - 1, i), (k, j, i + 1), (k, j, i - 1)} & left
            left -= steps
            edge += steps
        found.append(component)
    return found


def hot_spots() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Two blurred spots of peak 10 and 4 on a background of 0.5; column x is the patient's x in millimetres."""
    k, j, i = np.indices((12, 40, 60), np.float32)
    voxels = np.full(k.shape, 0.5, np.float32)
    for peak, width, (ck, cj, ci) in ((10.0, 4.0, (5, 15, 15)), (4.0, 3.0, (6, 20, 45))):
        voxels += (peak - 0.5) * np.exp(-((4 * (k - ck) ** 2 + (j - cj) ** 2 + (i - ci) ** 2) / (2 * width**2)))
    return voxels.astype(np.float32)


def test_each_region_ends_at_its_share_of_its_own_peak() -> None:
    """On a background of 0.5 a Gaussian spot falls to 41 % of its peak within another radius than a hotter one of another width."""
    first, second = prompts(hot_spots(), low="2.5", share_of_peak="0.41", n_largest="5")[0]
    for item, peak, width, (k, j, i) in ((first, 10.0, 4.0, (5, 15, 15)), (second, 4.0, 3.0, (6, 20, 45))):
        radius = int(width * np.sqrt(-2 * np.log((0.41 * peak - 0.5) / (peak - 0.5))))
        assert box(item) == (k, (i - radius, j - radius, i + radius, j + radius))


def test_the_shoulder_of_a_hotter_spot_is_no_spot() -> None:
    voxels = hot_spots()
    voxels[5, 15, 22] = 3.9  # a peak of its own above 2.5, whose region runs into the hotter one's
    assert len(prompts(voxels, low="2.5", share_of_peak="0.41", n_largest="5")[0]) == 2


def test_a_share_of_the_peak_needs_a_least_peak() -> None:
    with pytest.raises(ValueError, match="the least value of a peak, got any"):
        prompts(hot_spots(), high="50", share_of_peak="0.41")


def test_regions_are_chosen_by_where_in_the_body_their_centre_lies() -> None:
    (only,), _ = prompts(two_spots_in_a_body(), low="150", n_largest="5", feet_to_head={"minimum": "0.5"})
    assert box(only)[0] == 5
    objects, missing = prompts(two_spots_in_a_body(), low="150", n_largest="5", right_to_left={"minimum": "0.9"})
    assert objects == ()
    assert missing == ["none of 2 regions has its centre in the asked part of the body"]


def two_spots_in_a_body() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    spots = two_spots()
    voxels = empty(8, 40, 40)
    voxels[:, 2:38, 2:38] = 40.0
    return np.maximum(voxels, spots)
