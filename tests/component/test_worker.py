"""The worker: what becomes of a job in the store, with a real store and real files and a stand-in for the model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.audit import open_audit
from daemon.audit_chain import records, verify
from daemon.config import Config, RulesSettings
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, Results, Store, open_store, this_process
from daemon.worker import Worker
from dicom_io.part10 import read_file
from dicom_io.received import ReceivedInstance, StoreOutcome
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.synthesis import write_ct_series
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

    def __init__(self, folder: Path, answer: Answer, images: Path) -> None:
        self.clock = FakeClock()
        self.store: Store = open_store(f"sqlite:///{folder / 'store.sqlite'}", self.clock)
        self.audit_folder = folder / "audit"
        (folder / "rules.yaml").write_text(RULES)
        spool = Spool(folder / "spool", 0, self.clock)
        receiver = Receiver(spool, self.store.record_instance)
        for path in sorted(images.iterdir()):
            assert receiver.receive(received(path)) is StoreOutcome.SUCCESS
        self.clock.pass_seconds(60)
        arrivals(self.store, self.clock).step()
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
    (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
    read = read_segmentation(delivery.path)
    assert int(read.masks.sum()) == 4 * 5 * 4
    assert site.events() == ["segmentation-created"]
    assert not site.worker.work_once()


def test_a_rerun_of_the_same_job_gives_the_same_bytes(tmp_path: Path, images: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name, bright, images)
        site.worker.work_once()
        (delivery,) = site.store.claim_deliveries(this_process("delivery"), "archive")
        contents.append(delivery.path.read_bytes())
    assert contents[0] == contents[1]


def test_an_empty_mask_is_withheld_and_the_job_skipped_with_the_reason(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, lambda frames: frames > 255, images)
    site.worker.work_once()
    (job,) = site.store.jobs()
    assert job.state is JobState.SKIPPED
    assert job.error_message == "Liver: the mask is empty"
    assert site.events() == ["job-skipped"]


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
