"""The memory bank: what one object remembers in one direction, and which of it a frame may look at."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model.config import MedSAM2Config
from model.medsam2 import Memories


class Direction(enum.IntEnum):
    """The way a pass walks through the frames; its value is the step."""

    FORWARD = 1
    BACKWARD = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameMemory:
    """What is remembered of one object on one frame."""

    spatial: Tensor  # (memory_dim, h, w) bfloat16
    pointer: Tensor  # (d,)
    keys: Tensor | None = None  # (L, h * w, d) projected for the memory attention, where that is done once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The times of a recollection's parts."""

    slots: tuple[int, ...]
    pointer_offsets: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recollection:
    """What one object recalls when a frame is tracked."""

    layout: Layout
    spatial: tuple[Tensor, ...]  # (memory_dim, h, w) each
    keys: tuple[Tensor, ...]  # (L, h * w, d) each; empty where memories are not projected in advance
    pointers: tuple[Tensor, ...]  # (d,) each

    @property
    def size(self) -> tuple[int, int]:
        """The counts of memories and of pointers."""
        return len(self.spatial), len(self.pointers)


class MemoryBank:
    """The conditioning memories of one object for good, and as many tracked ones as a later frame can reach."""

    def __init__(self, conditioning: Mapping[int, FrameMemory], direction: Direction, frames: int, config: MedSAM2Config) -> None:
        self._conditioning = conditioning
        self._direction = direction
        self._spatial_reach = config.num_maskmem - 1  # frames
        # The scale of pointer times follows the volume when it is short; cropping a short volume hence changes its masks.
        self._pointer_reach = min(frames, config.max_object_pointers) - 1
        self._spatial: dict[int, FrameMemory] = {}
        self._pointers: dict[int, Tensor] = {}

    def remember(self, frame: int, memory: FrameMemory) -> None:
        """Keep a tracked frame and drop those that no later frame can reach."""
        self._spatial[frame] = memory
        self._pointers[frame] = memory.pointer
        following = frame + self._direction
        for old in [known for known in self._spatial if abs(following - known) > self._spatial_reach]:
            del self._spatial[old]
        for old in [known for known in self._pointers if abs(following - known) > self._pointer_reach]:
            del self._pointers[old]

    def recall(self, frame: int) -> Recollection:
        """What a tracked `frame` looks at: conditioning frames on either side, then tracked frames; pointers only of passed frames."""
        spatial = [(self._spatial_reach, memory) for memory in self._conditioning.values()]
        for distance in range(self._spatial_reach, 0, -1):
            tracked = self._spatial.get(frame - self._direction * distance)
            if tracked is not None:
                spatial.append((distance - 1, tracked))
        pointers = self._recall_pointers(frame)
        layout = Layout(slots=tuple(slot for slot, _ in spatial), pointer_offsets=tuple(d / self._pointer_reach for d, _ in pointers))
        return Recollection(
            layout=layout,
            spatial=tuple(memory.spatial for _, memory in spatial),
            keys=tuple(memory.keys for _, memory in spatial if memory.keys is not None),
            pointers=tuple(x for _, x in pointers),
        )

    def _recall_pointers(self, frame: int) -> list[tuple[int, Tensor]]:
        passed = ((self._distance(frame, known), memory.pointer) for known, memory in self._conditioning.items())
        pointers = [(distance, pointer) for distance, pointer in passed if distance >= 0]
        for distance in range(1, self._pointer_reach + 1):
            tracked = self._pointers.get(frame - self._direction * distance)
            if tracked is not None:
                pointers.append((distance, tracked))
        return pointers

    def _distance(self, frame: int, known: int) -> int:
        return (frame - known) * self._direction


def stack(recollections: Sequence[Recollection], pointer_width: int) -> Memories:
    """Recollections of one layout as one batch for the memory attention; `pointer_width` is d_model."""
    layout = recollections[0].layout
    # Memories are stored as bfloat16, which autocast to float16 refuses to put together.
    with torch.autocast(recollections[0].spatial[0].device.type, enabled=False):
        spatial = torch.stack([torch.stack(r.spatial) for r in recollections])  # (B, M, memory_dim, h, w)
    # Before any conditioning frame has been passed there is no pointer to stack.
    nothing = spatial.new_zeros(0, pointer_width, dtype=torch.float32)
    return Memories(
        spatial=spatial,
        slots=layout.slots,
        pointers=torch.stack([torch.stack(r.pointers) if r.pointers else nothing for r in recollections]),  # (B, P, d)
        pointer_offsets=layout.pointer_offsets,
    )
