"""The benchmark of the whole chain: a rule finds its prompts in real series, the model segments them, and people's drawings say how well.

Beside it stands what the same weights make of a tight box around the truth, on the slice that shows most of it: the difference
is the recipe's, the rest the weights'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from daemon.annotation_objects import is_annotation_object
from daemon.benchmarks.labelled_study import write_labelled_case
from daemon.folder_study import read_folder, request_for
from daemon.inference import segment_objects
from daemon.planning import Planned, plan_volumes
from daemon.prompting import prompt_volume
from daemon.tools import Tools
from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import masks_on
from dicom_io.errors import RejectedInput
from dicom_io.slice_stack import Refused
from dicom_io.volume_reader import read_or_refuse
from model.prompt import BoxPrompt
from model.training.baselines import box_of
from model.training.overlap import dice
from rules.match import Plan
from rules.prompts.generate import GeneratedPrompts, PromptedObject

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ChainScore:
    """One drawn structure of one series, and what came of it."""

    rule: str
    modality: str
    structure: str
    prompted: int
    """Objects that the rule prompted in the series."""
    dice: float
    """Of the object that overlaps the structure best; 0 where nothing does."""
    dice_from_true_box: float


def measure_cases(cases: Sequence[Path], called_ae_title: str, structures: Sequence[str], tools: Tools) -> Iterator[ChainScore]:
    """Yield the same for labelled `.npz` cases, each as a DICOM study in a folder that is removed afterwards."""
    for case in cases:
        with TemporaryDirectory(prefix="medsam2d-bench-") as folder:
            write_labelled_case(Path(folder), case)
            yield from measure_chain(Path(folder), called_ae_title, structures, tools)


def measure_chain(folder: Path, called_ae_title: str, structures: Sequence[str], tools: Tools) -> Iterator[ChainScore]:
    """Yield a score for each structure that was drawn on a series which a rule matches; `structures` names the only ones to count.

    The folder holds the images with the SEG or RTSTRUCT that outlines them. Raises `NotDicom` for one without DICOM.
    """
    groups = read_folder(folder)
    headers = [header for group in groups.values() for header in group]
    drawn = read_annotations([header for header in headers if is_annotation_object(header)], headers).found
    for uid, group in groups.items():
        if is_annotation_object(group[0]):
            continue
        own = [one for one in drawn if uid in one.series_uids and (not structures or one.label in structures)]
        try:
            request = replace(request_for(group, groups), called_ae_title=called_ae_title)
            planned = [item for item in plan_volumes(request, tools.ruleset) if isinstance(item, Planned)] if own else []
        except RejectedInput:
            continue
        for item in planned:
            volume = read_or_refuse(item.stack)
            if isinstance(volume, Refused):
                continue
            found = prompt_volume(request, item.plan, volume, tools.ruleset).prompts
            masks = [result.mask for result in segment_objects(volume, found, tools).results]
            for annotation, truth in masks_on(own, volume):
                boxed = GeneratedPrompts(objects=(_boxed(item.plan, annotation.label, truth),), missing=())
                from_box = [result.mask for result in segment_objects(volume, boxed, tools).results]
                yield ChainScore(
                    rule=item.plan.rule.name,
                    modality=request.series.modality,
                    structure=annotation.label,
                    prompted=len(masks),
                    dice=_best(masks, truth),
                    dice_from_true_box=_best(from_box, truth),
                )


def _best(masks: Sequence[Mask], truth: Mask) -> float:
    return max((dice(mask, truth) for mask in masks), default=0.0)


def _boxed(plan: Plan, label: str, truth: Mask) -> PromptedObject:
    """A tight box around the truth, as an object of the target of that label; of the first one where there is none."""
    target = next((one for one in plan.targets if one.label == label), plan.targets[0])
    frame = int(np.argmax(np.count_nonzero(truth, axis=(1, 2))))
    left, top, right, bottom = box_of(truth[frame])
    box = BoxPrompt(object_id=1, frame=frame, left=float(left), top=float(top), right=float(right), bottom=float(bottom))
    return PromptedObject(target=target, object_id=1, label=target.label, prompts=(box,))
