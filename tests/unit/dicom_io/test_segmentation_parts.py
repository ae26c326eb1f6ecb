"""Parting segments among objects: nothing is lost, and a viewer's budget is kept."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_io.segmentation_parts import Budget, part_segments
from dicom_io.segmentation_types import SegmentationForm

BINARY, LABELMAP = SegmentationForm.BINARY, SegmentationForm.LABELMAP


def _masks(*extents: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """One mask an extent, with a voxel on each of the slices [first, last)."""
    masks: list[NDArray[np.bool_]] = []
    for first, last in extents:
        mask = np.zeros((12, 4, 8), np.bool_)
        mask[first:last, 1, len(masks)] = True
        masks.append(mask)
    return masks


MASKS = _masks((0, 5), (3, 8), (0, 0), (8, 12))


def test_without_a_budget_all_segments_that_have_voxels_share_one_object() -> None:
    assert part_segments(MASKS, BINARY, Budget(), one_each=False) == ((0, 1, 3),)


def test_one_each_gives_every_segment_its_own() -> None:
    assert part_segments(MASKS, BINARY, Budget(), one_each=True) == ((0,), (1,), (3,))


@pytest.mark.parametrize(
    ("form", "budget", "parts"),
    [
        (BINARY, Budget(maximum_frames=14), ((0, 1, 3),)),
        (BINARY, Budget(maximum_frames=13), ((0, 1), (3,))),
        (BINARY, Budget(maximum_frames=9), ((0,), (1, 3))),
        (BINARY, Budget(maximum_bytes=10 * 4), ((0, 1), (3,))),
        (LABELMAP, Budget(maximum_frames=8), ((0, 1), (3,))),
        (LABELMAP, Budget(maximum_bytes=12 * 32), ((0, 1, 3),)),
        (LABELMAP, Budget(maximum_bytes=12 * 32 - 1), ((0, 1), (3,))),
    ],
)
def test_an_object_is_closed_before_it_exceeds_the_budget(
    form: SegmentationForm, budget: Budget, parts: tuple[tuple[int, ...], ...]
) -> None:
    assert part_segments(MASKS, form, budget, one_each=False) == parts


def test_a_segment_that_is_too_large_by_itself_stands_alone_and_whole() -> None:
    assert part_segments(MASKS, BINARY, Budget(maximum_frames=4), one_each=False) == ((0,), (1,), (3,))


def test_nothing_found_needs_no_object() -> None:
    assert part_segments(_masks((0, 0)), BINARY, Budget(), one_each=False) == ()
