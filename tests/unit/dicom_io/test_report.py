"""A report says what was meant, other readers understand it, and one that was changed does not pass."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_io.errors import InvalidReport
from dicom_io.measurements import measure
from dicom_io.report import write_report
from dicom_io.report_check import check_report
from dicom_io.report_numbers import reported_numbers
from dicom_io.report_types import Outcome, ReportContent
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_source import SourceHeaders, read_instance_headers, read_source_headers
from dicom_io.uids import derive_uid
from dicom_io.volume import Volume
from tests.e2e.readers import dcentvfy_errors, dciodvfy_errors, tool
from tests.unit.dicom_io.ct_files import write_enhanced_volume, write_volume
from tests.unit.dicom_io.report_examples import MASKS, SEGMENTS, content, without_segment
from tests.unit.dicom_io.results import IDENTITY

REPORT_IDENTITY = replace(IDENTITY, sop_instance_uid=derive_uid("2.25", "report"), series_instance_uid=derive_uid("2.25", "report series"))


def _read(part10: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(part10))


def _written(volume: Volume) -> tuple[bytes, ReportContent, SourceHeaders]:
    headers, said = read_source_headers(volume), content(volume)
    return write_report(said, REPORT_IDENTITY, headers), said, headers


@pytest.mark.parametrize("name", ["axial", "oblique", "enhanced"])
def test_what_was_written_passes_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    volume = write_enhanced_volume(tmp_path / "enhanced.dcm") if name == "enhanced" else write_volume(tmp_path, name)
    part10, said, headers = _written(volume)
    check_report(part10, said, headers)
    assert write_report(content(volume), REPORT_IDENTITY, read_source_headers(volume)) == part10


def test_it_is_a_preliminary_unverified_report_that_says_who_made_it_and_what_it_is_not_for(tmp_path: Path) -> None:
    part10, _, _ = _written(write_volume(tmp_path))
    read = _read(part10)
    assert (read.CompletionFlag, read.PreliminaryFlag, read.VerificationFlag) == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert read.ContentSequence[-1].TextValue == "AI result, not for diagnosis"
    assert read.SeriesDescription == IDENTITY.series_description
    assert (read.ContentDate, read.ContentTime) == ("20240229", "230015.250000")
    (predecessor,) = read.PredecessorDocumentsSequence
    assert predecessor.StudyInstanceUID == read.StudyInstanceUID


def test_validators_and_dcmqi_understand_it(tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct")
    part10, _, headers = _written(volume)
    report, segmentation = tmp_path / "sr.dcm", tmp_path / "seg.dcm"
    report.write_bytes(part10)
    segmentation.write_bytes(write_segmentation(volume, MASKS, SEGMENTS, IDENTITY, headers=headers))
    assert dciodvfy_errors(report) == []
    assert dcentvfy_errors([*(source.path for source in volume.sources if source and source.path), segmentation, report]) == []
    parsed = tmp_path / "sr.json"
    subprocess.run([tool("tid1500reader"), "--inputDICOM", report, "--outputMetadata", parsed], check=True, capture_output=True, timeout=60)
    groups = json.loads(parsed.read_bytes().decode("latin-1"))["Measurements"]
    kidney = next(group for group in groups if group["TrackingIdentifier"] == "Left kidney" and "ReferencedSegment" in group)
    assert (kidney["ReferencedSegment"], kidney["TrackingUniqueIdentifier"]) == (1, SEGMENTS[0].tracking_uid)
    volume_mm3 = next(item["value"] for item in kidney["measurementItems"] if item["quantity"]["CodeValue"] == "118565006")
    assert float(volume_mm3) == pytest.approx(measure(MASKS[0], volume.voxels, volume.affine).volume_mm3, abs=0.05)


def _group(dataset: Dataset, number: int) -> Dataset:
    measured = next(item for item in dataset.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    found: Dataset = measured.ContentSequence[number]
    return found


def _items(group: Dataset, kind: str) -> list[Dataset]:
    return [item for item in group.ContentSequence if item.ValueType == kind]


def _set_number(dataset: Dataset) -> None:
    _items(_group(dataset, 0), "NUM")[0].MeasuredValueSequence[0].NumericValue = "384.1"


def _set_segment(dataset: Dataset) -> None:
    _items(_group(dataset, 0), "IMAGE")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 2


def _set_found(dataset: Dataset) -> None:
    outcome = next(item for item in _items(_group(dataset, 4), "CODE") if item.ConceptNameCodeSequence[0].CodeValue == "111064")
    outcome.ConceptCodeSequence[0].CodeValue = "260373001"


def _move_line(dataset: Dataset) -> None:
    line = _items(_group(dataset, 1), "NUM")[0].ContentSequence[0]
    line.GraphicData = [value + 0.5 for value in line.GraphicData]


def _drop_group(dataset: Dataset) -> None:
    measured = next(item for item in dataset.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    del measured.ContentSequence[-1]


def _drop_evidence(dataset: Dataset) -> None:
    del dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[1:]


def _turn_side(dataset: Dataset) -> None:
    site = next(item for item in _items(_group(dataset, 0), "CODE") if "ContentSequence" in item)
    site.ContentSequence[0].ConceptCodeSequence[0].CodeValue = "24028007"


MUTATIONS: dict[str, tuple[Callable[[Dataset], object], str]] = {
    "another patient": (lambda dataset: setattr(dataset, "PatientID", "X"), "PatientID: expected the source's value"),
    "another study": (lambda dataset: setattr(dataset, "StudyInstanceUID", "1.2.3"), "StudyInstanceUID: expected"),
    "final": (lambda dataset: setattr(dataset, "PreliminaryFlag", "FINAL"), "document: expected"),
    "another volume": (_set_number, "group 1 numbers"),
    "another segment": (_set_segment, "group 1 segment"),
    "found after all": (_set_found, "group 5 codes"),
    "a line half a pixel away": (_move_line, "group 2 numbers"),
    "a target less": (_drop_group, "groups: expected 7, got 6"),
    "evidence missing": (_drop_evidence, "evidence: expected"),
    "nothing superseded": (lambda dataset: delattr(dataset, "PredecessorDocumentsSequence"), "predecessors: expected 1"),
    "another side": (_turn_side, "group 1 laterality"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_report_that_was_changed_is_caught(name: str, tmp_path: Path) -> None:
    part10, said, headers = _written(write_volume(tmp_path))
    mutate, message = MUTATIONS[name]
    dataset = _read(part10)
    mutate(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(InvalidReport, match=message):
        check_report(buffer.getvalue(), said, headers)


def test_bytes_that_are_no_report_are_refused(tmp_path: Path) -> None:
    part10, said, headers = _written(write_volume(tmp_path))
    for broken in (b"nothing", part10[:1500]):
        with pytest.raises(InvalidReport, match="expected a complete Part 10 report"):
            check_report(broken, said, headers)


def test_a_refusal_needs_no_volume(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    headers = read_instance_headers([source.path for source in volume.sources if source and source.path])
    said = ReportContent(targets=(without_segment("Spleen", Outcome.REFUSED, "slice 4 is missing"),), unit="", modality="CT")
    check_report(write_report(said, IDENTITY, headers), said, headers)


def test_intensities_are_named_by_their_unit_and_left_out_where_nobody_states_it(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    found = measure(MASKS[0], volume.voxels, volume.affine, peak=True)
    named = {
        unit: [number.name.value for number in reported_numbers(found, unit, modality)]
        for unit, modality in (("HU", "CT"), ("SUVbw", "PT"), ("", "MR"), ("", "XA"))
    }
    sizes = ["118565006", "103339001", "103340004"]
    assert named == {"HU": sizes + ["112031"] * 5, "SUVbw": sizes + ["126401"] * 5, "": sizes}


def test_a_report_on_nothing_and_measures_without_a_segment_are_refused(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    said = content(volume)
    with pytest.raises(ValueError, match="expected at least one target"):
        write_report(replace(said, targets=()), IDENTITY, read_source_headers(volume))
    with pytest.raises(ValueError, match="expected measures exactly where there is a segment"):
        replace(said.targets[0], outcome=Outcome.WITHHELD)
