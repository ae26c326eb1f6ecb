"""`medsam2d evaluate`: how well weights do on labelled cases, beside other weights and beside methods that need no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Config
from daemon.datasets import SPLITS, Families, Reading, read_families
from daemon.errors import ConfigError
from daemon.evaluation import PROMPTS, SLICES, Protocol, Score, View, score_family
from daemon.evaluation_report import Evaluated
from daemon.folds import Fold
from model.segmenter import Segmenter

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What the command line asked for."""

    folder: Path
    weights: tuple[str, ...]
    """Names or files; the default weights where empty."""
    protocol: Protocol
    reading: Reading
    families: tuple[str, ...] = ()
    """Only these; all where empty."""
    device: str = "auto"


def protocol_of(prompt: str, which: str, jitter: float, seed: int) -> Protocol:
    """Return the protocol of the command line's words. Raises `ConfigError`."""
    if prompt not in PROMPTS or which not in SLICES:
        raise ConfigError(f"--prompt and --slice: expected one of {PROMPTS} and one of {SLICES}, got {prompt!r} and {which!r}")
    if not 0 <= jitter <= 0.5:
        raise ConfigError(f"--jitter: expected a share of 0 to 0.5 of the box's side, got {jitter}")
    return Protocol(prompt=prompt, slice=which, jitter=jitter, seed=seed)


def reading_of(split: str, window: tuple[float, float] | None, fold: Fold | None = None) -> Reading:
    """Return how to read the cases. Raises `ConfigError` for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"--split: expected one of {SPLITS}, got {split!r}")
    return Reading(split=split, window=window, fold=fold)


def run(request: EvaluateRequest, settings: Config, progress: Progress) -> tuple[Evaluated, ...]:
    """Score every case with every weights. Raises `ConfigError`, `RejectedInput` or `CheckpointError`."""
    from daemon.commands.segment import models_for

    segmenters = {name: models_for(settings, name, request.device).segmenter(None) for name in _names(request, settings)}
    families = _chosen(read_families(request.folder, request.reading), request.families)
    objects = sum(len(volume.structures) for volumes in families.values() for volume in volumes)
    evaluated = []
    for number, (name, segmenter) in enumerate(segmenters.items()):
        scored = _scored(families, segmenter, request.protocol, progress, (number * objects, len(segmenters) * objects))
        evaluated.append(Evaluated(weights=name, scores=tuple(score for score, _ in scored), views=tuple(view for _, view in scored)))
    return tuple(evaluated)


def _scored(
    families: Families, segmenter: Segmenter, protocol: Protocol, progress: Progress, place: tuple[int, int]
) -> list[tuple[Score, View]]:
    """place: objects scored before, and in all."""
    before, total = place
    scored: list[tuple[Score, View]] = []
    for family, volumes in families.items():
        for pair in score_family(family, volumes, segmenter, protocol):
            segmenter.cache.clear()  # each object is timed as if it were the only one
            scored.append(pair)
            progress(before + len(scored), total)
    return scored


def _names(request: EvaluateRequest, settings: Config) -> tuple[str, ...]:
    return request.weights or (settings.worker.default_weights,)


def _chosen(families: Families, wanted: tuple[str, ...]) -> Families:
    unknown = sorted(set(wanted) - set(families))
    if unknown:
        raise ConfigError(f"--family {', '.join(unknown)}: no such family (there are: {', '.join(families)})")
    return {name: volumes for name, volumes in families.items() if not wanted or name in wanted}
