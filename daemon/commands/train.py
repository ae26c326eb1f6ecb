"""`medsam2d train`: fine-tune weights, or train compact ones from scratch, on labelled volumes and phantoms; resumable at any moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from daemon.config import Config
from daemon.datasets import Families, Window
from daemon.errors import ConfigError
from daemon.evaluation import Protocol, score_family
from daemon.folds import Fold
from daemon.training_plot import plot_metrics
from daemon.training_setup import (
    STATE,
    TrainingSetup,
    begin,
    export,
    read_setup,
    training_families,
    validation_families,
    write_setup,
)
from daemon.weights import book_of, verify
from model.checkpoint import load_model
from model.config import MedSAM2Config
from model.segmenter import Segmenter
from model.training.compact import (
    COMPACT_RATE,
    OFFICIAL_ENCODER_SHARE,
    OFFICIAL_RATE,
    SCRATCH_RATE,
    plan_from_scratch,
    plan_of_fine_tuning,
)
from model.training.loop import Listeners, Stage, Training, TrainingPlan, run
from model.training.volumes import Pool

SCRATCH = "scratch"
LOG = logging.getLogger("medsam2d.training")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What the command line asked for; see its help for each."""

    data: Path | None
    out: Path
    start: str
    steps: int
    stage: Stage
    """Length, batch and accumulation of fine-tuning; a start from scratch has its own stages."""
    rate: float | None
    encoder_share: float | None
    phantoms: int
    family_weights: Mapping[str, float]
    validation: Path | None
    window: Window | None
    region_scale: float | None
    fold: Fold | None
    bfloat16: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What became of a run, as `--json` prints it."""

    finished: bool
    """False where the minutes ran out first: `--resume` goes on."""
    step: int
    steps: int
    weights: str
    validation: dict[str, Any] | None


def begin_run(request: TrainRequest, settings: Config, device: torch.device) -> tuple[Training, TrainingSetup]:
    """Set a new run up in `request.out`. Raises `ConfigError` where one is there already, or `RejectedArrays`."""
    if (request.out / STATE).exists():
        raise ConfigError(f"{request.out}: holds a run already; give --resume to go on with it, or another --out")
    setup = _setup(request, settings)
    families = training_families(setup, request.out)
    setup = replace(setup, objects=len(Pool(families)))
    write_setup(request.out, setup)
    return begin(setup, families, device), setup


def resume_run(folder: Path, device: torch.device) -> tuple[Training, TrainingSetup]:
    """Take up the run in `folder` where its last checkpoint left it. Raises `ConfigError` where its data have changed."""
    setup = read_setup(folder)
    families = training_families(setup, folder)
    if len(Pool(families)) != setup.objects:
        raise ConfigError(f"{setup.data}: expected the {setup.objects} objects that the run began with, found {len(Pool(families))}")
    training = begin(setup, families, device)
    if (folder / STATE).exists():
        training.restore(folder / STATE)
    return training, setup


def train(training: Training, setup: TrainingSetup, folder: Path, *, minutes: float, validate: int, progress: Progress) -> TrainReport:
    """Run until the plan is done or the minutes are over; each checkpoint leaves weights, a validation and a plot in `folder`."""
    kept_aside = validation_families(setup, validate) if validate else {}
    last: dict[str, Any] = {}
    begun, first = time.monotonic(), training.step

    def logged(metrics: dict[str, Any]) -> None:
        progress(training.step, setup.plan.steps)
        if "loss" in metrics:
            left = (time.monotonic() - begun) / max(1, training.step - first) * (setup.plan.steps - training.step)
            LOG.info("step %d of %d, loss %.3f, %.0f minutes left", training.step, setup.plan.steps, metrics["loss"], left / 60)

    def saved(current: Training) -> dict[str, Any] | None:
        export(current, folder)
        (folder / "metrics.png").write_bytes(plot_metrics(folder / "metrics.jsonl"))
        if not kept_aside:
            return None
        last["validation"] = validation(current, kept_aside)
        LOG.info("step %d, validation %s", current.step, last["validation"])
        return last

    finished = run(training, folder, minutes=minutes, listeners=Listeners(logged=logged, saved=saved))
    (folder / "metrics.png").write_bytes(plot_metrics(folder / "metrics.jsonl"))
    return TrainReport(
        finished=finished,
        step=training.step,
        steps=setup.plan.steps,
        weights=str(folder / "weights.safetensors"),
        validation=last.get("validation"),
    )


def validation(training: Training, families: Families) -> dict[str, Any]:
    """Median Dice of the averaged weights over all objects and by family, prompted as `medsam2d evaluate` does by default."""
    segmenter = Segmenter(training.average, next(training.average.parameters()).device, "training")
    dices = {name: [score.dice for score, _ in score_family(name, volumes, segmenter, Protocol())] for name, volumes in families.items()}
    every = [dice for members in dices.values() for dice in members]
    by_family = {name: round(float(np.median(members)), 4) for name, members in dices.items() if members}
    return {"median_dice": round(float(np.median(every)), 4), "n": len(every), "families": by_family}


def as_text(report: TrainReport) -> str:
    """The report as lines for a terminal."""
    state = "finished" if report.finished else "stopped, go on with --resume"
    lines = [f"{state} at step {report.step} of {report.steps}", f"-> {report.weights}"]
    if report.validation is not None:
        lines.insert(1, f"validation: median Dice {report.validation['median_dice']} of {report.validation['n']} objects")
    return "\n".join(lines)


def parse_shares(words: tuple[str, ...]) -> dict[str, float]:
    """NAME=WEIGHT words as a mapping. Raises `ConfigError`."""
    shares = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            shares[name] = float(number)
        except ValueError as error:
            raise ConfigError(f"--family-weight {word}: expected NAME=NUMBER") from error
        if not name or shares[name] <= 0:
            raise ConfigError(f"--family-weight {word}: expected NAME=NUMBER with a number above 0")
    return shares


def _setup(request: TrainRequest, settings: Config) -> TrainingSetup:
    start, digest, config = _found_start(request.start, settings)
    return TrainingSetup(
        data=None if request.data is None else request.data.resolve(),
        validation=None if request.validation is None else request.validation.resolve(),
        start=start,
        start_sha256=digest,
        plan=_plan(request, config),
        phantoms=request.phantoms,
        family_weights=request.family_weights,
        window=request.window,
        region_scale=request.region_scale,
        fold=request.fold,
    )


def _found_start(name: str, settings: Config) -> tuple[Path | None, str | None, MedSAM2Config | None]:
    if name == SCRATCH:
        return None, None, None
    book = book_of(settings)
    path = Path(name) if name not in book.entries and Path(name).is_file() else None
    if path is None:
        entry = book.find(name)
        verify(entry)
        path = entry.file
    loaded = load_model(path)
    return path.resolve(), loaded.sha256, loaded.config


def _plan(request: TrainRequest, config: MedSAM2Config | None) -> TrainingPlan:
    if config is None:
        plan = plan_from_scratch(request.steps, rate=request.rate or SCRATCH_RATE, seed=request.seed)
    else:
        official = config == MedSAM2Config()
        share = request.encoder_share or (OFFICIAL_ENCODER_SHARE if official else 1.0)
        rate = request.rate or (OFFICIAL_RATE if official else COMPACT_RATE)
        plan = plan_of_fine_tuning(replace(request.stage, steps=request.steps), rate=rate, encoder_share=share, seed=request.seed)
    return replace(plan, bfloat16=request.bfloat16)
