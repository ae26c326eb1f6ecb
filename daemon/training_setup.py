"""The setup of a training run: data, start and plan in one file beside its checkpoints, so that a resumed run is the same run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from daemon.datasets import Families, Reading, Window, evenly_chosen, find_families, read_families
from daemon.errors import ConfigError
from daemon.folds import Fold
from model.checkpoint import load_model, save_safetensors
from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from model.preprocess import window_to_uint8
from model.training.bank import ABDOMEN_WINDOW_HU, open_bank
from model.training.compact import BANK_SHAPE, COMPACT
from model.training.loop import Training, TrainingPlan, new_model
from model.training.phantoms import FIRST_TRAINING_SEED, VALIDATION_SEEDS, demo_phantom
from model.training.volumes import LabelledVolume, Pool, label_maps

SETUP, STATE, WEIGHTS, OFFICIAL = "setup.json", "training.pt", "weights.safetensors", "weights.pt"
PHANTOMS = "phantoms"
"""Name of the family of our own phantoms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """Everything that decides a run."""

    data: Path | None
    """Folder of families (see `daemon.datasets`); None for phantoms alone."""
    validation: Path | None
    """Another folder whose `val` cases, or cases without a split, are measured; by default the `val` cases of `data`."""
    start: Path | None
    """Weights to begin with; None for scratch."""
    start_sha256: str | None
    plan: TrainingPlan
    phantoms: int = 0
    """Training phantoms in the mix."""
    family_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    window: Window | None = None
    region_scale: float | None = None
    """Replaces the start's own; None leaves it."""
    fold: Fold | None = None
    """Decides which cases of `data` are kept aside, in place of the marks that they carry."""
    objects: int = 0
    """In the pool when the run began: another number on resuming means that the data have changed."""


_ADAPTER = TypeAdapter(TrainingSetup)


def write_setup(folder: Path, setup: TrainingSetup) -> None:
    """Write `folder`/setup.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETUP).write_bytes(_ADAPTER.dump_json(setup, indent=2) + b"\n")


def read_setup(folder: Path) -> TrainingSetup:
    """Read it back. Raises `ConfigError` where there is none, or one of another version."""
    path = folder / SETUP
    if not path.is_file():
        raise ConfigError(f"{path}: no such file, so there is no run to resume; leave out --resume to begin one")
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path}: expected the setup of a run of this version, got {error.error_count()} faults: {error}") from error


def training_families(setup: TrainingSetup, folder: Path) -> Families:
    """Read the training cases, and make or reopen the bank of phantoms in `folder`. Raises `RejectedArrays`."""
    families = read_families(setup.data, Reading(split="train", window=setup.window, fold=setup.fold)) if setup.data is not None else {}
    if setup.phantoms:
        bank = open_bank(folder / "bank", count=setup.phantoms, shape=BANK_SHAPE, first_seed=FIRST_TRAINING_SEED)
        families[PHANTOMS] = list(bank.volumes())
    if not families:
        raise ConfigError("nothing to train on: give a folder of labelled cases, --phantoms N, or both")
    return families


def validation_families(setup: TrainingSetup, most: int) -> Families:
    """Up to `most` cases of each family that are kept out of training, for a figure while it runs; phantoms from their own seeds."""
    families: Families = {}
    if setup.validation is not None:
        families = find_families(setup.validation, Reading(split="val", window=setup.window))
    elif setup.data is not None:  # without a mark, a case of this folder is trained on
        families = find_families(setup.data, Reading(split="val", window=setup.window, marked_only=True, fold=setup.fold))
    chosen = {name: evenly_chosen(volumes, most) for name, volumes in families.items()}
    if setup.phantoms:
        chosen[PHANTOMS] = [volume for seed in VALIDATION_SEEDS[:most] for volume in _phantom_volumes(seed)]
    return chosen


def begin(setup: TrainingSetup, families: Families, device: torch.device) -> Training:
    """A run at its first step. Raises `CheckpointError` where the start is not the file that it was."""
    return Training(_start(setup).to(device), setup.plan, Pool(families, setup.family_weights))


def export(training: Training, folder: Path) -> None:
    """Write the averaged weights as float16 safetensors; those of the official shape also as an official checkpoint holds them."""
    model = training.average
    save_safetensors(model, folder / WEIGHTS, dtype=torch.float16, metadata={"steps": str(training.step)})
    if model.config == MedSAM2Config():
        partial = folder / (OFFICIAL + ".partial")
        torch.save({"model": {key: value.detach().cpu() for key, value in model.state_dict().items()}}, partial)
        partial.replace(folder / OFFICIAL)


def _start(setup: TrainingSetup) -> MedSAM2:
    if setup.start is None:
        return new_model(_with_region(COMPACT, setup), setup.plan.seed)
    loaded = load_model(setup.start, expected_sha256=setup.start_sha256)
    config = _with_region(loaded.config, setup)
    if config == loaded.config:
        return loaded.model
    model = MedSAM2(config)
    model.load_state_dict(loaded.model.state_dict())
    return model


def _with_region(config: MedSAM2Config, setup: TrainingSetup) -> MedSAM2Config:
    return config if setup.region_scale is None else dataclasses.replace(config, region_scale=setup.region_scale)


def _phantom_volumes(seed: int) -> list[LabelledVolume]:
    phantom = demo_phantom(seed)
    frames = window_to_uint8(phantom.voxels_hu, *ABDOMEN_WINDOW_HU)
    return [
        LabelledVolume(frames=frames, labels=labels, structures=structures, spacing_mm=phantom.spacing_mm, case=f"phantom {seed}")
        for labels, structures in label_maps(phantom.masks)
    ]
