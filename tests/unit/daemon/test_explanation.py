"""`medsam2d rules explain`: every rule, every condition and every prompt of a folder, without a model, and for no other eyes."""

from __future__ import annotations

import io
import json
import re
import stat
from base64 import b64decode
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from rich.console import Console

from daemon.commands.explain import as_json, read_place, run, show, write_sheet
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.explanation import Depth, Explanation
from daemon.explanation_sheet import as_html
from daemon.folder_study import Sender
from daemon.prompt_picture import DrawnObject, colour_of, draw_prompts
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt
from rules.load import load_rules
from rules.rule import RuleSet

RULES = """\
rules:
  - name: for-the-ward
    match: {called_ae_title: AI_WARD, SeriesDescription: {matches: "(?i)secret.*"}}
    destinations: []
    targets: &targets
      - label: Block
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: threshold, low: 100}
      - label: Nothing
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: threshold, low: 2000}
  - name: off
    enabled: false
    match: {Modality: CT}
    destinations: []
    targets: *targets
  - name: thin-ct
    match: {Modality: CT, slices: {range: {minimum: 4}}}
    select: {by: [thinnest]}
    destinations: []
    targets: *targets
  - name: any-ct
    match: {Modality: CT}
    destinations: []
    targets: *targets
"""
DEPTH = Depth()


@pytest.fixture
def ruleset(tmp_path: Path) -> RuleSet:
    (tmp_path / "rules.yaml").write_text(RULES)
    return load_rules([tmp_path / "rules.yaml"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One study: a block in thin and in thick slices, and a series of three slices."""
    for number, (slices, spacing) in enumerate([(6, 5.0), (6, 2.0), (3, 2.0)]):
        voxels = np.full((slices, 12, 10), -100, np.int16)
        voxels[1:3, 2:7, 3:6] = 300
        affine = np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [spacing, 0, 0, 0], [0, 0, 0, 1]])
        study = SyntheticStudy(study_instance_uid="2.25.7", series_instance_uid=f"2.25.7.{number}", seed=number)
        write_ct_series(tmp_path / "dicom" / str(number), voxels, affine, study=study)
    for path in (tmp_path / "dicom" / "1").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = "Secret of Mr Nobody"
        dataset.save_as(path)
    return tmp_path / "dicom"


def explained(folder: Path, ruleset: RuleSet, depth: Depth = DEPTH, sender: Sender | None = None) -> Explanation:
    return run(read_place(str(folder), Config(), sender or Sender()), ruleset, depth)


def test_every_rule_and_condition_is_judged_and_the_first_that_applies_is_named(folder: Path, ruleset: RuleSet) -> None:
    thick, thin, short = explained(folder, ruleset).series
    (volume,) = thin.volumes
    assert [(rule.name, rule.outcome) for rule in volume.rules] == [
        ("for-the-ward", "does not match"),
        ("off", "is not enabled"),
        ("thin-ct", "applies"),
        ("any-ct", "is not reached: an earlier rule applies"),
    ]
    assert [(finding.holds, finding.words) for finding in volume.rules[2].findings] == [
        (True, "Modality: expected 'CT', got 'CT'"),
        (True, "slices: expected at least 4, got '6'"),
    ]
    assert short.volumes[0].rule == "any-ct"
    assert (volume.attributes["slice_spacing_mm"], volume.attributes["has_annotations"]) == ("2", "false")
    assert (
        thick.volumes[0].outcome == "rule 'thin-ct' takes the best series of a study, and 2.25.7.1 is better (thinnest: 5 mm against 2 mm)"
    )


def test_the_prompts_are_those_that_a_job_would_begin_with_and_what_has_none_says_why(folder: Path, ruleset: RuleSet) -> None:
    thick, thin, _ = explained(folder, ruleset).series
    (block,) = thin.volumes[0].objects
    assert (block.label, block.recipe, block.slices) == ("Block", "threshold", (2,))
    assert block.prompts == ("box, columns 3.0 to 5.0, rows 2.0 to 6.0 on slice 2 of 6",)
    (missing,) = thin.volumes[0].missing
    assert missing.startswith("Nothing: ")
    assert thick.volumes[0].objects == ()


def test_the_way_a_study_would_be_sent_can_be_stated(folder: Path, ruleset: RuleSet) -> None:
    _, thin, _ = explained(folder, ruleset, sender=Sender(called_ae_title="AI_WARD")).series
    assert thin.outcome == "rule for-the-ward"


def test_no_value_that_may_identify_the_patient_is_shown_unless_it_is_asked_for(folder: Path, ruleset: RuleSet) -> None:
    hidden = explained(folder, ruleset, Depth(prompts=False))
    console = Console(file=io.StringIO(), width=200)
    show(hidden, console)
    for text in (as_json(hidden), as_html(hidden), console.file.getvalue()):  # type: ignore[attr-defined]
        assert "Nobody" not in text
        assert "Phantom" not in text
    assert "Secret of Mr Nobody" in as_json(explained(folder, ruleset, Depth(prompts=False, identify=True)))


def test_the_sheet_is_one_file_for_this_user_alone_with_the_prompts_drawn(folder: Path, ruleset: RuleSet, tmp_path: Path) -> None:
    sheet = tmp_path / "explain.html"
    sheet.write_text("an older one that everybody can read")
    write_sheet(explained(folder, ruleset), sheet)
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    text = sheet.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    pictures = [Image.open(io.BytesIO(b64decode(data))) for data in re.findall(r"base64,([^\"]+)", text)]
    assert len(pictures) == 2  # the chosen series and the short one
    assert colour_of(1) in {pixel for _, pixel in pictures[0].convert("RGB").getcolors(10**6) or ()}
    assert "<td>2</td>" in text


def test_json_says_it_all_without_pictures(folder: Path, ruleset: RuleSet) -> None:
    found = json.loads(as_json(explained(folder, ruleset)))
    assert set(found) == {"rules", "series", "contests"}
    assert found["contests"][0]["ranking"][0]["key"] == "2.25.7.1"
    volume = found["series"][1]["volumes"][0]
    assert "pictures" not in volume
    assert volume["rules"][2]["findings"][1] == {"holds": True, "words": "slices: expected at least 4, got '6'"}


def test_a_place_that_is_neither_folder_nor_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder of DICOM, or the Study Instance UID"):
        read_place(str(tmp_path / "none"), Config(), Sender())


def test_boxes_points_and_masks_are_drawn_where_they_are() -> None:
    plane = np.zeros((10, 20), np.float32)
    mask = np.zeros((10, 20), np.bool_)
    mask[8:, :2] = True
    box = BoxPrompt(frame=0, left=10, top=2, right=14, bottom=5)
    prompts = (box, PointPrompt(frame=0, points=((5.0, 5.0), (18.0, 8.0)), labels=(1, 0)), MaskPrompt(frame=0, mask=mask))
    drawn = np.asarray(Image.open(io.BytesIO(draw_prompts(plane, (0, 1), (1.0, 1.0), [DrawnObject(object_id=1, prompts=prompts)]))))
    assert drawn.shape == (210, 420, 3)
    rows, columns = np.nonzero((drawn == colour_of(1)).all(axis=2))
    at = set(zip((rows // 21).tolist(), (columns // 21).tolist(), strict=True))
    assert {(2, 10), (5, 14), (5, 5), (8, 18)} <= at
    assert drawn[200, 10].any()
    assert not drawn[3 * 21 + 10, 12 * 21 + 10].any()  # inside the box
    assert DrawnObject(object_id=2, prompts=()).colour != colour_of(1)
