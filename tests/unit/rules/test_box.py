"""Recipe `box`: the right pixels on the right slice, in every unit and orientation."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_io.geometry import Float64, kji_to_lps
from model.prompt import BoxPrompt
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate
from tests.unit.rules.examples import empty, plan, target, volume


def boxes(recipe: dict[str, object], shape: tuple[int, int, int] = (5, 20, 40), affine: Float64 | None = None) -> GeneratedPrompts:
    return generate(plan(target(prompt={"kind": "box", **recipe})), PromptContext(volume=volume(empty(*shape), affine)))


def corners(found: GeneratedPrompts) -> tuple[int, tuple[float, ...]]:
    assert not found.missing
    (prompt,) = found.objects[0].prompts
    assert isinstance(prompt, BoxPrompt)
    return prompt.frame, prompt.corners


def pixel(left: int, top: int, right: int, bottom: int, frame: object = "middle") -> dict[str, object]:
    return {"unit": "pixel", "left": str(left), "top": str(top), "right": str(right), "bottom": str(bottom), "frame": frame}


def test_pixels_are_taken_as_they_are_inclusive() -> None:
    assert corners(boxes(pixel(3, 4, 30, 12))) == (2, (3, 4, 30, 12))


def test_a_box_that_leaves_the_image_is_clipped() -> None:
    assert corners(boxes(pixel(30, 4, 99, 99))) == (2, (30, 4, 39, 19))


@pytest.mark.parametrize("recipe", [pixel(40, 0, 50, 5), pixel(0, 20, 5, 25), pixel(0, 0, 5, 5, "5"), pixel(0, 0, 5, 5, {"z_mm": "-1.5"})])
def test_a_box_outside_of_the_volume_is_none_found_with_the_reason(recipe: dict[str, object]) -> None:
    found = boxes(recipe)
    assert not found.objects
    assert "outside" in found.missing[0].reason


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("middle", 2),
        ("0", 0),
        ({"index": "4"}, 4),
        ({"fraction": "1"}, 4),
        ({"fraction": "0.4"}, 2),
        ({"z_mm": "5.2"}, 3),
        ({"z_mm": "-0.9"}, 0),
    ],
)
def test_the_frame_is_chosen_by_name_index_fraction_or_z(frame: object, expected: int) -> None:
    assert corners(boxes(pixel(0, 0, 1, 1, frame)))[0] == expected


def test_fractions_count_from_outer_edge_to_outer_edge() -> None:
    whole: dict[str, object] = {"unit": "fraction", "frame": "middle", "left": "0", "top": "0", "right": "1", "bottom": "1"}
    assert corners(boxes(whole))[1] == (0, 0, 39, 19)
    assert corners(boxes({**whole, "left": "0.25", "right": "0.5", "top": "0.5"}))[1] == (10, 10, 19, 19)
    assert corners(boxes({**whole, "left": "0.5", "right": "0.5"}))[1] == (20, 0, 20, 19)


def span(low: float, high: float) -> dict[str, str]:
    return {"minimum": f"{low:.6f}", "maximum": f"{high:.6f}"}


def millimetres(low: Float64, high: Float64) -> dict[str, object]:
    return {"unit": "millimetre", **{f"{axis}_mm": span(low[n], high[n]) for n, axis in enumerate("xyz")}}


def test_millimetres_in_an_axial_volume_cover_the_pixels_between_the_edges() -> None:
    low, high = np.array([9.5, 4.5, 6.0]), np.array([19.5, 14.5, 6.0])
    assert corners(boxes(millimetres(low, high))) == (3, (10, 5, 19, 14))


ROTATED = np.array([[0.0, 0.36, 0.8, -30.0], [0.6, -0.64, 0.48, 12.0], [1.6, 0.24, -0.18, 7.0], [0.0, 0.0, 0.0, 1.0]])
SAGITTAL = np.array([[3.0, 0.0, 0.0, -10.0], [0.0, 0.0, 0.5, 20.0], [0.0, -0.5, 0.0, 40.0], [0.0, 0.0, 0.0, 1.0]])


def test_millimetres_in_a_sagittal_volume_choose_the_slice_by_x() -> None:
    points = kji_to_lps(SAGITTAL, [(2, 3.5, 9.5), (2, 12.5, 30.5)])
    found = boxes(millimetres(points.min(axis=0), points.max(axis=0)), affine=SAGITTAL)
    assert corners(found) == (2, (10, 4, 30, 12))


def test_the_cross_section_of_a_cuboid_in_an_oblique_volume_is_the_extent_of_its_points_on_that_slice() -> None:
    middle = kji_to_lps(ROTATED, (2, 10, 20))
    low, high = middle - 4.0, middle + 4.0
    frame, found = corners(boxes(millimetres(low, high), affine=ROTATED))
    # Witness: every point of a fine grid on the slice, tested in millimetres.
    rows, columns = np.meshgrid(np.arange(-1, 21, 0.05), np.arange(-1, 41, 0.05), indexing="ij")
    points = kji_to_lps(ROTATED, np.stack([np.full_like(rows, 2.0), rows, columns], axis=-1))
    inside = ((points >= low) & (points <= high)).all(axis=-1)
    edges = (columns[inside].min(), rows[inside].min(), columns[inside].max(), rows[inside].max())
    assert frame == 2
    assert found == pytest.approx((edges[0] + 0.5, edges[1] + 0.5, edges[2] - 0.5, edges[3] - 0.5), abs=0.6)


def test_millimetres_outside_of_the_volume_are_none_found() -> None:
    for shift in ([0.0, 0.0, 100.0], [100.0, 0.0, 0.0], [0.0, -100.0, 0.0]):
        low = np.array([5.0, 5.0, 4.0]) + shift
        assert "outside" in boxes(millimetres(low, low + 3.0)).missing[0].reason
