"""How a propagation runs: its reach, its stop rule, and whether it behaves as the reference does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

GPU_REFERENCE_HOLE_AREA = 8  # low-resolution pixels; what the reference fills where its CUDA extension is present


@dataclasses.dataclass(frozen=True, kw_only=True)
class PropagationOptions:
    """Options of one segmentation. Raises ValueError for values that contradict themselves."""

    reference: bool = False
    """The reference predictor's semantics: one start for all objects, placeholder memories where an object has no prompt on another's
    conditioning frame, a sent-again box fed with the previous answer, no stop rule."""
    stop_after_empty_frames: int | None = 3
    """End a direction after so many frames in a row without the object; None = never. No conditioning frame is ever skipped."""
    extent: tuple[int, int] | None = None
    """First and last frame to visit, inclusive."""
    object_extents: Mapping[int, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """The same for single objects, by id; an object that is not named has `extent`."""
    start_frame: int | None = None
    """Start of both directions for all objects; by default the earliest prompted frame (of each object)."""
    hole_filling_area: int = 0
    """Fill holes of at most so many low-resolution pixels in the masks; 0 = none, as the reference does on a CPU."""
    keep_logits: bool = False
    """Keep the mask logits of both directions: 8 bytes a voxel and object."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.stop_after_empty_frames is not None and self.stop_after_empty_frames < 1:
            raise ValueError(f"stop_after_empty_frames: expected at least 1 or None, got {self.stop_after_empty_frames}")
        for extent in (self.extent, *self.object_extents.values()):
            if extent is not None and not 0 <= extent[0] <= extent[1]:
                raise ValueError(f"extent: expected 0 <= first <= last, got {extent}")
        if self.hole_filling_area < 0:
            raise ValueError(f"hole_filling_area: expected at least 0, got {self.hole_filling_area}")

    @property
    def empty_frame_limit(self) -> int | None:
        """The stop rule in force."""
        return None if self.reference else self.stop_after_empty_frames

    def reach(self, frames: int, object_id: int) -> tuple[int, int]:
        """First and last frame to visit of `frames` for an object; ValueError when the extent or the start lies outside."""
        first, last = self.object_extents.get(object_id) or self.extent or (0, frames - 1)
        if last >= frames:
            raise ValueError(f"extent: expected frames of 0..{frames - 1}, got {(first, last)}")
        if self.start_frame is not None and not first <= self.start_frame <= last:
            raise ValueError(f"start_frame: expected a frame of {first}..{last}, got {self.start_frame}")
        return first, last
