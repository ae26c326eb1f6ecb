"""`python -m model.training`: make the bank of phantoms, train the compact model, measure it on held-out phantoms, write weights."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoint import save_safetensors
from model.medsam2 import MedSAM2
from model.training.bank import open_bank
from model.training.calibrate import calibrate
from model.training.compact import BANK_SHAPE, COMPACT, compact_plan
from model.training.evaluate import OrganScore, score_phantom, summary
from model.training.loop import Training, run
from model.training.phantoms import FIRST_TRAINING_SEED, VALIDATION_SEEDS, demo_phantom, make_phantom

CALIBRATION_SEED = 100_000
"""First of the seeds, beyond any bank, on which the object score is set."""

logger = logging.getLogger("model.training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the plan is done, 1 when the minutes ran out first."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    bank = open_bank(
        options.out / "bank", count=options.phantoms, shape=BANK_SHAPE, first_seed=FIRST_TRAINING_SEED, processes=options.threads
    )
    training = Training(COMPACT, compact_plan(), bank.shuffled)
    if options.resume:
        training.restore(options.out / "training.pt")
        logger.info("resumed at step %d", training.step)
    done = run(training, options.out, minutes=options.minutes)
    seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + options.validate)
    shift = calibrate(training.average, [make_phantom(seed) for seed in seeds])
    logger.info("object score lowered by %.1f", shift)
    figures = held_out(training.average, options.validate)
    logger.info("step %d, held-out phantoms: %s", training.step, json.dumps(figures))
    export(training, figures, options.out / "weights.safetensors")
    return 0 if done else 1


def held_out(model: MedSAM2, count: int) -> dict[str, float]:
    """Figures of `evaluate.summary` over the first `count` validation phantoms, kept out of every training run."""
    scores: list[OrganScore] = []
    for seed in VALIDATION_SEEDS[:count]:
        scores += score_phantom(model, demo_phantom(seed))
    return summary(scores)


def export(training: Training, figures: dict[str, float], path: Path) -> None:
    """Write the averaged weights as float16, with what was measured of them in the metadata."""
    metadata = {"data": "synthetic phantoms", "licence": "Apache-2.0", "steps": str(training.step), "held_out_dice": json.dumps(figures)}
    save_safetensors(training.average, path, dtype=torch.float16, metadata=metadata)
    logger.info("wrote %s", path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.training", description="Train the compact MedSAM2 on phantoms.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bank, checkpoints, metrics and weights")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/training.pt")
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after this long, resumable (default 120)")
    parser.add_argument("--phantoms", type=int, default=600, help="phantoms in the bank (default 600)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--validate", type=int, default=8, help="held-out phantoms to measure at the end (default 8)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
