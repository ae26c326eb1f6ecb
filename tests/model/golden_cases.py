"""The golden cases: which prompts and options each was made with, and which of its runs to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.options import GPU_REFERENCE_HOLE_AREA, PropagationOptions
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt

FORWARD, BACKWARD = "logits_forward", "logits_backward"
BOTH = {"fwd": FORWARD, "rev": BACKWARD}
KEY_FRAME = 6


class Inputs:
    """The volume and the exact prompts that the reference was given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with np.load(folder / "inputs.npz") as arrays:
            self._arrays = {name: arrays[name] for name in arrays.files}

    @property
    def volume(self) -> NDArray[np.uint8]:
        """(t, row, column)."""
        volume: NDArray[np.uint8] = self._arrays["volume"]
        return volume

    def array(self, name: str) -> NDArray[np.float32]:
        """One stored array."""
        return np.asarray(self._arrays[name], dtype=np.float32)

    def box(self, name: str, frame: int = KEY_FRAME, object_id: int = 1) -> BoxPrompt:
        """A stored box."""
        left, top, right, bottom = map(float, self._arrays[name])
        return BoxPrompt(frame=frame, left=left, top=top, right=right, bottom=bottom, object_id=object_id)

    def points(self, *labelled: tuple[str, int]) -> PointPrompt:
        """Stored points on the key frame, with their labels."""
        points = tuple((float(self._arrays[name][0]), float(self._arrays[name][1])) for name, _ in labelled)
        return PointPrompt(frame=KEY_FRAME, points=points, labels=tuple(label for _, label in labelled))

    def drawn_mask(self) -> MaskPrompt:
        """The mask of the first object on the key frame."""
        return MaskPrompt(frame=KEY_FRAME, mask=self._arrays["mask1"][KEY_FRAME].astype(np.bool_))

    def answered_mask(self) -> MaskPrompt:
        """The mask that the reference itself drew from a box."""
        with np.load(self._folder / "case_box_then_mask.npz") as arrays:
            return MaskPrompt(frame=KEY_FRAME, mask=arrays["fwd_mask_prompt"].astype(np.bool_))


REFERENCE = PropagationOptions(reference=True, keep_logits=True)
FROM_KEY_FRAME = dataclasses.replace(REFERENCE, extent=(KEY_FRAME, 11))  # leaves the other direction out where it is not compared


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenCase:
    """One run of the predictor."""

    name: str
    file: str
    prompts: Callable[[Inputs], list[Prompt]]
    runs: dict[str, str]  # prefix of the stored arrays -> field of our result
    prompted: frozenset[int] = frozenset({KEY_FRAME})
    options: PropagationOptions = REFERENCE
    absent: bool = False


_TWO_SLICES = frozenset({3, 8})

CASES = (
    GoldenCase(name="box", file="case_box", prompts=lambda i: [i.box("box1")], runs=BOTH),
    GoldenCase(name="one click", file="case_point", prompts=lambda i: [i.points(("point1", 1))], runs=BOTH),
    GoldenCase(
        name="two clicks",
        file="case_point",
        prompts=lambda i: [i.points(("point1", 1), ("point_neg", 0))],
        runs={"twopt_fwd": FORWARD},
        options=FROM_KEY_FRAME,
    ),
    GoldenCase(name="mask", file="case_mask", prompts=lambda i: [i.drawn_mask()], runs=BOTH),
    GoldenCase(name="two objects", file="case_two_objects", prompts=lambda i: [i.box("box1"), i.box("box2", object_id=2)], runs=BOTH),
    GoldenCase(
        name="two objects on different slices",
        file="case_two_objects",
        prompts=lambda i: [i.box("box1"), i.box("box2_z4", 4, 2)],
        runs={"diffslice_fwd": FORWARD},
        prompted=frozenset({4, KEY_FRAME}),
        options=dataclasses.replace(REFERENCE, extent=(4, 11)),
    ),
    GoldenCase(
        name="two conditioning slices",
        file="case_two_cond_slices",
        prompts=lambda i: [i.box("box1_z3", 3), i.box("box1_z8", 8)],
        runs={"fwd": FORWARD},
        prompted=_TWO_SLICES,
        options=dataclasses.replace(REFERENCE, extent=(3, 11)),
    ),
    GoldenCase(
        name="two conditioning slices, backward from the later",
        file="case_two_cond_slices",
        prompts=lambda i: [i.box("box1_z3", 3), i.box("box1_z8", 8)],
        runs={"rev_from8": BACKWARD},
        prompted=_TWO_SLICES,
        options=dataclasses.replace(REFERENCE, start_frame=8, extent=(0, 8)),
    ),
    GoldenCase(name="box then mask", file="case_box_then_mask", prompts=lambda i: [i.box("box1"), i.answered_mask()], runs=BOTH),
    GoldenCase(
        name="box then point",
        file="case_box_then_point",
        prompts=lambda i: [i.box("box1"), i.points(("point_neg", 0))],
        runs={"fwd": FORWARD},
        options=FROM_KEY_FRAME,
    ),
    GoldenCase(
        name="holes filled",
        file="case_box_fill_holes",
        prompts=lambda i: [i.box("box1")],
        runs={"fwd": FORWARD},
        options=dataclasses.replace(FROM_KEY_FRAME, hole_filling_area=GPU_REFERENCE_HOLE_AREA),
    ),
    GoldenCase(
        name="absent object",
        file="case_absent",
        prompts=lambda i: [i.box("box1")],
        runs={"fwd": FORWARD},
        options=FROM_KEY_FRAME,
        absent=True,
    ),
)
