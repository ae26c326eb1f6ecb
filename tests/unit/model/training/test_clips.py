"""Clips: drawn evenly, prompted first, seen in the region that inference would cut, and with an end where the object ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.config import MedSAM2Config
from model.preprocess import to_model_pixels
from model.prompt import BoxPrompt
from model.region import region_of
from model.training.augment import Affine, recolour, resample
from model.training.clips import ClipOptions, draw_clips
from model.training.pasted import paste_blob
from model.training.volumes import LabelledVolume, Pool, label_maps

WHOLE = MedSAM2Config(image_size=64, windows=(8, 4, 2, 1))
REGIONS = dataclasses.replace(WHOLE, region_scale=2.0)
STILL = ClipOptions(length=3, jitter=0.0, elastic=0.0, pasted_share=0.0, other_axis_share=0.0, longest_stride=1)


def ball(side: int = 40, radius: float = 8.0) -> LabelledVolume:
    place = np.indices((20, side, side)) - np.array([10, side / 2, side / 2 + 3])[:, None, None, None]
    labels = (np.sqrt((place**2).sum(axis=0)) < radius).astype(np.uint8)
    labels[:, 2:8, 2:8] = 2
    return LabelledVolume(
        frames=np.choose(labels, [50, 200, 120]).astype(np.uint8),
        labels=labels,
        structures={"ball": 1, "block": 2},
        spacing_mm=(1.0, 1.0, 1.0),
    )


def balls_only() -> Pool:
    volume = ball()
    return Pool({"balls": [dataclasses.replace(volume, structures={"ball": 1})]})


@pytest.mark.parametrize("config", [WHOLE, REGIONS])
def test_clips_show_their_object_first_and_some_run_over_its_end(config: MedSAM2Config) -> None:
    rng = np.random.default_rng(3)
    clips = draw_clips(balls_only(), dataclasses.replace(STILL, length=6), config, 20, rng)
    assert all(clip.frames.shape == (6, 64, 64) and clip.frames.dtype == np.uint8 for clip in clips)
    assert all(clip.masks[0].sum() >= STILL.least_pixels for clip in clips)
    assert any(not clip.masks[-1].any() for clip in clips), "some clips leave the object"


def test_in_regions_the_box_is_the_masks_box_and_as_large_a_part_of_the_image_as_the_weights_ask() -> None:
    for clip in draw_clips(balls_only(), STILL, REGIONS, 20, np.random.default_rng(0)):
        columns, rows = np.flatnonzero(clip.masks[0].any(axis=0)), np.flatnonzero(clip.masks[0].any(axis=1))
        exact = np.array([[columns[0] - 0.5, rows[0] - 0.5], [columns[-1] + 0.5, rows[-1] + 0.5]])
        assert np.abs(clip.box - exact).max() < 4, "edges of a mask that was turned and resampled"
        assert 0.35 < (clip.box[1] - clip.box[0]).max() / 64 < 0.55


def test_a_clip_without_augmentation_is_what_inference_sees() -> None:
    volume = ball()
    mask = volume.mask("ball")[10]
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = BoxPrompt(frame=10, left=columns[0], top=rows[0], right=columns[-1], bottom=rows[-1])
    region = region_of([box], REGIONS)
    assert region is not None
    cells = (np.arange(64) + 0.5) / 64
    shares = np.stack(np.meshgrid(cells, cells), axis=-1)
    places = np.array([region.left, region.top]) - 0.5 + shares * region.side
    identity = Affine(matrix=np.eye(2), centre=np.zeros(2))
    grey, truth = resample(volume.frames[10:11], volume.mask("ball")[None, 10:11], identity.backward(places), shrink=1)
    cut = region.cut(volume.frames[10:11])[0]
    nearest = cut[np.ix_((np.arange(64) * region.side) // 64, (np.arange(64) * region.side) // 64)]
    inner = (slice(4, -4), slice(4, -4))
    assert np.median(np.abs(grey[0][inner] - nearest[inner])) < 2
    moved = region.move(box, 64)
    assert isinstance(moved, BoxPrompt)
    corners = to_model_pixels(np.array(moved.corners, np.float32).reshape(2, 2), (region.side, region.side), 64) + 0.5
    seen = np.flatnonzero(truth[0, 0].any(axis=0))
    assert abs(corners[0, 0] - seen[0]) <= 2
    assert abs(corners[1, 0] - (seen[-1] + 1)) <= 2


def test_whole_frames_may_show_several_objects_and_they_share_the_very_same_frames() -> None:
    clips = draw_clips(Pool({"balls": [ball()]}), STILL, WHOLE, 30, np.random.default_rng(1))
    assert len({id(clip.frames) for clip in clips}) < len(clips)


def test_volumes_too_short_for_a_clip_are_refused() -> None:
    with pytest.raises(ValueError, match="give larger volumes or shorter clips"):
        draw_clips(balls_only(), dataclasses.replace(STILL, length=30), REGIONS, 1, np.random.default_rng(3))


def test_the_same_generator_gives_the_same_clips() -> None:
    options = ClipOptions(length=4)
    first, second = (draw_clips(balls_only(), options, REGIONS, 4, np.random.default_rng(7)) for _ in range(2))
    assert all(np.array_equal(a.frames, b.frames) and np.array_equal(a.box, b.box) for a, b in zip(first, second, strict=True))


def test_a_pool_draws_families_by_weight_and_structures_evenly() -> None:
    few, many = ball(), [dataclasses.replace(ball(), structures={"ball": 1}, case=str(n)) for n in range(9)]
    pool = Pool({"few": [few], "many": many}, {"few": 3.0, "many": 1.0})
    rng = np.random.default_rng(0)
    drawn = [pool.draw(rng) for _ in range(400)]
    from_few = [one for one in drawn if one.volume is few]
    assert 0.68 < len(from_few) / 400 < 0.82
    assert 0.4 < np.mean([one.value == 1 for one in from_few]) < 0.6
    assert pool.counts() == {"few": 2, "many": 9}


def test_a_pool_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one labelled structure"):
        Pool({"empty": [dataclasses.replace(ball(), structures={"ghost": 9})]})


def test_overlapping_masks_are_packed_into_several_label_maps() -> None:
    one, two, three = (np.zeros((2, 4, 4), bool) for _ in range(3))
    one[:, :2], two[:, 1:3], three[:, 3:] = True, True, True
    maps = label_maps({"one": one, "two": two, "three": three})
    assert [sorted(names) for _, names in maps] == [["one", "three"], ["two"]]
    assert all(
        np.array_equal(labels == value, {"one": one, "two": two, "three": three}[name])
        for labels, names in maps
        for name, value in names.items()
    )


def test_a_pasted_blob_is_the_only_object_of_its_piece_and_differs_from_its_surroundings() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        pasted = paste_blob(ball(side=120), 4, rng)
        assert list(pasted.volume.structures) == ["blob"]
        assert len(pasted.areas) == 9
    assert pasted.areas.any()


def test_recolouring_keeps_shape_and_type() -> None:
    grey = np.full((2, 16, 16), 100.0, np.float32)
    recoloured = recolour(grey, np.random.default_rng(0))
    assert recoloured.shape == grey.shape
    assert recoloured.dtype == np.uint8
