"""Segmenting in regions: each object in the square about its prompts, the masks laid back into whole frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model.config import MedSAM2Config
from model.mask_choice import ABSENT_LOGIT
from model.options import PropagationOptions
from model.prompt import Prompt
from model.region import Region, region_of
from model.result import ObjectResult, SegmentationResult

Progress = Callable[[int, int], None]
SegmentFrames = Callable[[NDArray[np.uint8], Sequence[Prompt], PropagationOptions, Progress | None], SegmentationResult]


def segment_in_regions(
    segment: SegmentFrames,
    config: MedSAM2Config,
    frames: NDArray[np.uint8],
    prompts: Sequence[Prompt],
    options: PropagationOptions,
    progress: Progress | None,
) -> SegmentationResult:
    """Call `segment` once for all objects of one region, and join the results in the order of the objects' first prompts.

    `frames` and `prompts` are checked already.
    """
    size = (frames.shape[1], frames.shape[2])
    order = list(dict.fromkeys(prompt.object_id for prompt in prompts))
    groups: dict[Region | None, list[Prompt]] = {}
    for object_id in order:
        own = [prompt for prompt in prompts if prompt.object_id == object_id]
        groups.setdefault(region_of(own, config), []).extend(own)
    results = []
    for done, (region, members) in enumerate(groups.items()):
        heard = _part_of(progress, done, len(groups))
        if region is None:
            results.append(segment(frames, members, options, heard))
        else:
            moved = [region.move(prompt, config.image_size) for prompt in members]
            results.append(_pasted(segment(region.cut(frames), moved, options, heard), region, size))
    found = {item.object_id: item for result in results for item in result.objects}
    return dataclasses.replace(
        results[0],
        objects=tuple(found[object_id] for object_id in order),
        seconds=sum(result.seconds for result in results),
        frames_encoded=sum(result.frames_encoded for result in results),
    )


def _pasted(result: SegmentationResult, region: Region, size: tuple[int, int]) -> SegmentationResult:
    return dataclasses.replace(result, objects=tuple(_pasted_object(item, region, size) for item in result.objects))


def _pasted_object(item: ObjectResult, region: Region, size: tuple[int, int]) -> ObjectResult:
    forward, backward = (
        None if logits is None else _pasted_logits(logits, region, size) for logits in (item.logits_forward, item.logits_backward)
    )
    return dataclasses.replace(item, mask=region.paste(item.mask, size, outside=False), logits_forward=forward, logits_backward=backward)


def _pasted_logits(logits: NDArray[np.float32], region: Region, size: tuple[int, int]) -> NDArray[np.float32]:
    """(t, row, column): outside of the region the object is absent; frames that were not visited stay NaN everywhere."""
    visited = ~np.isnan(logits).all(axis=(1, 2))
    pasted = np.full((len(logits), *size), np.nan, np.float32)
    pasted[visited] = region.paste(logits[visited], size, ABSENT_LOGIT)
    return pasted


def _part_of(progress: Progress | None, done: int, parts: int) -> Progress | None:
    """What one of several calls tells: its own frames behind those of the calls before it, each taken to be as long."""
    if progress is None:
        return None
    return lambda visited, total: progress(done * total + visited, parts * total)
