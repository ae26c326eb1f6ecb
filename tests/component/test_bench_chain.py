"""The benchmark of the whole chain: what a rule's own prompt came to stands beside what a box around the truth gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from daemon.benchmarks.chain import measure_cases, measure_chain
from daemon.config import ResultSettings
from daemon.errors import ConfigError
from daemon.stages import Stages
from daemon.tools import Tools
from dicom_io.series import find_instances, read_series
from dicom_io.volume_reader import read_volume
from model.options import PropagationOptions
from rules.load import load_rules
from tests.component.test_segment_annotations import BOX, RULES, EchoModel
from tests.unit.dicom_io.annotations.drawings import structure_set, to_mm
from tests.unit.dicom_io.ct_files import SERIES_UID, write_volume

HALF = "{kind: box, unit: pixel, frame: 2, left: 3, top: 4, right: 9, bottom: 7}"
"""The upper half of what was drawn."""
DRAWN = HALF.replace("bottom: 7", "bottom: 11")


def tools_for(folder: Path, rules: str) -> Tools:
    (folder / "rules.yaml").write_text(rules)
    return Tools(
        ruleset=load_rules([folder / "rules.yaml"]),
        models=EchoModel(),  # type: ignore[arg-type]
        result=ResultSettings(),
        stage=Stages(),
        progress=lambda _done, _total: None,
        options=PropagationOptions(),
    )


@pytest.mark.parametrize(("prompt", "expected"), [("{kind: annotation}", 1.0), (HALF, 2 * 28 / (28 + 56))])
def test_a_recipe_that_misses_half_is_told_from_weights_that_do(tmp_path: Path, prompt: str, expected: float) -> None:
    study = tmp_path / "study"
    write_volume(study, "oblique")
    affine = read_volume(read_series([header.path for header in find_instances(study)])).affine
    structure_set(study / "rs.dcm", [[("CLOSED_PLANAR", to_mm(affine, 2, BOX[:4]))]], series=SERIES_UID)
    tools = tools_for(tmp_path, RULES.format(recipe="").replace("{kind: annotation}", prompt))
    (score,) = measure_chain(study, "MEDSAM2D", (), tools)
    assert (score.rule, score.structure, score.prompted) == ("lesions", "Region 1", 1)
    assert np.isclose(score.dice, expected)
    assert score.dice_from_true_box == 1.0
    assert list(measure_chain(study, "MEDSAM2D", ("another",), tools)) == []


@pytest.mark.parametrize(
    ("modality", "prompt", "expected"),
    [("CT", DRAWN, (1, 1.0)), ("MR", DRAWN, (1, 1.0)), ("MR", "{kind: threshold, low: 9000}", (0, 0.0))],
)
def test_a_labelled_volume_is_measured_as_a_dicom_study(tmp_path: Path, modality: str, prompt: str, expected: tuple[int, float]) -> None:
    frames, labels = np.zeros((5, 20, 28), np.uint8), np.zeros((5, 20, 28), np.uint8)
    frames[2, 4:12, 3:10], labels[2, 4:12, 3:10] = 200, 7
    meta = json.dumps({"labels": {"Cube": 7}, "modality": modality})
    np.savez(tmp_path / "case.npz", imgs=frames, gts=labels, spacing=np.array([3.0, 1.0, 1.0]), meta=meta)
    rules = RULES.format(recipe="").replace("{kind: annotation}", prompt).replace("Modality: CT", f"Modality: {modality}")
    (score,) = measure_cases([tmp_path / "case.npz"], "MEDSAM2D", (), tools_for(tmp_path, rules))
    assert (score.modality, score.structure) == (modality, "Cube")
    assert (score.prompted, score.dice) == expected
    assert score.dice_from_true_box == 1.0


def test_a_labelled_volume_of_a_modality_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    cube = np.ones((3, 8, 8), np.uint8)
    np.savez(tmp_path / "case.npz", imgs=cube, gts=cube, spacing=np.ones(3), meta=json.dumps({"modality": "PT"}))
    with pytest.raises(ConfigError, match=r"case\.npz: meta: expected the modality CT or MR, got PT"):
        list(measure_cases([tmp_path / "case.npz"], "MEDSAM2D", (), tools_for(tmp_path, RULES.format(recipe=""))))
