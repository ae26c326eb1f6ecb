"""The benchmark of the whole chain: what a rule's own prompt came to stands beside what a box around the truth gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daemon.benchmarks.chain import measure_chain
from daemon.config import ResultSettings
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


@pytest.mark.parametrize(("prompt", "expected"), [("{kind: annotation}", 1.0), (HALF, 2 * 28 / (28 + 56))])
def test_a_recipe_that_misses_half_is_told_from_weights_that_do(tmp_path: Path, prompt: str, expected: float) -> None:
    study = tmp_path / "study"
    write_volume(study, "oblique")
    affine = read_volume(read_series([header.path for header in find_instances(study)])).affine
    structure_set(study / "rs.dcm", [[("CLOSED_PLANAR", to_mm(affine, 2, BOX[:4]))]], series=SERIES_UID)
    (tmp_path / "rules.yaml").write_text(RULES.format(recipe="").replace("{kind: annotation}", prompt))
    tools = Tools(
        ruleset=load_rules([tmp_path / "rules.yaml"]),
        models=EchoModel(),  # type: ignore[arg-type]
        result=ResultSettings(),
        stage=Stages(),
        progress=lambda _done, _total: None,
        options=PropagationOptions(),
    )
    (score,) = measure_chain(study, "MEDSAM2D", (), tools)
    assert (score.rule, score.structure, score.prompted) == ("lesions", "Region 1", 1)
    assert np.isclose(score.dice, expected)
    assert score.dice_from_true_box == 1.0
    assert list(measure_chain(study, "MEDSAM2D", ("another",), tools)) == []
