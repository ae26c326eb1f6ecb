"""Phantoms: the same for a seed, hard for naive methods, and with seeds kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from model.training.bank import open_bank
from model.training.baselines import best_window, box_of, extruded_box, threshold_in_body
from model.training.overlap import dice
from model.training.phantoms import (
    DEMO_SEEDS,
    DEMO_TARGETS,
    VALIDATION_SEEDS,
    demo_phantom,
    make_phantom,
    prompt_frame,
    require_training_seed,
)

SHAPE = (24, 96, 96)


def test_a_seed_always_gives_the_same_phantom() -> None:
    first, second = make_phantom(5, SHAPE), make_phantom(5, SHAPE)
    assert first.voxels_hu.tobytes() == second.voxels_hu.tobytes()
    assert first.spacing_mm == second.spacing_mm
    assert all(np.array_equal(first.masks[name], second.masks[name]) for name in first.masks)


def test_two_seeds_give_different_phantoms() -> None:
    assert not np.array_equal(make_phantom(5, SHAPE).voxels_hu, make_phantom(6, SHAPE).voxels_hu)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_organs_never_overlap_and_each_begins_and_ends_inside_the_volume_or_is_seen_on_many_slices(seed: int) -> None:
    phantom = make_phantom(seed, SHAPE)
    masks = np.stack(list(phantom.masks.values()))
    assert masks.sum(axis=0).max() == 1
    assert 3 <= len(masks) <= 5
    assert all(mask.any(axis=(1, 2)).sum() >= 6 for mask in masks)
    assert all((phantom.voxels_hu[mask] > -400).mean() > 0.99 for mask in masks), "organs lie inside the body"


@pytest.mark.parametrize("seed", [0, 7])
def test_the_extruded_box_and_the_threshold_fail_on_every_organ_of_a_demo_phantom(seed: int) -> None:
    phantom = demo_phantom(seed)
    assert tuple(phantom.masks) == DEMO_TARGETS
    for mask in phantom.masks.values():
        frame = prompt_frame(mask)
        assert dice(extruded_box(mask, frame), mask) < 0.6
        assert dice(threshold_in_body(phantom.voxels_hu, mask, frame), mask) < 0.6


def test_the_extruded_box_covers_the_true_extent_and_nothing_beyond() -> None:
    mask = np.zeros((6, 10, 10), dtype=bool)
    mask[2, 3:6, 4:8] = True
    mask[3, 1, 1] = True
    extruded = extruded_box(mask, 2)
    assert box_of(mask[2]) == (4, 3, 7, 5)
    assert np.array_equal(np.flatnonzero(extruded.any(axis=(1, 2))), [2, 3])
    assert extruded[3].sum() == 12


def test_the_window_chosen_for_the_threshold_baseline_parts_two_clear_intensities() -> None:
    voxels = np.zeros((1, 8, 8), dtype=np.float32)
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[0, 2:6, 2:5] = True
    mask[0, 2, 5] = True
    voxels[mask] = 100.0
    low, high = best_window(voxels, mask, 0)
    assert low > 0 or high >= 100
    assert dice(threshold_in_body(voxels, mask, 0) & (voxels > 50), mask) == 1.0


def test_a_box_of_an_empty_slice_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="choose a slice that shows the organ"):
        box_of(np.zeros((4, 4), dtype=bool))


@pytest.mark.parametrize("seed", [0, 99, 100, 199, 999])
def test_reserved_seeds_are_refused_for_training(seed: int) -> None:
    with pytest.raises(ValueError, match="expected a training seed >= 1000"):
        require_training_seed(seed)


def test_demo_and_validation_seeds_do_not_meet() -> None:
    assert not set(DEMO_SEEDS) & set(VALIDATION_SEEDS)
    assert max(VALIDATION_SEEDS) < 1000


def test_a_bank_is_not_made_from_reserved_seeds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="expected a training seed"):
        open_bank(tmp_path / "bank", count=2, shape=SHAPE, first_seed=7)
    assert not (tmp_path / "bank").exists()
