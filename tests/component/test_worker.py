"""The worker: what becomes of a job in the store, with a real store and real files and a stand-in for the model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage, generate_uid

from daemon.annotation_objects import is_withheld_result
from daemon.audit import open_audit
from daemon.audit_chain import records, verify
from daemon.config import Config, RulesSettings
from daemon.destination_settings import DicomDestination
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, Results, RuleOutcome, Store, open_store, this_process
from daemon.worker import Worker
from dicom_io.instance import read_header
from dicom_io.part10 import read_file
from dicom_io.received import ReceivedInstance, StoreOutcome
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.segmentation_types import SegmentationForm
from dicom_io.synthesis import write_ct_series
from model.errors import DeviceFault
from model.result import ObjectResult, SegmentationResult, StopReason, Stops
from rules.load import load_rules
from tests.component.store_site import arrivals

RULES = """\
rules:
  - name: box
    match: {Modality: CT}
    destinations: [archive]
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: box, unit: pixel, frame: middle, left: 2, top: 2, right: 5, bottom: 6}
"""

Answer = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class FakeModels:
    """A model room whose one model answers with the mask that the test computes."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def segmenter(self, weights: str | None) -> FakeModels:
        return self

    def sha256(self, weights: str | None) -> str:
        return "ab" * 32

    def segment(self, frames, prompts, options, progress) -> SegmentationResult:  # type: ignore[no-untyped-def]
        mask = self.answer(frames)
        progress(1, len(frames))
        figures = np.full(len(frames), 0.9, np.float32)
        stops = Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END)
        item = ObjectResult(object_id=1, mask=mask, iou=figures, object_score_logit=figures, stability=figures, stopped=stops)
        return SegmentationResult(
            objects=(item,), weights_id="fake", device="cpu", precision="float32", seconds=0.0, frames_encoded=len(frames)
        )


