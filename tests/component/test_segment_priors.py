"""`medsam2d segment` on a folder with an earlier study and our own segmentation of it: the lesion is prompted again and tracked on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from daemon.commands.segment import SegmentRequest, SeriesReport, segment_folder
from daemon.config import ResultSettings
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from model.options import PropagationOptions
from rules.load import load_rules
from tests.component.test_segment_annotations import EchoModel
from tests.unit.rules.bodies import then

RULES = """\
rules:
  - name: lesions
    match: {{Modality: CT}}
    destinations: []
    targets:
      - label: Lesion
        category: MorphologicallyAbnormalStructure
        type: {{value: "52988006", scheme: SCT, meaning: Lesion}}
        window: {{low: -160, high: 240}}
        prompt: {recipe}
"""
BOX = (30, 18, 42, 30)
FIXED = "{kind: box, unit: pixel, frame: 20, left: 30, top: 18, right: 42, bottom: 30}"
NO_PRIOR = "Lesion: no segment of an earlier study: no earlier study of this patient holds any"
FOLLOWED = "{kind: prior, deformable: false}"


def segmented(folder: Path, recipe: str) -> dict[str, SeriesReport]:
    """The reports by Series Instance UID; results stand in a folder of their own."""
    rules = folder.parent / "rules.yaml"
    rules.write_text(RULES.format(recipe=recipe))
    request = SegmentRequest(source=folder, out=folder.parent / "out", boxes=(), window=None, options=PropagationOptions(), overlay=False)
    reports = segment_folder(request, load_rules([rules]), ResultSettings(), EchoModel(), lambda done, total: None)  # type: ignore[arg-type]
    return {one.series_instance_uid: one for one in reports}


THEN = SyntheticStudy(seed=1, study_date="20240229")
NOW = replace(THEN, seed=2, study_date="20250301")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """An earlier study and what this software made of it, and the same patient's study of a year later."""
    folder = tmp_path / "studies"
    image = then().volume
    write_ct_series(folder / "then", image.voxels, image.affine, THEN)
    (first,) = segmented(folder, FIXED).values()
    Path(first.result).rename(folder / "then" / "result.dcm")
    write_ct_series(folder / "now", image.voxels, image.affine, NOW)
    return folder


def report_of(folder: Path, part: str) -> SeriesReport:
    """What became of the images in a part of the folder."""
    header = pydicom.dcmread(next(path for path in (folder / part).iterdir() if path.name != "result.dcm"), stop_before_pixels=True)
    return segmented(folder, FOLLOWED)[str(header.SeriesInstanceUID)]


def test_the_lesion_is_prompted_where_it_was_and_keeps_its_tracking(studies: Path) -> None:
    earlier = read_segmentation(studies / "then" / "result.dcm").segments[0]
    report = report_of(studies, "now")
    assert report.outcome == "segmented", report.reasons
    read = read_segmentation(Path(report.result))
    (segment,) = read.segments
    assert (segment.tracking_id, segment.tracking_uid) == (earlier.tracking_id, earlier.tracking_uid)
    assert segment.algorithm_type == "AUTOMATIC"
    rows, columns = np.nonzero(read.masks[0])
    # The same trunk: the box stands where it stood, to half a cube of the registration's grid.
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - BOX).max() <= 1


def test_the_earlier_study_is_not_prompted_by_the_later_one(studies: Path) -> None:
    assert report_of(studies, "then").reasons == (NO_PRIOR,)


@pytest.mark.parametrize("changes", [{"patient_id": "SOMEONE-ELSE"}, {"patient_id": ""}])
def test_another_patients_study_is_no_prior(studies: Path, changes: dict[str, str]) -> None:
    image = then().volume
    write_ct_series(studies / "other", image.voxels, image.affine, replace(NOW, seed=3, **changes))  # type: ignore[arg-type]
    report = report_of(studies, "other")
    assert (report.outcome, report.reasons) == ("skipped", (NO_PRIOR,))
