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
    """An earlier study and what this software made of it."""
    folder = tmp_path / "studies"
    image = then().volume
    write_ct_series(folder / "then", image.voxels, image.affine, THEN)
    (first,) = segmented(folder, FIXED).values()
    Path(first.result).rename(folder / "then" / "result.dcm")
    return folder


def reports_of(folder: Path, study: SyntheticStudy) -> tuple[SeriesReport, SeriesReport]:
    """What became of the first day's images and of those of another study that joins them."""
    image = then().volume
    write_ct_series(folder / "now", image.voxels, image.affine, study)
    reports = segmented(folder, FOLLOWED)
    parts = [pydicom.dcmread(next((folder / part).glob("*[!t].dcm")), stop_before_pixels=True) for part in ("then", "now")]
    return reports[str(parts[0].SeriesInstanceUID)], reports[str(parts[1].SeriesInstanceUID)]


def test_the_lesion_is_prompted_where_it_was_and_keeps_its_tracking(studies: Path) -> None:
    earlier = read_segmentation(studies / "then" / "result.dcm").segments[0]
    first, report = reports_of(studies, NOW)
    assert first.reasons == (NO_PRIOR,)  # a later study is no prior of an earlier one
    assert report.outcome == "segmented", report.reasons
    read = read_segmentation(Path(report.result))
    (segment,) = read.segments
    assert (segment.tracking_id, segment.tracking_uid) == (earlier.tracking_id, earlier.tracking_uid)
    assert segment.algorithm_type == "AUTOMATIC"
    rows, columns = np.nonzero(read.masks[0])
    # The same trunk: the box stands where it stood, to half a cube of the registration's grid.
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - BOX).max() <= 1


@pytest.mark.parametrize("changes", [{"patient_id": "SOMEONE-ELSE"}, {"patient_id": ""}])
def test_another_patients_study_is_no_prior(studies: Path, changes: dict[str, str]) -> None:
    _, report = reports_of(studies, replace(NOW, **changes))  # type: ignore[arg-type]
    assert (report.outcome, report.reasons) == ("skipped", (NO_PRIOR,))
