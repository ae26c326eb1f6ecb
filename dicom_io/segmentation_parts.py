"""Which segments share an object: all of a series, or one each, and no more than a viewer takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_io.segmentation_frames import MAXIMUM_LABELS, occupied
from dicom_io.segmentation_types import Masks, SegmentationForm


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that one object may ask of a viewer; None: no limit.

    A segment that is beyond it by itself gets an object of its own all the same: parts of a segment are no segment.
    """

    maximum_frames: int | None = None
    maximum_bytes: int | None = None
    """Of decoded pixels: a bit a voxel in BINARY frames, a byte in those of a label map."""

    def holds(self, frames: int, octets: int) -> bool:
        """Return whether an object of so many frames and bytes keeps to it."""
        limits = ((self.maximum_frames, frames), (self.maximum_bytes, octets))
        return all(limit is None or number <= limit for limit, number in limits)


def part_segments(masks: Masks, form: SegmentationForm, budget: Budget, *, one_each: bool) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the segments of each object, in order; every segment with a voxel is in one, the others in none.

    `masks[n]`: (k, j, i) bool. An object is closed when the next segment would take it beyond the budget.
    """
    parts: list[tuple[int, ...]] = []
    held = [occupied(mask) for mask in masks]
    for index, slices in enumerate(held):
        if not slices.any():
            continue
        together = (*parts[-1], index) if parts else (index,)
        if parts and not one_each and within([held[n] for n in together], masks[0][0].size, form, budget):
            parts[-1] = together
        else:
            parts.append((index,))
    return tuple(parts)


def within(held: Sequence[NDArray[np.bool_]], area: int, form: SegmentationForm, budget: Budget) -> bool:
    """Return whether segments on these slices (each (k,) bool), `area` pixels a frame, make an object within the budget."""
    if form is SegmentationForm.LABELMAP:
        frames, octets = int(np.any(held, axis=0).sum()), area
    else:
        frames, octets = int(np.sum(held)), -(-area // 8)
    return budget.holds(frames, frames * octets) and (form is SegmentationForm.BINARY or len(held) <= MAXIMUM_LABELS)
