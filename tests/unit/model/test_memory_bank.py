"""What a frame may look at: conditioning frames on both sides, six tracked frames, pointers of what was passed."""

from __future__ import annotations

import pytest
import torch

from model.config import MedSAM2Config
from model.memory_bank import Direction, FrameMemory, MemoryBank, stack

CONFIG = MedSAM2Config()


def test_conditioning_frames_come_first_and_tracked_ones_from_the_oldest() -> None:
    bank = _bank({2: 2, 30: 30}, Direction.FORWARD, tracked=range(3, 12))
    recalled = bank.recall(12)
    assert recalled.layout.slots == (6, 6, 5, 4, 3, 2, 1, 0)
    assert [x.item() for x in recalled.spatial] == [2, 30, 6, 7, 8, 9, 10, 11]


def test_pointers_come_of_passed_frames_only_with_their_scaled_distance() -> None:
    bank = _bank({2: 2, 30: 30}, Direction.FORWARD, tracked=range(3, 5))
    recalled = bank.recall(5)
    assert [x.item() for x in recalled.pointers] == [2, 4, 3]
    assert recalled.layout.pointer_offsets == (3 / 15, 1 / 15, 2 / 15)


def test_backward_mirrors_forward() -> None:
    bank = _bank({30: 30, 10: 10}, Direction.BACKWARD, tracked=range(29, 26, -1))
    recalled = bank.recall(26)
    assert [x.item() for x in recalled.spatial] == [30, 10, 29, 28, 27]
    assert recalled.layout.slots == (6, 6, 2, 1, 0)
    assert recalled.layout.pointer_offsets == (4 / 15, 1 / 15, 2 / 15, 3 / 15)


def test_a_conditioning_frame_is_never_repeated_as_a_tracked_one() -> None:
    bank = _bank({2: 2, 5: 5}, Direction.FORWARD, tracked=(3, 4))
    assert [x.item() for x in bank.recall(6).spatial] == [2, 5, 3, 4]


def test_the_time_scale_of_pointers_follows_a_short_volume() -> None:
    bank = _bank({0: 0}, Direction.FORWARD, tracked=(), frames=5)
    assert bank.recall(1).layout.pointer_offsets == (1 / 4,)


def test_memories_beyond_reach_are_dropped() -> None:
    bank = _bank({0: 0}, Direction.FORWARD, tracked=range(1, 200), frames=300)
    assert sorted(bank._spatial) == list(range(194, 200))
    assert sorted(bank._pointers) == list(range(185, 200))


@pytest.mark.parametrize("frame", [4, 6])
def test_recollections_without_a_pointer_stack_to_none(frame: int) -> None:
    bank = _bank({9: 9}, Direction.FORWARD, tracked=())
    memories = stack([bank.recall(frame), bank.recall(frame)], pointer_width=1)
    assert memories.spatial.shape == (2, 1, 1, 1, 1)
    assert memories.pointers.shape == (2, 0, 1)


def _bank(conditioning: dict[int, int], direction: Direction, tracked: range | tuple[int, ...], frames: int = 60) -> MemoryBank:
    bank = MemoryBank({frame: _memory(value) for frame, value in conditioning.items()}, direction, frames, CONFIG)
    for frame in tracked:
        bank.remember(frame, _memory(frame))
    return bank


def _memory(value: int) -> FrameMemory:
    return FrameMemory(spatial=torch.full((1, 1, 1), float(value)), pointer=torch.full((1,), float(value)))
