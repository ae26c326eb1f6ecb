"""Images that cannot be used, through the worker: a report says that nobody looked, and a bridged gap gets no frame of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from daemon.audit_chain import records
from daemon.store import JobState, this_process
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.synthesis import write_ct_series
from tests.component.test_worker import RULES, Site, bright

MISSING = 2
"""The slice that was not sent; it lies within the bright block."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven of eight slices, with a bright block on slices 1 to 5."""
    voxels = np.full((8, 10, 8), -100, np.int16)
    voxels[1:6, 2:7, 2:6] = 300
    affine = np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    paths = write_ct_series(tmp_path / "images", voxels, affine)
    paths[MISSING].rename(tmp_path / "late.dcm")
    return tmp_path / "images"


def predecessors_of(report: Dataset) -> list[str]:
    """The documents that a report says it takes the place of."""
    return [
        str(item.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]


def items_of(item: Dataset) -> Iterator[Dataset]:
    """Every content item below one."""
    for below in item.get("ContentSequence", ()):
        yield below
        yield from items_of(below)


def test_a_refused_series_is_reported_as_not_attempted_with_the_reason(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.error_code) == (JobState.REFUSED, "uneven-spacing")
    (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    report = pydicom.dcmread(delivery.path)
    source = pydicom.dcmread(next(iter(images.iterdir())))
    assert (report.PatientID, report.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert "Not Attempted" in str(report)
    (reason,) = [str(item.TextValue) for item in items_of(report) if "uneven-spacing" in str(item.get("TextValue", ""))]
    assert reason.startswith("[uneven-spacing] the slices are unevenly spaced: usually 3.000 mm apart, but 6.000 mm between image 2")
    assert len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence) == 7
    (record,) = records(site.audit_folder)
    assert record.event == "job-refused"
    assert delivery.sop_instance_uid in str(record.details["objects"])


def test_the_report_of_a_refusal_reaches_the_archive_and_leaves_the_job_refused(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    site.worker.work_once()
    (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    site.store.delivered(delivery)
    assert site.state() is JobState.REFUSED
    assert site.store.claim_deliveries(this_process("delivery"), "archive") == ()


def test_a_rule_that_asks_for_the_segmentation_alone_gets_no_report_of_a_refusal(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("    targets:", "    outputs: {objects: [seg]}\n    targets:"))
    site.worker.work_once()
    assert site.state() is JobState.REFUSED
    assert site.store.claim_deliveries(this_process("delivery"), "archive") == ()


def test_a_series_that_no_rule_wants_is_refused_without_a_report(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("Modality: CT", "Modality: MR"))
    site.worker.work_once()
    assert site.state() in (JobState.SKIPPED, JobState.REFUSED)
    assert site.store.claim_deliveries(this_process("delivery"), "archive") == ()


def test_a_bridged_slice_is_seen_by_the_model_and_gets_no_frame_in_the_segmentation(tmp_path: Path, images: Path) -> None:
    seen: list[int] = []

    def answer(frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        seen.append(len(frames))
        return bright(frames)

    site = Site(tmp_path, answer, images, RULES.replace("    targets:", "    gaps: bridge\n    targets:"))
    site.worker.work_once()
    assert seen == [8]
    segmentation, _report = site.store.claim_deliveries(this_process("delivery"), "archive")
    sent = {str(pydicom.dcmread(path).SOPInstanceUID): float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in images.iterdir()}
    dataset = pydicom.dcmread(segmentation.path)
    frames = {
        str(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID): float(
            frame.PlanePositionSequence[0].ImagePositionPatient[2]
        )
        for frame in dataset.PerFrameFunctionalGroupsSequence
    }
    assert len(frames) == 4, "slices 1 to 5 show the block, and slice 2 was not sent"
    assert frames == {uid: sent[uid] for uid in frames}
    assert int(read_segmentation(segmentation.path).masks.sum()) == 4 * 5 * 4


def test_a_report_and_a_refusal_name_the_document_that_they_take_the_place_of(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    site.worker.work_once()
    (refusal,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    site.store.delivered(refusal)

    site.receive(tmp_path / "late.dcm")
    site.worker.work_once()
    segmentation, report = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert predecessors_of(pydicom.dcmread(report.path)) == [refusal.sop_instance_uid]
    site.store.delivered(segmentation)
    site.store.delivered(report)

    stray = pydicom.dcmread(tmp_path / "late.dcm")
    stray.SOPInstanceUID = stray.file_meta.MediaStorageSOPInstanceUID = UID(f"{stray.SOPInstanceUID}.1")
    stray.ImagePositionPatient[2] += 1.0
    stray.save_as(tmp_path / "stray.dcm")
    site.receive(tmp_path / "stray.dcm")
    site.worker.work_once()
    (again,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    dataset = pydicom.dcmread(again.path)
    assert "Not Attempted" in str(dataset)
    assert predecessors_of(dataset) == [refusal.sop_instance_uid, report.sop_instance_uid]
