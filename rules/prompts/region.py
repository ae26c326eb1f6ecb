"""From a region that a recipe found to its object: boxes or masks on key slices, with the region's extent."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from dicom_io.codes import Code
from dicom_io.volume import Volume
from model.prompt import MaskPrompt, Prompt
from rules.prompts.box import MillimetreBox, Span, find_box
from rules.prompts.extent import Extent, Share, extent_of_mask, part_of
from rules.prompts.key_slice import KeySlices, key_frames, region_boxes
from rules.prompts.outcome import Found, FoundObject, NoneFound, PromptOrigin
from rules.voxel_regions import Mask

PromptForm: TypeAlias = Literal["box", "mask"]


def object_of_region(
    mask: Mask,
    volume: Volume,
    key_slices: KeySlices,
    *,
    form: PromptForm = "box",
    name: str = "",
    laterality: Code | None = None,
    origin: PromptOrigin | None = None,
) -> FoundObject:
    """Return the object of a region (bool (k, j, i), not empty)."""
    prompts: tuple[Prompt, ...] = region_boxes(mask, volume.voxels, key_slices)
    if form == "mask":
        frames = key_frames(mask, volume.voxels, key_slices)
        prompts = tuple(MaskPrompt(frame=frame, mask=np.ascontiguousarray(mask[frame])) for frame in frames)
    return FoundObject(prompts=prompts, name=name, laterality=laterality, origin=origin, extent=extent_of_mask(mask, volume))


def object_of_part(extent: Extent, shares: tuple[Share | None, Share | None, Share | None], volume: Volume, name: str = "") -> Found:
    """Return the object that lies in a part of an extent: a box on the slice through the part's centre."""
    part = part_of(extent, shares)
    if part is None:
        return NoneFound(reason="the part of the extent is empty: its end lies before its beginning")
    x, y, z = (Span(minimum=low, maximum=high) for low, high in part.axes)
    box = find_box(MillimetreBox(kind="box", unit="millimetre", x_mm=x, y_mm=y, z_mm=z), volume)
    return box if isinstance(box, NoneFound) else (FoundObject(prompts=(box,), name=name, extent=part),)
