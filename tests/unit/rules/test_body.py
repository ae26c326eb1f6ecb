"""Recipe `body`: landmarks found in a made-up chest, and places relative to them along the patient's own axes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_io.codes import LATERALITIES
from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.landmarks import find_region
from rules.prompts.body import BodyRecipe, find_landmark
from rules.prompts.generate import PromptContext, PromptedObject, generate
from rules.prompts.outcome import NoneFound
from tests.unit.rules.examples import empty, plan, target, volume

LEFT, RIGHT = slice(64, 84), slice(26, 46)
"""Columns of the two lungs; column 64 on is the patient's left where x grows with the column."""
AXIAL = np.array([[0, 0, 3.0, -165], [0, 3.0, 0, -120], [10.0, 0, 0, -50], [0, 0, 0, 1]], np.float64)


def chest(affine: NDArray[np.float64] = AXIAL) -> Volume:
    """12 slices of 80 x 110 pixels: soft tissue around two lungs with a trachea between them, on a table."""
    voxels = empty(12, 80, 110)
    voxels[:, 15:65, 15:95] = 40.0
    voxels[:, 72:74, 10:100] = 300.0  # the table, apart from the body
    voxels[2:11, 25:55, LEFT] = -850.0
    voxels[2:10, 22:58, RIGHT] = -850.0
    voxels[:, 36:41, 52:57] = -990.0  # the trachea
    return volume(voxels, affine)


def objects(affine: NDArray[np.float64] = AXIAL, **settings: object) -> tuple[PromptedObject, ...]:
    context = PromptContext(volume=chest(affine))
    found = generate(plan(target(label="Part", prompt={"kind": "body", **settings})), context)
    assert [missing.reason for missing in found.missing] == []
    return found.objects


def box(item: PromptedObject) -> tuple[int, tuple[float, ...]]:
    (prompt,) = item.prompts
    assert isinstance(prompt, BoxPrompt)
    return prompt.frame, prompt.corners


def test_each_lung_is_an_object_boxed_on_its_largest_slice_without_the_trachea() -> None:
    left, right = objects(region="lungs")
    assert (left.label, left.laterality, box(left)) == ("Part left", LATERALITIES["left"], (2, (64, 25, 83, 54)))
    assert (right.label, right.laterality, box(right)) == ("Part right", LATERALITIES["right"], (2, (26, 22, 45, 57)))
    assert box(objects(region="left-lung")[0]) == box(left)
    assert box(objects(region="right-lung")[0]) == box(right)


def test_a_lung_that_is_not_there_leaves_the_other_one() -> None:
    voxels = chest().voxels.copy()
    voxels[:, 22:58, RIGHT] = 40.0
    found = find_landmark(BodyRecipe(kind="body", region="lungs"), volume(voxels, AXIAL))
    assert not isinstance(found, NoneFound)
    assert [one.name for one in found] == ["left"]


def test_one_object_is_prompted_on_several_slices_where_the_rule_asks_for_them() -> None:
    left, right = objects(region="lungs", key_slices={"slices": "3"})
    assert [prompt.frame for prompt in left.prompts] == [2, 6, 9]
    assert {prompt.object_id for prompt in left.prompts} == {1}
    assert {prompt.object_id for prompt in right.prompts} == {2}


def test_left_is_the_patients_left_however_the_patient_lies() -> None:
    prone = AXIAL.copy()
    prone[:3, 1:3] *= -1  # rows and columns run the other way: the same image is now a patient who lies on the belly
    (left,) = objects(prone, region="left-lung")
    assert box(left)[1][::2] == (26, 45)


def test_the_body_is_found_without_the_table_and_with_the_air_inside() -> None:
    region = find_region("body", chest())
    assert region is not None
    mask = region.to_volume(chest())
    assert mask[:, 15:65, 15:95].all()
    assert np.count_nonzero(mask) == 12 * 50 * 80


def test_shares_run_along_the_patients_axes() -> None:
    (part,) = objects(region="body", right_to_left={"minimum": "0.5"}, front_to_back={"maximum": "0.25"}, feet_to_head={"minimum": "0.8"})
    assert box(part) == (10, (55, 15, 94, 27))


def test_millimetres_are_added_to_shares() -> None:
    whole = {"minimum_mm": "6", "maximum_mm": "-30"}
    (part,) = objects(region="body", right_to_left=whole, feet_to_head={"minimum": "1", "maximum": "1", "minimum_mm": "-10"})
    assert box(part) == (11, (17, 15, 84, 64))


@pytest.mark.parametrize("share", [{"minimum": "1", "maximum": "0"}, {"minimum": "0.5", "maximum": "0.5"}])
def test_a_share_that_ends_before_it_begins_is_refused(share: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected minimum < maximum"):
        BodyRecipe.model_validate({"kind": "body", "region": "body", "feet_to_head": share})


@pytest.mark.parametrize("region", ["lungs", "left-lung", "right-lung", "bone", "air"])
def test_what_only_hounsfield_units_tell_is_not_found_in_mr(region: str) -> None:
    mr = volume(np.where(chest().voxels > -400, 300.0, 0.0).astype(np.float32), AXIAL)
    found = find_landmark(BodyRecipe.model_validate({"kind": "body", "region": region}), mr)
    assert found == NoneFound(reason=f"no {region} found in the image")
    body = find_region("body", mr)
    assert body is not None
    assert np.count_nonzero(body.mask) == 12 * 50 * 80


def test_a_chest_without_air_has_no_lungs() -> None:
    voxels = empty(6, 40, 40)
    voxels[:, 10:30, 10:30] = 40.0
    assert find_region("lungs", volume(voxels, AXIAL)) is None
