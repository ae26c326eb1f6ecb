"""`medsam2d segment` on a study with annotation objects: they prompt the series that they were drawn on, and are tracked on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from daemon.commands.segment import SegmentRequest, SeriesReport, segment_folder
from daemon.config import ResultSettings
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.volume import Volume
from model.options import PropagationOptions
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from model.result import ObjectResult, SegmentationResult, StopReason, Stops
from rules.load import load_rules
from tests.unit.dicom_io.annotations.drawings import (
    TRACKING_UID,
    content,
    group,
    measurements,
    on_image,
    report,
    scoord,
    structure_set,
    to_corner,
    to_mm,
)
from tests.unit.dicom_io.ct_files import SERIES_UID, write_volume

BOX = [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)]
REGION = ("111030", "DCM", "Image Region")
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
        prompt: {{kind: annotation{recipe}}}
"""


class EchoModel:
    """A model that answers every prompt with its own pixels, on its own slice."""

    def segmenter(self, weights: str | None) -> EchoModel:
        return self

    def sha256(self, weights: str | None) -> str:
        return "ab" * 32

    def segment(self, frames: NDArray[np.uint8], prompts: Sequence[Prompt], *_: object) -> SegmentationResult:
        figures = np.full(len(frames), 0.9, np.float32)
        stops = Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END)
        objects = [
            ObjectResult(
                object_id=prompt.object_id,
                mask=_echo(frames, prompt),
                iou=figures,
                object_score_logit=figures,
                stability=figures,
                stopped=stops,
            )
            for prompt in prompts
        ]
        return SegmentationResult(
            objects=tuple(objects), weights_id="echo", device="cpu", precision="float32", seconds=0.0, frames_encoded=len(frames)
        )


def _echo(frames: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    mask = np.zeros(frames.shape[:3], np.bool_)
    if isinstance(prompt, BoxPrompt):
        mask[prompt.frame, int(prompt.top) : int(prompt.bottom) + 1, int(prompt.left) : int(prompt.right) + 1] = True
    elif isinstance(prompt, MaskPrompt):
        mask[prompt.frame] = prompt.mask
    elif isinstance(prompt, PointPrompt):
        for x, y in prompt.points:
            mask[prompt.frame, round(y), round(x)] = True
    return mask


def segmented(folder: Path, recipe: str = "") -> dict[str, SeriesReport]:
    """The reports by Series Instance UID."""
    rules = folder.parent / "rules.yaml"
    rules.write_text(RULES.format(recipe=recipe))
    request = SegmentRequest(source=folder, out=folder.parent / "out", boxes=(), window=None, options=PropagationOptions(), overlay=False)
    reports = segment_folder(request, load_rules([rules]), ResultSettings(), EchoModel(), lambda done, total: None)  # type: ignore[arg-type]
    return {one.series_instance_uid: one for one in reports}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    return tmp_path / "study"


def oblique(study: Path) -> Volume:
    return write_volume(study / "ct", "oblique")


def test_a_region_of_a_report_prompts_its_series_and_its_tracking_lives_on(study: Path) -> None:
    oblique(study)
    report(study / "sr.dcm", measurements(group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))))
    reports = segmented(study)
    assert [one.outcome for one in reports.values()] == ["segmented", "input"]
    read = read_segmentation(Path(reports[SERIES_UID].result))
    (segment,) = read.segments
    assert (segment.tracking_id, segment.tracking_uid, segment.algorithm_type) == ("Target 1", TRACKING_UID, "SEMIAUTOMATIC")
    assert read.masks.shape[0] == 1
    rows, columns = np.nonzero(read.masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 3, 9)
    assert reports[SERIES_UID].reasons == ()


def test_the_result_names_the_object_that_prompted_it(study: Path) -> None:
    oblique(study)
    header = report(study / "sr.dcm", measurements(group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))))
    read = read_segmentation(Path(segmented(study)[SERIES_UID].result))
    algorithm = read.header.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert header.sop_instance_uid in str(algorithm.AlgorithmParameters)


