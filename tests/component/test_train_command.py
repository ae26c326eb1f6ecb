"""`medsam2d train` and `evaluate` on the command line: it learns, it resumes exactly, and what it writes loads again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from daemon.cli import app
from daemon.commands import train as command
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.folds import Fold
from daemon.training_setup import begin, export, read_setup, training_families, validation_families
from model.checkpoint import check_state, load_model, save_safetensors
from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from model.training.loop import Stage
from tests.unit.model.compact import COMPACT, compact_model

CPU = torch.device("cpu")
SIDE, SLICES = 48, 9
TINY_REGIONS = dataclasses.replace(COMPACT, region_scale=2.25)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Bright discs of several sizes: four to train on, two kept aside."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cases" / "discs"
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for n in range(6):
        y, x, radius = rng.uniform(18, 30), rng.uniform(18, 30), rng.uniform(7, 11)
        labels = np.stack([(rows - y) ** 2 + (columns - x) ** 2 < radius**2] * SLICES).astype(np.uint8)
        labels[[0, -1]] = 0
        frames = np.clip(np.where(labels > 0, 190, 70) + rng.normal(0, 6, labels.shape), 0, 255).astype(np.uint8)
        meta = json.dumps({"labels": {"disc": 1}, "split": "val" if n >= 4 else "train"})
        np.savez_compressed(folder / f"case{n}.npz", imgs=frames, gts=labels, meta=meta)
    return tmp_path / "cases"


@pytest.fixture
def start(tmp_path: Path) -> Path:
    model = compact_model()
    model.config = TINY_REGIONS
    save_safetensors(model, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def request(cases: Path, out: Path, start: Path, *, steps: int = 6, rate: float = 3e-3) -> command.TrainRequest:
    return command.TrainRequest(
        data=cases, out=out, start=str(start), steps=steps, stage=Stage(steps=steps, length=2, batch=4), rate=rate, encoder_share=None,
        phantoms=0, family_weights={}, validation=None, window=None, region_scale=None, fold=None, bfloat16=False, seed=0,
    )  # fmt: skip


def silent(done: int, total: int) -> None:
    """A progress bar that nobody looks at."""


def test_a_small_budget_lowers_the_loss_and_raises_the_dice_of_cases_kept_aside(cases: Path, start: Path, tmp_path: Path) -> None:
    training, setup = command.begin_run(request(cases, tmp_path / "run", start, steps=40), Config(), CPU)
    families = validation_families(setup, 2)
    before = command.validation(training, families)
    report = command.train(training, setup, tmp_path / "run", minutes=10, validate=2, progress=silent)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert report.finished
    assert losses[-1] < 0.8 * losses[0]
    assert report.validation is not None
    assert report.validation["n"] == 2
    assert report.validation["median_dice"] > before["median_dice"] + 0.2
    assert (tmp_path / "run" / "metrics.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_stopped_and_resumed_writes_the_very_weights_of_an_uninterrupted_one(
    cases: Path, start: Path, tmp_path: Path
) -> None:
    whole, setup = command.begin_run(request(cases, tmp_path / "whole", start), Config(), CPU)
    assert command.train(whole, setup, tmp_path / "whole", minutes=10, validate=0, progress=silent).finished
    parts, _ = command.begin_run(request(cases, tmp_path / "parts", start), Config(), CPU)
    for _ in range(3):
        parts.advance()
    parts.save(tmp_path / "parts" / "training.pt")
    resumed, setup = command.resume_run(tmp_path / "parts", CPU)
    assert resumed.step == 3
    assert command.train(resumed, setup, tmp_path / "parts", minutes=10, validate=0, progress=silent).finished
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_fold_trains_on_its_own_side_measures_the_other_and_is_kept_for_resuming(cases: Path, start: Path, tmp_path: Path) -> None:
    wanted = dataclasses.replace(request(cases, tmp_path / "run", start), fold=Fold(index=1, count=3))
    _, setup = command.begin_run(wanted, Config(), CPU)
    trained_on = [volume.case for volume in training_families(setup, tmp_path / "run")["discs"]]
    kept_aside = [volume.case for volume in validation_families(setup, 9)["discs"]]
    assert (trained_on, kept_aside) == (["case0", "case2", "case3", "case5"], ["case1", "case4"])
    _, resumed = command.resume_run(tmp_path / "run", CPU)
    assert resumed.fold == Fold(index=1, count=3)
    words = ["evaluate", str(cases), "--weights", str(start), "--fold", "1/3", "--json"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout.splitlines()[-1])["families"]["discs"]["n"] == 2


def test_weights_written_by_a_run_load_again_with_their_region_and_serve_as_a_start(cases: Path, start: Path, tmp_path: Path) -> None:
    training, _ = command.begin_run(request(cases, tmp_path / "run", start), Config(), CPU)
    export(training, tmp_path / "run")
    loaded = load_model(tmp_path / "run" / "weights.safetensors")
    assert loaded.config == TINY_REGIONS
    again, _ = command.begin_run(request(cases, tmp_path / "again", tmp_path / "run" / "weights.safetensors"), Config(), CPU)
    assert again.advance() is not None


def test_a_checkpoint_of_the_official_shape_is_fine_tuned_and_loads_strictly_again(cases: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    official = MedSAM2(MedSAM2Config())
    torch.save({"model": official.state_dict()}, tmp_path / "official.pt")
    asked = request(cases, tmp_path / "run", tmp_path / "official.pt", steps=1)
    asked = dataclasses.replace(asked, stage=Stage(steps=1, length=2, batch=1), rate=None)
    training, setup = command.begin_run(asked, Config(), CPU)
    shares = {group["share"] for group in training.optimiser.param_groups}
    report = command.train(training, setup, tmp_path / "run", minutes=10, validate=0, progress=silent)
    state = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)["model"]
    check_state(official, state, source="weights.pt")
    assert report.finished
    assert shares == {0.6, 1.0}, "the image encoder learns more slowly"
    assert load_model(tmp_path / "run" / "weights.pt").config == MedSAM2Config()
    moved = [name for name, tensor in official.state_dict().items() if not torch.equal(tensor, state[name])]
    assert any(name.startswith("image_encoder.") for name in moved)
    assert any(name.startswith("memory_attention.") for name in moved)


def test_a_run_is_not_begun_over_another_nor_resumed_on_other_data(cases: Path, start: Path, tmp_path: Path) -> None:
    training, setup = command.begin_run(request(cases, tmp_path / "run", start), Config(), CPU)
    training.save(tmp_path / "run" / "training.pt")
    with pytest.raises(ConfigError, match="give --resume to go on"):
        command.begin_run(request(cases, tmp_path / "run", start), Config(), CPU)
    assert read_setup(tmp_path / "run") == setup
    (cases / "discs" / "case0.npz").unlink()
    with pytest.raises(ConfigError, match="expected the 4 objects that the run began with, found 3"):
        command.resume_run(tmp_path / "run", CPU)
    with pytest.raises(ConfigError, match="no run to resume"):
        command.resume_run(tmp_path / "nowhere", CPU)


def test_cases_kept_aside_are_never_trained_on(cases: Path, start: Path, tmp_path: Path) -> None:
    _, setup = command.begin_run(request(cases, tmp_path / "run", start), Config(), CPU)
    trained = {case.case for case in training_families(setup, tmp_path / "run")["discs"]}
    measured = {case.case for case in validation_families(setup, 9)["discs"]}
    assert trained == {"case0", "case1", "case2", "case3"}
    assert measured == {"case4", "case5"}


def test_a_start_from_scratch_begins_without_any_file_and_takes_steps(cases: Path, tmp_path: Path) -> None:
    asked = dataclasses.replace(request(cases, tmp_path / "run", Path("scratch"), steps=12), rate=None)
    _, setup = command.begin_run(asked, Config(), CPU)
    training = begin(setup, training_families(setup, tmp_path / "run"), CPU)
    assert setup.start is None
    assert training.model.config.region_scale == 2.25
    assert training.advance() is not None


def test_the_commands_run_as_typed_and_print_one_line_of_json(cases: Path, start: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    out = tmp_path / "run"
    trained = runner.invoke(app, ["train", str(cases), "--out", str(out), "--from", str(start), "--steps", "2", "--length", "2", "--json"])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["step"] == 2
    again = runner.invoke(app, ["train", "--out", str(out), "--resume", "--json"])
    assert json.loads(again.stdout)["finished"] is True
    weights = out / "weights.safetensors"
    words = [
        "evaluate",
        str(cases),
        "--weights",
        str(weights),
        "--prompt",
        "box",
        "--jitter",
        "0.05",
        "--out",
        str(tmp_path / "report"),
        "--json",
    ]
    measured = runner.invoke(app, words)
    line = json.loads(measured.stdout)
    assert set(line) == {"families", "slices_per_second"}
    assert line["families"]["discs"]["n"] == 2, "train cases are left out"
    assert (tmp_path / "report" / "sheet-1.png").exists()
