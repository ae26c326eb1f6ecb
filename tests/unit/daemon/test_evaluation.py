"""Evaluation: the prompts, the figures, the baselines and the report, on shapes whose answers are known."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from daemon.evaluation import (
    PROMPTS,
    Protocol,
    Score,
    View,
    family_summary,
    halfway_slice,
    is_thin_or_concave,
    prompted_frame,
    score_family,
    simulated_prompt,
    summary,
)
from daemon.evaluation_baselines import BASELINES, ellipsoid, extruded_box, grown_region
from daemon.evaluation_report import Evaluated, as_csv, as_json, as_text, picture_sheet, write_report
from daemon.evaluation_surface import normalised_surface_dice
from dicom_io.preview import TARGET_COLOURS
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt
from model.segmenter import Segmenter
from model.training.baselines import box_of
from model.training.overlap import dice
from model.training.volumes import LabelledVolume
from tests.unit.model.compact import compact_model


def ball(radius: float = 8.0) -> NDArray[np.bool_]:
    place = np.indices((24, 40, 40)) - np.array([11.5, 19.5, 21.5])[:, None, None, None]
    return np.asarray((place**2).sum(axis=0) < radius**2)


def volume_of(mask: NDArray[np.bool_]) -> LabelledVolume:
    return LabelledVolume(
        frames=np.where(mask, 200, 60).astype(np.uint8),
        labels=mask.astype(np.uint8),
        structures={"ball": 1},
        spacing_mm=(1.0, 1.0, 1.0),
        case="c",
    )


def score(dice_: float = 0.8, family: str = "f", structure: str = "s", narrow: int = 20, filled: float = 0.8) -> Score:
    return Score(
        family=family, case="c", structure=structure, frame=3, slices=5, voxels=100, dice=dice_, dice_prompted=0.9, dice_in_extent=0.8,
        nsd=0.7, baselines=dict.fromkeys(BASELINES, 0.5), narrow=narrow, filled=filled, visited=10, seconds=0.5,
    )  # fmt: skip


def view_of(shape: tuple[int, int], *, found: bool) -> View:
    """An object in the middle third of its frame, found or not."""
    truth = np.zeros((2, *shape), np.bool_)
    truth[:, shape[0] // 3 : 2 * shape[0] // 3, shape[1] // 3 : 2 * shape[1] // 3] = True
    return View(slices=(3, 5), frames=np.zeros((2, *shape), np.uint8), mask=truth & found, truth=truth)


def test_a_box_without_jitter_is_tight_and_on_the_middle_slice() -> None:
    truth = ball()
    prompt, box = simulated_prompt(truth, "key", Protocol(jitter=0.0))
    assert prompt == box
    assert box.frame == prompted_frame(truth, "middle") == 12
    assert box.corners == tuple(float(side) for side in box_of(truth[12]))


def test_jitter_stays_within_its_share_differs_between_objects_and_is_the_same_for_every_model() -> None:
    truth = ball(10.0)
    exact = np.array(box_of(truth[12]))
    boxes = [np.array(simulated_prompt(truth, str(n), Protocol(jitter=0.1))[1].corners) for n in range(40)]
    width = exact[2] - exact[0] + 1
    assert max(np.abs(box - exact).max() for box in boxes) <= round(0.1 * width)
    assert len({tuple(box) for box in boxes}) > 10
    assert np.array_equal(boxes[3], simulated_prompt(truth, "3", Protocol(jitter=0.1))[1].corners)


def test_the_largest_slice_may_be_prompted_in_place_of_the_middle_one() -> None:
    truth = np.zeros((6, 8, 8), np.bool_)
    truth[0, 1:7, 1:7] = True
    truth[1:5, 3, 3] = True
    assert (prompted_frame(truth, "largest"), prompted_frame(truth, "middle")) == (0, 2)


def test_points_lie_inside_and_masks_are_the_truth() -> None:
    ring = np.zeros((3, 20, 20), np.bool_)
    ring[1, 2:18, 2:18], ring[1, 5:15, 5:15] = True, False
    point, _ = simulated_prompt(ring, "k", Protocol(prompt="point"))
    mask, _ = simulated_prompt(ring, "k", Protocol(prompt="mask"))
    assert isinstance(point, PointPrompt)
    assert isinstance(mask, MaskPrompt)
    x, y = point.points[0]
    assert ring[1, int(y), int(x)]
    assert np.array_equal(mask.mask, ring[1])


def test_the_ellipsoid_baseline_is_the_ball_and_the_box_is_not() -> None:
    truth = ball()
    left, top, right, bottom = box_of(truth[12])
    box = BoxPrompt(frame=12, left=left, top=top, right=right, bottom=bottom)
    extent = range(4, 20)
    frames = volume_of(truth).frames
    assert dice(ellipsoid(frames, box, extent), truth) > 0.95
    assert dice(extruded_box(frames, box, extent), truth) == pytest.approx(2 * truth.sum() / (truth.sum() + 16**3), abs=1e-3)
    assert dice(grown_region(frames, box, extent), truth) > 0.95


def test_surfaces_that_agree_within_the_tolerance_count_and_spacing_matters() -> None:
    truth, shifted = ball(), np.roll(ball(), 3, axis=0)
    assert normalised_surface_dice(truth, truth, (1.0, 1.0, 1.0)) == 1.0
    near = normalised_surface_dice(shifted, truth, (0.5, 0.5, 0.5))
    far = normalised_surface_dice(shifted, truth, (3.0, 1.0, 1.0))
    assert near == 1.0
    assert far < 0.8


def test_an_empty_mask_has_no_surface_in_common_with_one_that_is_not() -> None:
    nothing = np.zeros((24, 40, 40), np.bool_)
    assert normalised_surface_dice(nothing, ball(), None) == 0.0
    assert normalised_surface_dice(nothing, nothing, None) == 1.0


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_structure_is_scored_by_a_model_prompted_in_each_way(prompt: str) -> None:
    segmenter = Segmenter(compact_model(object_score=5.0), "cpu", "test")
    ((found, view),) = score_family("balls", [volume_of(ball())], segmenter, Protocol(prompt=prompt))
    assert (found.family, found.case, found.structure, found.slices) == ("balls", "c", "ball", 16)
    assert 0 <= found.dice <= 1
    assert found.visited == 24
    assert found.dice_in_extent >= found.dice
    assert set(found.baselines) == set(BASELINES)
    assert view.frames.shape == view.mask.shape == (2, 40, 40)
    assert view.slices[0] == found.frame


def test_thin_and_concave_structures_are_told_apart_from_compact_ones() -> None:
    assert is_thin_or_concave([score(narrow=3)])
    assert is_thin_or_concave([score(filled=0.3)])
    assert not is_thin_or_concave([score()])
    figures = family_summary([score(0.9), score(0.2, structure="ring", filled=0.3)])
    assert figures["n"] == 2
    assert figures["median_dice"] == 0.55
    compact, thin = figures["compact"], figures["thin_or_concave"]
    assert isinstance(compact, dict)
    assert isinstance(thin, dict)
    assert (compact["median_dice"], thin["median_dice"]) == (0.9, 0.2)


def test_the_json_line_of_one_model_has_families_and_rate_and_that_of_two_names_them() -> None:
    view = view_of((9, 9), found=False)
    one = Evaluated(weights="one", scores=(score(), score(0.6)), views=(view, view))
    line = json.loads(as_json([one]))
    assert set(line) == {"families", "slices_per_second"}
    assert line["slices_per_second"] == 20.0
    assert {"n", "median_dice", "median_dice_prompted", "median_nsd", "baselines"} <= set(line["families"]["f"])
    assert line["families"]["f"]["median_dice"] == 0.7
    assert line == summary(one.scores)
    two = Evaluated(weights="two", scores=(score(0.5),), views=(view,))
    assert set(json.loads(as_json([one, two]))["weights"]) == {"one", "two"}
    assert "best baseline" in as_text([one, two])


def test_the_report_holds_a_table_a_summary_and_a_sheet_for_each_model(tmp_path: Path) -> None:
    view, small = view_of((30, 20), found=False), view_of((9, 9), found=True)
    evaluated = [Evaluated(weights="one", scores=(score(), score(0.6)), views=(view, small))]
    write_report(tmp_path, evaluated)
    rows = list(csv.DictReader(io.StringIO(as_csv(evaluated))))
    assert [row["dice"] for row in rows] == ["0.8", "0.6"]
    assert rows[0]["ellipsoid"] == "0.5"
    assert json.loads((tmp_path / "summary.json").read_text())["families"]["f"]["n"] == 2
    with Image.open(tmp_path / "sheet-1.png") as sheet:
        assert sheet.width > 300


def test_the_sheet_shows_an_object_of_a_small_image_as_large_as_one_of_a_large_image() -> None:
    views = (view_of((90, 90), found=True), view_of((9, 9), found=True))
    sheet = np.asarray(Image.open(io.BytesIO(picture_sheet(Evaluated(weights="one", scores=(score(0.5), score(0.6)), views=views)))))
    large, small = (np.count_nonzero((sheet == TARGET_COLOURS[panel]).all(axis=-1)) for panel in (0, 2))
    assert 0.7 * large < small < 1.4 * large


def test_the_sheet_shows_an_object_that_is_worst_median_and_best_of_its_family_once() -> None:
    pictures = [
        Image.open(io.BytesIO(picture_sheet(Evaluated(weights="one", scores=scores, views=(view_of((9, 9), found=True),) * len(scores)))))
        for scores in ((score(),), (score(0.5), score(0.6), score(0.7)))
    ]
    assert pictures[1].width > 2.9 * pictures[0].width  # six panels beside two
    assert pictures[1].height == pictures[0].height


def test_the_second_slice_of_a_view_lies_halfway_to_the_end_that_is_farther() -> None:
    assert halfway_slice(range(2, 13), 4) == 8
    assert halfway_slice(range(2, 13), 10) == 6
    assert halfway_slice(range(5, 6), 5) == 5