def test_two_regions_of_a_structure_set_are_two_segments_and_a_label_chooses_one(study: Path) -> None:
    volume = oblique(study)
    contours = [[("CLOSED_PLANAR", to_mm(volume.affine, k, BOX[:4]))] for k in (2, 5)]
    structure_set(study / "rs.dcm", contours, series=SERIES_UID)
    both = read_segmentation(Path(segmented(study)[SERIES_UID].result))
    assert [segment.label for segment in both.segments] == ["Lesion 1", "Lesion 2"]
    assert both.segments[0].tracking_uid != both.segments[1].tracking_uid
    one = read_segmentation(Path(segmented(study, ', labels: "Region 2"')[SERIES_UID].result))
    assert [segment.label for segment in one.segments] == ["Lesion"]
    assert one.masks.sum() == 8 * 7


def test_what_is_tracked_stays_the_same_when_another_annotation_is_added(study: Path) -> None:
    volume = oblique(study)
    contours = [[("CLOSED_PLANAR", to_mm(volume.affine, k, BOX[:4]))] for k in (2, 5)]
    structure_set(study / "rs.dcm", contours[1:], series=SERIES_UID)
    alone = read_segmentation(Path(segmented(study)[SERIES_UID].result)).segments[0].tracking_uid
    report(study / "a.dcm", measurements(group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))), uid="1.2.826.0.1.1")
    both = read_segmentation(Path(segmented(study)[SERIES_UID].result)).segments
    assert [segment.tracking_uid for segment in both] == [TRACKING_UID, alone]


def test_a_rerun_gives_the_same_bytes_and_a_moved_annotation_another_object(study: Path) -> None:
    volume = oblique(study)
    structure_set(study / "rs.dcm", [[("CLOSED_PLANAR", to_mm(volume.affine, 2, BOX[:4]))]], series=SERIES_UID)
    first, again = (Path(segmented(study)[SERIES_UID].result) for _ in range(2))
    assert first == again
    structure_set(study / "rs.dcm", [[("CLOSED_PLANAR", to_mm(volume.affine, 3, BOX[:4]))]], series=SERIES_UID)
    assert Path(segmented(study)[SERIES_UID].result) != first


def test_an_own_result_never_prompts_the_next_one(study: Path) -> None:
    volume = oblique(study)
    structure_set(study / "rs.dcm", [[("CLOSED_PLANAR", to_mm(volume.affine, 2, BOX[:4]))]], series=SERIES_UID)
    result = Path(segmented(study)[SERIES_UID].result)
    (study / "rs.dcm").unlink()
    (study / "earlier.dcm").write_bytes(result.read_bytes())
    reports = segmented(study, ", drawn_by: anyone")
    assert [one.outcome for one in reports.values()] == ["skipped", "input"]
    assert reports[SERIES_UID].reasons == ("Lesion: no annotation to prompt with: none lies on this series",)


def test_without_annotations_the_series_is_skipped_and_says_why(study: Path) -> None:
    oblique(study)
    (only,) = segmented(study).values()
    assert (only.outcome, only.reasons) == ("skipped", ("Lesion: no annotation to prompt with: none lies on this series",))


def test_an_item_that_cannot_be_used_is_named_beside_the_result_of_the_others(study: Path) -> None:
    oblique(study)
    kept = group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))
    words = content("TEXT", ("121106", "DCM", "Comment"), TextValue="Mr Secret's lesion")
    lost = group(words, scoord("POLYLINE", to_corner(BOX), on_image(3, uid="1.2.3.4"), concept=REGION))
    report(study / "sr.dcm", measurements(kept, lost))
    found = segmented(study)[SERIES_UID]
    assert found.outcome == "segmented"
    (reason,) = found.reasons
    assert "measurement group 2, image region: [unplaced-annotation]" in reason
    assert "Secret" not in reason


def test_annotations_of_another_study_are_no_input(study: Path) -> None:
    oblique(study)
    header = report(study / "sr.dcm", measurements(group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))))
    dataset = pydicom.dcmread(header.path)
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.999"
    dataset.save_as(header.path)
    assert segmented(study)[SERIES_UID].outcome == "skipped"