def bright(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return frames > 200


class Site:
    """A store, a spool and a worker in one folder, with one CT series received and queued."""

    def __init__(self, folder: Path, answer: Answer, images: Path, rules: str = RULES) -> None:
        self.clock = FakeClock()
        self.store: Store = open_store(f"sqlite:///{folder / 'store.sqlite'}", self.clock)
        self.audit_folder = folder / "audit"
        (folder / "rules.yaml").write_text(rules)
        spool = Spool(folder / "spool", 0, self.clock)
        self.receiver = Receiver(spool, self.store.record_instances)
        self.receive(*sorted(images.iterdir()))
        self.worker = Worker(
            store=self.store,
            results=Results(folder / "results"),
            audit=open_audit(self.audit_folder, self.clock),
            models=FakeModels(answer),  # type: ignore[arg-type]
            settings=Config(rules=RulesSettings(paths=(folder / "rules.yaml",))),
            ruleset=load_rules([folder / "rules.yaml"]),
            identity=this_process("worker"),
            alive=lambda: None,
            stop=threading.Event(),
        )

    def receive(self, *paths: Path) -> None:
        """Take files in, and queue their series once it is quiet."""
        for path in paths:
            assert self.receiver.receive(received(path)) is StoreOutcome.SUCCESS
        self.clock.pass_seconds(60)
        arrivals(self.store, self.clock).step()

    def state(self) -> JobState:
        (job,) = self.store.jobs()
        return job.state

    def events(self) -> list[str]:
        assert verify(self.audit_folder) is None
        return [record.event for record in records(self.audit_folder)]


def received(path: Path) -> ReceivedInstance:
    stored = read_file(path)
    return ReceivedInstance(
        sop_class_uid=str(stored.meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(stored.meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(stored.meta.TransferSyntaxUID),
        calling_ae_title="SCANNER",
        called_ae_title="MEDSAM2D",
        peer_address="127.0.0.1",
        encoded=stored.encoded,
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six slices with a bright block on four of them."""
    voxels = np.full((6, 10, 8), -100, np.int16)
    voxels[1:5, 2:7, 2:6] = 300
    affine = np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    write_ct_series(tmp_path / "images", voxels, affine)
    return tmp_path / "images"


def test_a_job_becomes_a_durable_result_in_the_outbox_with_its_provenance_audited(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    assert site.worker.work_once()
    assert site.state() is JobState.DELIVERING
    segmentation, report = site.store.claim_deliveries(this_process("delivery"), "archive")
    read = read_segmentation(segmentation.path)
    assert int(read.masks.sum()) == 4 * 5 * 4
    document = pydicom.dcmread(report.path)
    assert document.SOPClassUID == ComprehensiveSRStorage
    assert segmentation.sop_instance_uid in str(document.CurrentRequestedProcedureEvidenceSequence)
    assert site.events() == ["segmentation-created"]
    assert not site.worker.work_once()


def test_a_rerun_of_the_same_job_gives_the_same_bytes(tmp_path: Path, images: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name, bright, images)
        site.worker.work_once()
        contents.append([item.path.read_bytes() for item in site.store.claim_deliveries(this_process("delivery"), "archive")])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_an_empty_mask_is_told_in_a_report_although_there_is_nothing_to_segment(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, lambda frames: frames > 255, images)
    site.worker.work_once()
    (report,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    document = pydicom.dcmread(report.path)
    assert "Rejected for Quality Reasons" in str(document)
    said = {str(element.value) for element in document.iterall() if element.keyword == "TextValue"}
    assert {"Liver", "Liver: the mask is empty", "AI result, not for diagnosis"} <= said


def test_a_rule_that_asks_for_the_segmentation_alone_gets_no_report(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("    targets:", "    outputs: {objects: [seg]}\n    targets:"))
    site.worker.work_once()
    (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert pydicom.dcmread(delivery.path).Modality == "SEG"


def test_a_label_map_waits_with_its_binary_form_and_each_has_its_own_report(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("    targets:", "    outputs: {segmentation_type: labelmap}\n    targets:"))
    site.worker.work_once()
    segmentation, _ = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert read_segmentation(segmentation.path).form is SegmentationForm.LABELMAP
    (record,) = records(site.audit_folder)
    listed: Any = record.details["objects"]
    uids = [str(item["sop_instance_uid"]) for item in listed]
    assert len(set(uids)) == 4
    _, other, _, other_report = uids
    kept = {path.stem: path for path in (tmp_path / "results").glob("*.dcm")}
    binary = read_segmentation(kept[other])
    assert binary.form is SegmentationForm.BINARY
    assert int(binary.masks.sum()) == 4 * 5 * 4
    assert other in str(pydicom.dcmread(kept[other_report]))


def test_a_destination_gets_only_the_objects_that_it_takes(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("    targets:", "    outputs: {objects: [seg, sr, overlay]}\n    targets:"))
    site.worker.settings = site.worker.settings.model_copy(
        update={"destinations": {"archive": DicomDestination(host="127.0.0.1", port=104, ae_title="A", objects=("overlay",))}}
    )
    site.worker.work_once()
    (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert pydicom.dcmread(delivery.path).SOPClassUID == SecondaryCaptureImageStorage


def test_an_object_that_is_not_what_was_meant_is_put_aside_and_never_sent(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer with a fault: it draws every mask upside down."""

    def faulty(volume, masks, segments, identity, **options):  # type: ignore[no-untyped-def]
        return write_segmentation(volume, [mask[::-1] for mask in masks], segments, identity, **options)

    monkeypatch.setattr("daemon.writing.write_segmentation", faulty)
    site = Site(tmp_path, lambda frames: (frames > 200) & (np.arange(len(frames)) < 3)[:, None, None], images)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.error_code) == (JobState.QUARANTINED, "gate-failure")
    assert "expected the voxels that were meant" in (job.error_message or "")
    assert site.events() == ["result-quarantined"]
    assert site.store.claim_deliveries(this_process("delivery"), "archive") == ()
    (kept,) = (tmp_path / "results" / "quarantine").glob("*.dcm")
    assert read_segmentation(kept).frames
    assert "ALERT" in caplog.text


def test_an_empty_mask_is_withheld_and_the_job_skipped_with_the_reason(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, lambda frames: frames > 255, images)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert job.state is JobState.SKIPPED
    assert job.error_message == "Liver: the mask is empty"
    assert site.events() == ["job-skipped"]
    assert site.store.outcomes_by_rule(datetime(2026, 1, 1, tzinfo=UTC)) == {"box": RuleOutcome(rule="box", volumes=1, withheld=1)}


def test_nothing_is_computed_of_a_file_that_changed_on_the_disk_until_the_study_is_sent_once_more(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    damaged = sorted((tmp_path / "spool").rglob("*.dcm"))[2]
    content = bytearray(damaged.read_bytes())
    content[-7] ^= 1  # one bit of one pixel
    damaged.write_bytes(content)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.failures, job.error_code) == (JobState.QUEUED, 0, "spool-damaged")
    assert list((tmp_path / "results").iterdir()) == []
    site.receive(*sorted(images.iterdir()))
    site.clock.pass_seconds(3600)
    site.worker.work_once()
    assert site.state() is JobState.DELIVERING


def test_what_is_withheld_goes_to_its_reviewers_alone_and_says_so(tmp_path: Path, images: Path) -> None:
    rules = RULES.replace("destinations: [archive]", "destinations: [archive]\n    review: [second_look]")
    limited = rules.rstrip() + "\n        limits: {minimum_volume_ml: 5000}\n"
    site = Site(tmp_path, bright, images, limited)
    site.worker.work_once()
    (reported,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    (reviewed,) = site.store.claim_deliveries(this_process("delivery"), "second_look")
    assert pydicom.dcmread(reported.path).Modality == "SR"
    segmentation = pydicom.dcmread(reviewed.path)
    assert segmentation.SeriesDescription.startswith("WITHHELD FOR REVIEW, ")
    assert segmentation.ContentDescription == "AI result, not for diagnosis; WITHHELD FOR REVIEW"
    (algorithm,) = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert "withheld 1=Liver: " in algorithm.AlgorithmParameters
    assert "5000" in algorithm.AlgorithmParameters
    assert read_segmentation(reviewed.path).masks.any()
    assert is_withheld_result(read_header(reviewed.path))
    assert site.state() is JobState.SKIPPED
    details = {record.event: dict(record.details) for record in records(site.audit_folder)}
    assert details["withheld-for-review"]["destinations"] == ["second_look"]
    assert str(details["withheld-for-review"]["objects"]).count(segmentation.SOPInstanceUID) == 1
    assert "job-skipped" in details


def test_without_a_reviewer_nothing_that_is_withheld_is_written(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.rstrip() + "\n        limits: {minimum_volume_ml: 5000}\n")
    site.worker.work_once()
    (reported,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert pydicom.dcmread(reported.path).Modality == "SR"


def test_a_bug_is_counted_and_puts_the_job_aside_after_the_last_attempt(
    tmp_path: Path, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        raise KeyError("what nobody foresaw")

    site = Site(tmp_path, broken, images)
    for _ in range(site.worker.settings.worker.attempts):
        site.clock.pass_seconds(3600)
        assert site.worker.work_once()
    (job,) = site.store.jobs()
    assert job.state is JobState.QUARANTINED
    assert job.error_code == "bug-KeyError"
    assert "what nobody foresaw" in (job.error_message or "")
    assert site.events() == ["job-quarantined"]
    # The log says where it happened, and never what the exception quotes, which may be a patient's.
    assert "in broken" in caplog.text
    assert 'what nobody foresaw")' in caplog.text  # the line of our code
    assert "KeyError: 'what nobody foresaw'" not in caplog.text


def test_a_lack_of_memory_is_tried_again_and_never_counted(tmp_path: Path, images: Path) -> None:
    def full(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        raise MemoryError

    site = Site(tmp_path, full, images)
    for _ in range(5):
        site.clock.pass_seconds(3600)
        assert site.worker.work_once()
    assert site.state() is JobState.QUEUED


def test_a_series_with_a_missing_slice_is_refused_with_its_code(tmp_path: Path, images: Path) -> None:
    sorted(images.iterdir())[2].unlink()
    site = Site(tmp_path, bright, images)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.error_code) == (JobState.REFUSED, "uneven-spacing")
    assert site.events() == ["job-refused"]


def test_a_worker_that_stops_hands_its_job_back_unharmed(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images)
    site.worker.stop.set()
    site.worker.drain_seconds = 0.0
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert (job.state, job.failures) == (JobState.QUEUED, 0)


def test_every_phase_of_a_series_gives_a_result_and_what_is_left_out_is_audited(tmp_path: Path, images: Path) -> None:
    for path in sorted(images.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.AcquisitionNumber = 2
        dataset.save_as(images / f"late-{path.name}")
    scout = pydicom.dcmread(sorted(images.iterdir())[0])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(images / "scout.dcm")
    site = Site(tmp_path, bright, images)
    site.worker.work_once()
    assert site.state() is JobState.DELIVERING
    deliveries = site.store.claim_deliveries(this_process("delivery"), "archive")
    assert sorted(pydicom.dcmread(delivery.path).Modality for delivery in deliveries) == ["SEG", "SEG", "SR", "SR"]
    assert site.events() == ["segmentation-created", "segmentation-created", "left-out"]


def test_a_failed_accelerator_ends_the_worker_and_leaves_the_job_to_the_next_one(tmp_path: Path, images: Path) -> None:
    def fault(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        raise DeviceFault("cuda:0: an illegal memory access was encountered")

    site = Site(tmp_path, fault, images)
    assert site.worker.work_once()
    assert site.worker.stop.is_set()
    (job,) = site.store.jobs()
    assert job.error_code == "device-fault"
    assert job.state is JobState.QUEUED
