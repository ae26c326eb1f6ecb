"""Recipe `relative`: places measured from another target of the same rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate
from tests.unit.rules.examples import empty, plan, rule, target, volume


def cube() -> Volume:
    """A bright block on slices 4 to 7, rows 10 to 19 and columns 20 to 29; voxels of 2 x 1 x 1 mm, axes along the patient's."""
    voxels = empty(12, 40, 60)
    voxels[4:8, 10:20, 20:30] = 200.0
    return volume(voxels)


def prompted(*, source: dict[str, Any] | None = None, image: Volume | None = None, **recipe: object) -> GeneratedPrompts:
    first = target(label="Block", prompt=source or {"kind": "threshold", "low": "100"})
    second = target(label="Beside", prompt={"kind": "relative", "to": "Block", **recipe})
    return generate(plan(first, second), PromptContext(volume=image or cube()))


def beside(found: GeneratedPrompts) -> list[tuple[str, int, tuple[float, ...]]]:
    boxes = [(item.label, item.prompts[0]) for item in found.objects if item.target.label == "Beside"]
    return [(label, box.frame, box.corners) for label, box in boxes if isinstance(box, BoxPrompt)]


def test_fractions_run_over_the_others_region_on_all_its_slices() -> None:
    found = prompted(right_to_left={"minimum": "1", "maximum": "2"}, feet_to_head={"minimum": "0.5"})
    assert beside(found) == [("Beside", 7, (30, 10, 39, 19))]


def test_millimetres_reach_beyond_the_region() -> None:
    found = prompted(front_to_back={"minimum": "1", "maximum": "1", "minimum_mm": "2", "maximum_mm": "8"}, feet_to_head={"maximum_mm": "8"})
    assert beside(found) == [("Beside", 8, (20, 22, 29, 27))]


def test_where_only_a_box_is_known_its_slice_is_the_extent() -> None:
    box = {"kind": "box", "unit": "pixel", "frame": "3", "left": "20", "top": "10", "right": "29", "bottom": "19"}
    assert beside(prompted(source=box, right_to_left={"maximum": "0.5"})) == [("Beside", 3, (20, 10, 24, 19))]


def test_each_object_of_the_other_target_gives_one() -> None:
    voxels = cube().voxels.copy()
    voxels[5:7, 30:34, 40:44] = 200.0
    source = {"kind": "threshold", "low": "100", "n_largest": "2"}
    found = prompted(source=source, image=volume(voxels), right_to_left={"minimum": "-1", "maximum": "0"})
    assert [label for label, _, _ in beside(found)] == ["Beside 1", "Beside 2"]
    assert [item.object_id for item in found.objects] == [1, 2, 3, 4]


def test_nothing_is_found_beside_what_is_not_found() -> None:
    found = prompted(image=volume(empty(3, 10, 10)))
    assert found.objects == ()
    assert found.missing[1].reason == "nothing to measure from: target 'Block' was not found"


def test_a_place_outside_of_the_image_is_none_found() -> None:
    found = prompted(right_to_left={"minimum": "0", "maximum": "0", "minimum_mm": "-200", "maximum_mm": "-100"})
    assert [missing.reason for missing in found.missing] == ["the box lies outside the image of 60 x 40 pixels"]


def test_a_part_that_millimetres_leave_empty_is_none_found() -> None:
    found = prompted(right_to_left={"maximum_mm": "-50"})
    assert [missing.reason for missing in found.missing] == ["the part of the extent is empty: its end lies before its beginning"]


@pytest.mark.parametrize("to", ["Beside", "Later", "Nowhere"])
def test_only_a_target_that_stands_before_can_be_measured_from(to: str) -> None:
    targets = [target(label="Block"), target(label="Beside", prompt={"kind": "relative", "to": to}), target(label="Later")]
    with pytest.raises(ValueError, match=rf"label of a target before this one \('Block'\), got '{to}'"):
        rule(targets=targets)


def test_patient_axes_hold_however_the_slices_are_cut() -> None:
    """The same block in sagittal slices: the box lies on the slice to its left."""
    voxels = np.ascontiguousarray(np.moveaxis(cube().voxels, 2, 0))  # k along x
    sagittal = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 1]], np.float64)
    found = prompted(image=volume(voxels, sagittal), right_to_left={"minimum": "1", "maximum": "2"})
    assert beside(found) == [("Beside", 35, (10, 4, 19, 7))]
