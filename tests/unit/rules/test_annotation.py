"""Recipe `annotation`: which annotations prompt, as what, on which slice, and why none does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dicom_io.annotations.placed import PlacedAnnotation, PlacedAxes, PlacedLine, PlacedMask, PlacedPoints, PlacedShape
from dicom_io.codes import Code
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate
from rules.rule import Rule, rule_hash
from tests.unit.rules.examples import empty, plan, rule, target, volume

LESION = Code(value="52988006", scheme="SCT", meaning="Lesion")
ISOTROPIC = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], np.float64)


def placed(shape: PlacedShape, **settings: Any) -> PlacedAnnotation:
    """An annotation that a person drew on this series."""
    found = PlacedAnnotation(
        shape=shape, kind="SR", graphic="POLYLINE", sop_instance_uid="1.2.3", item="measurement group 1, axes", drawn_here=True
    )
    return replace(found, **settings)


def block(k: int = 2, rows: slice = slice(4, 9), columns: slice = slice(3, 8)) -> PlacedMask:
    """A slab of one slice and one that covers a single pixel of the next."""
    mask = np.zeros((2, rows.stop - rows.start, columns.stop - columns.start), np.bool_)
    mask[0] = True
    mask[1, 0, 0] = True
    return PlacedMask(start=(k, rows.start, columns.start), block=mask)


def prompted(*annotations: PlacedAnnotation, affine: Any = None, **recipe: object) -> GeneratedPrompts:
    context = PromptContext(volume=volume(empty(6, 40, 50), ISOTROPIC if affine is None else affine), annotations=annotations)
    return generate(plan(target(prompt={"kind": "annotation", **recipe})), context)


def only(found: GeneratedPrompts) -> Prompt:
    assert [item.reason for item in found.missing] == []
    assert len(found.objects) == 1
    return found.objects[0].prompts[0]


def line(*kji: tuple[float, float, float], tip: int | None = None) -> PlacedLine:
    return PlacedLine(kji=np.array(kji, np.float64), tip=tip)


def test_a_region_is_a_box_on_the_slice_where_it_covers_most() -> None:
    assert only(prompted(placed(block()))) == BoxPrompt(frame=2, left=3, top=4, right=7, bottom=8)


def test_a_region_is_a_mask_where_the_rule_says_so() -> None:
    prompt = only(prompted(placed(block()), region_as="mask"))
    assert isinstance(prompt, MaskPrompt)
    expected = np.zeros((40, 50), np.bool_)
    expected[4:9, 3:8] = True
    assert prompt.frame == 2
    assert (prompt.mask == expected).all()


@pytest.mark.parametrize(("form", "expected"), [("mask", MaskPrompt), ("box", BoxPrompt)])
def test_a_segment_is_a_mask_unless_the_rule_wants_a_box(form: str, expected: type) -> None:
    assert isinstance(only(prompted(placed(block(), kind="SEG", graphic="BINARY"), segment_as=form)), expected)


def test_a_box_follows_the_drawn_outline_where_its_tip_covers_no_pixel() -> None:
    shape = replace(block(), outlines={2: (-3.0, 3.5, 11.2, 8.5)})
    assert only(prompted(placed(shape))) == BoxPrompt(frame=2, left=0, top=4, right=11, bottom=8)


def test_recist_axes_are_boxed_by_their_ellipse() -> None:
    """Long axis of 20 along 45 degrees, short axis of 8 across: half extents sqrt(50 + 8) = 7.6."""
    d, s = 10 / np.sqrt(2), 4 / np.sqrt(2)
    axes = PlacedAxes(
        long_kji=np.array([(1, 20 - d, 20 - d), (1, 20 + d, 20 + d)]), short_kji=np.array([(1, 20 - s, 20 + s), (1, 20 + s, 20 - s)])
    )
    box = only(prompted(placed(axes)))
    half = np.sqrt(d**2 + s**2)
    assert box == BoxPrompt(frame=1, left=round(20 - half), top=round(20 - half), right=round(20 + half), bottom=round(20 + half))


def test_the_box_always_holds_both_axes_ends_even_off_centre() -> None:
    axes = PlacedAxes(long_kji=np.array([(1, 20.0, 10.0), (1, 20.0, 30.0)]), short_kji=np.array([(1, 18.0, 26.0), (1, 31.0, 26.0)]))
    box = only(prompted(placed(axes)))
    assert isinstance(box, BoxPrompt)
    assert box.left <= 10
    assert box.right >= 30
    assert box.bottom >= 30
    assert box.top <= 18


def test_one_diameter_alone_takes_the_usual_width_in_millimetres() -> None:
    """A horizontal diameter of 20 mm, pixels 1 mm wide and 2 mm high: half the width of 10 mm is 2.5 rows."""
    affine = np.array([[0, 0, 1, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    box = only(prompted(placed(line((3, 20, 10), (3, 20, 30))), affine=affine, width_ratio="0.5"))
    assert box == BoxPrompt(frame=3, left=10, top=18, right=30, bottom=23)


def test_an_arrow_points_and_a_point_is_a_point() -> None:
    arrow = only(prompted(placed(line((3, 30, 40), (3, 12.25, 7.5), tip=1), graphic="ARROW")))
    assert arrow == PointPrompt(frame=3, points=((7.5, 12.25),), labels=(1,))
    points = PlacedPoints(kji=np.array([(1, 5, 6), (4, 7, 8), (4, 9, 10)], np.float64))
    assert only(prompted(placed(points, graphic="MULTIPOINT"))) == PointPrompt(frame=4, points=((8.0, 7.0), (10.0, 9.0)), labels=(1, 1))


def test_any_other_line_is_boxed_by_its_corners() -> None:
    assert only(prompted(placed(line((2, 4.5, 3.5), (2, 10.5, 3.5), (2, 10.5, 12.5))))) == BoxPrompt(
        frame=2, left=4, top=5, right=13, bottom=11
    )


def test_a_margin_is_added_in_millimetres_on_every_side_and_clipped() -> None:
    assert only(prompted(placed(block()), margin_mm="4")) == BoxPrompt(frame=2, left=0, top=0, right=11, bottom=12)


def test_every_annotation_is_an_object_that_keeps_what_it_is_tracked_by() -> None:
    first = placed(block(), tracking_uid="1.2.9", tracking_id="Target 1", item="measurement group 1, image region")
    second = placed(block(k=3), item="measurement group 2, image region")
    found = prompted(first, second)
    assert [(item.object_id, item.label) for item in found.objects] == [(1, "Liver 1"), (2, "Liver 2")]
    origins = [item.origin for item in found.objects]
    assert [(origin.tracking_uid, origin.tracking_id, origin.item) for origin in origins if origin] == [
        ("1.2.9", "Target 1", "measurement group 1, image region"),
        ("", "", "measurement group 2, image region"),
    ]


def test_several_drawings_of_one_finding_are_one_object_by_the_one_that_says_most() -> None:
    axes = PlacedAxes(long_kji=np.array([(1, 20.0, 10.0), (1, 20.0, 30.0)]), short_kji=None)
    tracked = [
        placed(axes, tracking_uid="1.2.9"),
        placed(block(), tracking_uid="1.2.9"),
        placed(line((1, 2, 3), (1, 4, 5)), tracking_uid="1.2.9"),
    ]
    assert isinstance(only(prompted(*tracked, region_as="mask")), MaskPrompt)
    untracked = [placed(axes, item="measurement group 4, axes"), placed(block(), item="measurement group 4, image region")]
    assert isinstance(only(prompted(*untracked, region_as="mask")), MaskPrompt)
    graphics = [placed(block(k), kind="GSPS", item=f"graphic annotation 1, graphic {k}") for k in (1, 2)]
    assert len(prompted(*graphics).objects) == 2


@pytest.mark.parametrize(
    ("recipe", "settings", "reason"),
    [
        ({"objects": ["SEG", "RTSTRUCT"]}, {}, "1 of another kind of object"),
        ({"labels": "(?i)gtv.*"}, {"label": "CTV"}, "1 with another label"),
        ({"concepts": [{"value": "52988006", "scheme": "SCT", "meaning": "any words"}]}, {}, "1 of another concept"),
        ({"creators": "Reader.*"}, {"creator": "Trainee^One"}, "1 by another creator"),
        ({}, {"algorithm_type": "AUTOMATIC"}, "1 not drawn by person"),
        ({"drawn_by": "algorithm"}, {"algorithm_type": "MANUAL"}, "1 not drawn by algorithm"),
        ({}, {"drawn_here": False}, "1 drawn on another series"),
    ],
)
def test_a_filter_that_fails_leaves_it_out_and_says_which_without_any_free_text(
    recipe: dict[str, object], settings: dict[str, object], reason: str
) -> None:
    found = prompted(placed(block(), **settings), **recipe)
    assert found.objects == ()
    assert [item.reason for item in found.missing] == [f"no annotation to prompt with: {reason}"]


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ({"objects": ["SEG"]}, {"kind": "SEG"}),
        ({"labels": "(?i)gtv.*"}, {"label": "GTV-1"}),
        ({"concepts": [{"value": "52988006", "scheme": "SCT", "meaning": "any words"}]}, {"concept": LESION}),
        ({"concepts": [{"value": "52988006", "scheme": "SCT", "meaning": "any words"}]}, {"site": LESION}),
        ({"creators": "Reader.*"}, {"creator": "Reader^One"}),
        ({"drawn_by": "algorithm"}, {"algorithm_type": "AUTOMATIC"}),
        ({"drawn_by": "anyone"}, {"algorithm_type": "AUTOMATIC"}),
        ({"drawn_on": "frame-of-reference"}, {"drawn_here": False}),
    ],
)
def test_a_filter_that_holds_lets_it_pass(recipe: dict[str, object], settings: dict[str, object]) -> None:
    assert len(prompted(placed(block(), **settings), **recipe).objects) == 1


def test_no_annotation_is_none_found() -> None:
    assert [item.reason for item in prompted().missing] == ["no annotation to prompt with: none lies on this series"]


def test_too_many_annotations_are_none_rather_than_half() -> None:
    many = [placed(block(), item=f"measurement group {number}, image region") for number in range(4)]
    found = prompted(*many, maximum_objects="3")
    assert [item.reason for item in found.missing] == ["expected at most 3 annotated objects, got 4; raise maximum_objects"]


def test_a_wrong_pattern_is_refused_when_the_rule_loads() -> None:
    with pytest.raises(ValidationError, match="expected a regular expression"):
        rule(targets=[target(prompt={"kind": "annotation", "labels": "("})])


def test_the_hash_of_a_rule_tells_filters_apart() -> None:
    rules: list[Rule] = [rule(targets=[target(prompt={"kind": "annotation", "labels": label})]) for label in ("A", "B")]
    assert rule_hash(rules[0]) != rule_hash(rules[1])
