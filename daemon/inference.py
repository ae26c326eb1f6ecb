"""From prompts to masks: resident models by weights name, and each target in its own intensity window."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from daemon.intensity_window import window_bounds
from daemon.mask_shelf import KeptMasks, inference_key
from daemon.tools import Tools
from daemon.windowing import to_frames
from dicom_io.volume import Volume
from model.options import PropagationOptions
from model.result import ObjectResult, SegmentationResult
from rules.cleanup import clean
from rules.prompts.generate import GeneratedPrompts, PromptedObject
from rules.rule import Target
from rules.second_pass import agreement, jittered, refined

LOG = logging.getLogger("medsam2d.inference")


@dataclass(frozen=True, kw_only=True)
class SegmentedObjects:
    """Each prompted object with its result, in object order; `weights` and `seconds` tell how they came about."""

    prompted: tuple[PromptedObject, ...]
    results: tuple[ObjectResult, ...]
    weights: tuple[tuple[str, str], ...]
    """(weights id, SHA-256) of every model that took part."""
    device: str
    precision: str
    batch: str = ""
    """How many frames were encoded, and how many objects tracked, at once."""
    second_looks: Mapping[int, float] = field(default_factory=dict)
    """Object id -> Dice with the result of moved prompts, of those whose target asks for it."""

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(object, k, j, i) bool."""
        return np.stack([result.mask for result in self.results])

    def keep(self, object_ids: Iterable[int]) -> SegmentedObjects:
        """Return the same without the objects that are not named."""
        wanted = set(object_ids)
        pairs = [(p, r) for p, r in zip(self.prompted, self.results, strict=True) if p.object_id in wanted]
        return SegmentedObjects(
            prompted=tuple(p for p, _ in pairs),
            results=tuple(r for _, r in pairs),
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            batch=self.batch,
            second_looks={number: dice for number, dice in self.second_looks.items() if number in wanted},
        )


def segment_objects(volume: Volume, prompted: GeneratedPrompts, tools: Tools) -> SegmentedObjects:
    """Return the masks of every prompted object: those on the shelf, where the same question was answered before."""
    if tools.shelf is None or tools.options.keep_logits:
        return _with_prompts(prompted, _infer(volume, prompted, tools))
    weights = [tools.models.sha256(item.target.weights) for item in prompted.objects]
    key = inference_key(volume, prompted.objects, weights, tools.options)
    kept = tools.shelf.find(key)
    if kept is None:
        kept = _infer(volume, prompted, tools)
        tools.shelf.keep(key, kept)
    else:
        LOG.info("the masks of this content were kept: no inference")
    return _with_prompts(prompted, kept)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What one inference collects over its passes."""

    weights: dict[str, str] = field(default_factory=dict)
    how: dict[str, set[str]] = field(default_factory=lambda: {"device": set(), "precision": set(), "batch": set()})


def _infer(volume: Volume, prompted: GeneratedPrompts, tools: Tools) -> KeptMasks:
    """Propagate every prompted object, and once more those whose target asks for a refinement or a second look."""
    run = _Run()
    found = _propagate(volume, prompted.objects, tools, run)
    closer = {item.object_id: item for item in prompted.objects if item.target.refine}
    for number, item in closer.items():
        closer[number] = replace(item, prompts=refined(item.prompts, found[number]))
    again = [item for item in prompted.objects if item.target.refine and closer[item.object_id].prompts != item.prompts]
    found |= _propagate(volume, [closer[item.object_id] for item in again], tools, run)
    shape = (volume.voxels.shape[1], volume.voxels.shape[2])
    looked = [closer.get(item.object_id, item) for item in prompted.objects if item.target.second_look]
    seen = _propagate(volume, [replace(item, prompts=jittered(item.prompts, shape)) for item in looked], tools, run)
    return KeptMasks(
        objects=tuple(_cleaned(found[item.object_id], item.target) for item in prompted.objects),
        weights=tuple(sorted(run.weights.items())),
        second_looks={number: agreement(found[number].mask, result.mask) for number, result in seen.items()},
        # Targets of one job may end up on different devices, when one of them does not fit the first.
        **{name: "; ".join(sorted(values)) for name, values in run.how.items()},
    )


def _propagate(volume: Volume, objects: Sequence[PromptedObject], tools: Tools, run: _Run) -> dict[int, ObjectResult]:
    """Return each object's result; objects that share weights, window and stop rule share one pass over the slices."""
    found: dict[int, ObjectResult] = {}
    for together in _passes(objects):
        target = together[0].target
        segmenter = tools.models.segmenter(target.weights)
        result = segmenter.segment(
            to_frames(volume.voxels, *window_bounds(volume, target)),
            [prompt for item in together for prompt in item.prompts],
            _options(tools.options, together, volume),
            tools.progress,
        )
        run.weights[result.weights_id] = tools.models.sha256(target.weights)
        for name, values in run.how.items():
            values.add(getattr(result, name))
        found |= _by_object(result)
    return found


def _with_prompts(prompted: GeneratedPrompts, masks: KeptMasks) -> SegmentedObjects:
    return SegmentedObjects(
        prompted=prompted.objects,
        results=masks.objects,
        weights=masks.weights,
        device=masks.device,
        precision=masks.precision,
        batch=masks.batch,
        second_looks=masks.second_looks,
    )


def _passes(objects: Sequence[PromptedObject]) -> list[list[PromptedObject]]:
    passes: dict[object, list[PromptedObject]] = {}
    for item in objects:
        key = (item.target.weights, item.target.window, item.target.stop_after_empty_frames)
        passes.setdefault(key, []).append(item)
    return list(passes.values())


def _by_object(result: SegmentationResult) -> dict[int, ObjectResult]:
    return {item.object_id: item for item in result.objects}


def _cleaned(result: ObjectResult, target: Target) -> ObjectResult:
    return replace(result, mask=clean(result.mask, target))


def _options(base: PropagationOptions, objects: Sequence[PromptedObject], volume: Volume) -> PropagationOptions:
    """The rule's stop rule and extents, unless a person asked for none or for the reference's behaviour."""
    if base.reference or base.stop_after_empty_frames is None:
        return base
    extents = {item.object_id: extent for item in objects if (extent := _extent(item, volume)) is not None}
    return replace(base, stop_after_empty_frames=objects[0].target.stop_after_empty_frames, object_extents=extents)


def _extent(item: PromptedObject, volume: Volume) -> tuple[int, int] | None:
    """The first and last slice within the target's reach of its prompts; None where the rule states none."""
    reach_mm = item.target.maximum_reach_mm
    if reach_mm is None:
        return None
    slices = math.floor(reach_mm / volume.spacing_mm[0] + 1e-6)
    frames = [prompt.frame for prompt in item.prompts]
    return max(min(frames) - slices, 0), min(max(frames) + slices, len(volume.voxels) - 1)
