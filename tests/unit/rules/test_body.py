"""Recipe `body`: landmarks found in a made-up chest, and places relative to them along the patient's own axes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.landmarks import find_region
from rules.prompts.body import BodyRecipe, find_landmark
from rules.prompts.outcome import NoneFound
from tests.unit.rules.examples import empty, volume

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


def boxes(**settings: object) -> tuple[BoxPrompt, ...]:
    found = find_landmark(BodyRecipe.model_validate({"kind": "body", **settings}), chest())
    assert not isinstance(found, NoneFound)
    return found


def test_each_lung_is_boxed_on_its_largest_slice_without_the_trachea() -> None:
    (left,) = boxes(region="left-lung")
    assert (left.frame, left.left, left.top, left.right, left.bottom) == (2, 64, 25, 83, 54)
    (right,) = boxes(region="right-lung")
    assert (right.frame, right.left, right.top, right.right, right.bottom) == (2, 26, 22, 45, 57)


def test_left_is_the_patients_left_however_the_patient_lies() -> None:
    prone = AXIAL.copy()
    prone[:3, 1:3] *= -1  # rows and columns run the other way: the same image is now a patient who lies on the belly
    found = find_landmark(BodyRecipe(kind="body", region="left-lung"), chest(prone))
    assert not isinstance(found, NoneFound)
    assert (found[0].left, found[0].right) == (26, 45)


def test_the_body_is_found_without_the_table_and_with_the_air_inside() -> None:
    region = find_region("body", chest())
    assert region is not None
    mask = region.to_volume(chest())
    assert mask[:, 15:65, 15:95].all()
    assert np.count_nonzero(mask) == 12 * 50 * 80


def test_shares_run_along_the_patients_axes() -> None:
    (box,) = boxes(region="body", right_to_left={"minimum": "0.5"}, front_to_back={"maximum": "0.25"}, feet_to_head={"minimum": "0.8"})
    assert box.frame == 10
    assert (box.left, box.right) == (55, 94)
    assert (box.top, box.bottom) == (15, 27)


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
