"""Damaged segmentation objects at the reader that every result of ours is read back by before it may leave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dicom_io.errors import InvalidSegmentation
from dicom_io.segmentation_reader import read_segmentation
from tests.fuzz.annotation_objects import label_map, seeds, segmentation
from tests.fuzz.byte_faults import Dice
from tests.fuzz.element_faults import damaged
from tests.fuzz.surface import Surface, Try


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    trees, _volume = seeds(folder, segmentation, label_map)

    def attempt(dice: Dice) -> str:
        read = read_segmentation(damaged(dice, dice.choice(trees), trees))
        assert read.masks.shape == (len(read.frames), read.rows, read.columns)
        return "read"

    yield attempt


SURFACE = Surface(name="seg-proof", opened=_opened, refusals=(InvalidSegmentation,))
