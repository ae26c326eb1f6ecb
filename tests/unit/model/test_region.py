"""Regions of interest: where the square lies, what it shows beyond the frame, and that masks come back to their place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.config import MedSAM2Config
from model.options import PropagationOptions
from model.preprocess import to_model_pixels
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt
from model.region import Region, region_of
from model.segmenter import Segmenter
from tests.unit.model.compact import COMPACT, compact_model

CONFIG = dataclasses.replace(COMPACT, region_scale=2.0, region_minimum=16)
BOX = BoxPrompt(frame=1, left=30, top=20, right=49, bottom=29)


def test_the_region_is_a_square_of_the_stated_box_sides_about_the_boxs_centre() -> None:
    assert region_of([BOX], CONFIG) == Region(left=20, top=5, side=40)


def test_a_small_box_gets_the_least_side() -> None:
    region = region_of([BoxPrompt(frame=0, left=10, top=10, right=12, bottom=12)], CONFIG)
    assert region is not None
    assert region.side == 16


def test_weights_without_regions_and_prompts_without_extent_see_the_whole_frame() -> None:
    point = PointPrompt(frame=0, points=((5.0, 5.0),), labels=(1,))
    assert region_of([BOX], MedSAM2Config()) is None
    assert region_of([point], CONFIG) is None
    assert region_of([MaskPrompt(frame=0, mask=np.zeros((8, 8), np.bool_))], CONFIG) is None


def test_prompts_on_several_frames_and_points_outside_the_box_lie_all_in_the_region() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[60:70, 60:70] = True
    region = region_of([BOX, MaskPrompt(frame=3, mask=mask), PointPrompt(frame=1, points=((90.0, 10.0),), labels=(0,))], CONFIG)
    assert region is not None
    assert region.left <= 30
    assert region.left + region.side > 90
    assert region.top <= 10
    assert region.top + region.side > 69


@pytest.mark.parametrize("region", [Region(left=-3, top=2, side=8), Region(left=5, top=6, side=9), Region(left=40, top=40, side=4)])
def test_what_is_cut_comes_back_to_its_place_and_beyond_the_edge_is_black(region: Region) -> None:
    frames = np.arange(1, 1 + 2 * 10 * 12, dtype=np.uint8).reshape(2, 10, 12)
    square = region.cut(frames)
    back = region.paste(square, (10, 12), 0)
    inside = region.paste(np.ones((2, region.side, region.side), np.bool_), (10, 12), outside=False)
    assert square.shape == (2, region.side, region.side)
    assert np.array_equal(back, np.where(inside, frames, 0))
    assert np.count_nonzero(square) == np.count_nonzero(frames[inside])


@pytest.mark.parametrize("side", [16, 64, 300])
def test_the_networks_half_pixel_does_not_displace_a_box_whatever_the_magnification(side: int) -> None:
    region = Region(left=10, top=20, side=side)
    moved = region.move(BoxPrompt(frame=0, left=12, top=22, right=15, bottom=27), 64)
    assert isinstance(moved, BoxPrompt)
    seen = to_model_pixels(np.array(moved.corners, np.float32).reshape(2, 2), (side, side), 64) + 0.5  # what the prompt encoder adds
    edges = np.array([[2, 2], [6, 8]]) / side * 64
    assert np.allclose(seen, edges, atol=1e-4)


def test_each_object_is_segmented_in_its_own_region_as_if_it_were_cut_out_by_hand() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 90, 100)).astype(np.uint8)
    model = compact_model(object_score=5.0)
    model.config = CONFIG
    other = BoxPrompt(frame=2, left=70, top=60, right=85, bottom=80, object_id=2)
    result = Segmenter(model, "cpu", "test").segment(frames, [BOX, other], PropagationOptions(keep_logits=True))
    region = region_of([BOX], CONFIG)
    assert region is not None
    plain = compact_model(object_score=5.0)
    alone = Segmenter(plain, "cpu", "test").segment(region.cut(frames), [region.move(BOX, CONFIG.image_size)])
    assert [item.object_id for item in result.objects] == [1, 2]
    assert result.objects[0].mask.shape == frames.shape
    assert np.array_equal(region.cut(result.objects[0].mask), alone.objects[0].mask)
    assert not result.objects[0].mask[:, :, : region.left].any()
    assert result.objects[0].logits_forward is not None
    assert result.objects[0].logits_forward.shape == frames.shape
    unvisited = np.isnan(result.objects[0].logits_forward)
    assert unvisited[: BOX.frame].all(), "a direction says nothing of frames that it has not seen, inside and outside of the region"
    assert not unvisited[BOX.frame].any()
    assert result.frames_encoded == 8


def test_progress_of_several_regions_runs_to_the_end_once() -> None:
    frames = np.zeros((3, 90, 100), np.uint8)
    model = compact_model(object_score=5.0)
    model.config = CONFIG
    heard: list[tuple[int, int]] = []
    other = dataclasses.replace(BOX, top=50, bottom=60, object_id=2)
    Segmenter(model, "cpu", "test").segment(frames, [BOX, other], None, lambda done, total: heard.append((done, total)))
    shares = [done / total for done, total in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
