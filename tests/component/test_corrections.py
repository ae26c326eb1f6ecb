"""Resends and corrections with real files, a real store and a worker: what costs inference, and what never reaches a patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from daemon.audit_chain import records
from daemon.corrections import compare, examine_conflicts
from daemon.evidence import gather, shortfall
from daemon.ledger import Ledger, ledger
from daemon.mask_shelf import MaskShelf
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import ConflictVerdict, Job, JobState, this_process
from dicom_io.received import StoreOutcome
from dicom_io.synthesis import write_ct_series
from tests.component.store_site import arrivals
from tests.component.test_worker import Site, bright, received

SLICES = 6
Edit = Callable[[pydicom.Dataset], None]


class Hospital:
    """A site whose model counts how often it is asked, and a scanner that sends its images as a test edits them."""

    def __init__(self, folder: Path) -> None:
        self.images = folder / "images"
        voxels = np.full((SLICES, 10, 8), -100, np.int16)
        voxels[1:5, 2:7, 2:6] = 300
        affine = np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
        write_ct_series(self.images, voxels, affine)
        self.inferences = 0
        self.site = Site(folder, self.answer, self.images)
        self.site.worker.shelf = MaskShelf(folder / "masks")
        self.store = self.site.store
        self.receiver = Receiver(Spool(folder / "spool", 0, self.site.clock), self.store.record_instances)

    def answer(self, frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        self.inferences += 1
        return bright(frames)

    def send(self, edit: Edit = lambda _dataset: None, only: int = SLICES) -> None:
        for path in sorted(self.images.iterdir())[:only]:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            edited = path.with_suffix(".edited")
            dataset.save_as(edited)
            assert self.receiver.receive(received(edited)) is StoreOutcome.SUCCESS
            edited.unlink()

    def settle(self) -> tuple[Job, ...]:
        """Examine what came, and let a quiet time pass; return the jobs that this queued."""
        while examine_conflicts(self.store, self.site.worker.audit):
            pass
        self.site.clock.pass_seconds(60)
        return arrivals(self.store, self.site.clock).step()

    def deliver(self) -> pydicom.Dataset:
        """Run the job that waits and deliver its objects; return its segmentation, and keep its report."""
        assert self.site.worker.work_once()
        deliveries = self.store.claim_deliveries(this_process("delivery"), "archive")
        for delivery in deliveries:
            self.store.delivered(delivery)
        segmentation, self.report = (pydicom.dcmread(delivery.path) for delivery in deliveries)
        return segmentation

    def events(self, event: str) -> list[dict[str, object]]:
        return [dict(record.details) for record in records(self.site.audit_folder) if record.event == event]


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


def merge_patients(dataset: pydicom.Dataset) -> None:
    dataset.PatientID = "MERGED-1"
    dataset.PatientName = "Right^Person"


def change_a_pixel(dataset: pydicom.Dataset) -> None:
    pixels = dataset.pixel_array.copy()
    pixels[0, 0] += 1
    dataset.PixelData = pixels.tobytes()


def to_implicit(dataset: pydicom.Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def test_the_same_bytes_again_cost_nothing_and_change_nothing(hospital: Hospital) -> None:
    first = hospital.deliver()
    hospital.send()
    assert hospital.settle() == ()
    assert not hospital.site.worker.work_once()
    assert ledger(hospital.store) == Ledger(received=SLICES, in_results=SLICES)
    assert hospital.inferences == 1
    assert first.SOPInstanceUID


def test_a_corrected_patient_gets_the_result_anew_without_inference_in_place_of_the_old_one(hospital: Hospital) -> None:
    wrong, wrong_report = hospital.deliver(), hospital.report
    hospital.send(merge_patients)
    (job,) = hospital.settle()
    right = hospital.deliver()
    assert hospital.inferences == 1
    assert (right.PatientID, str(right.PatientName)) == ("MERGED-1", "Right^Person")
    assert wrong.PatientID != right.PatientID
    assert wrong.SOPInstanceUID != right.SOPInstanceUID
    assert right.PixelData == wrong.PixelData
    assert right.ContentDescription == "AI result, not for diagnosis; REPLACES EARLIER"
    assert wrong_report.SOPInstanceUID in str(hospital.report.PredecessorDocumentsSequence)
    assert hospital.report.PatientID == "MERGED-1"
    (superseded,) = hospital.events("results-superseded")
    assert (superseded["job"], superseded["superseded_sop_instance_uids"]) == (job.id, [wrong.SOPInstanceUID, wrong_report.SOPInstanceUID])
    assert ledger(hospital.store) == Ledger(received=2 * SLICES, in_results=2 * SLICES)


def test_a_result_for_the_wrong_patient_that_still_waits_never_leaves(hospital: Hospital) -> None:
    assert hospital.site.worker.work_once()
    hospital.send(merge_patients)
    hospital.settle()
    assert [job.state for job in hospital.store.jobs()] == [JobState.SUPERSEDED, JobState.QUEUED]
    assert hospital.deliver().PatientID == "MERGED-1"
    assert hospital.store.claim_deliveries(this_process("delivery"), "archive") == ()


def test_a_correction_that_is_half_through_is_seen_as_two_patients(hospital: Hospital) -> None:
    hospital.deliver()
    hospital.send(merge_patients, only=2)
    examine_conflicts(hospital.store, hospital.site.worker.audit)
    (waiting,) = hospital.store.waiting_series()
    evidence = gather(hospital.store.series_paths(waiting), waiting, hospital.site.worker.ruleset, None)
    assert shortfall(evidence) == "the instances name 2 patients or studies: a correction is not through"


def test_another_image_under_a_taken_uid_is_kept_quarantined_and_told(hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    hospital.deliver()
    hospital.send(change_a_pixel, only=1)
    assert hospital.settle() == ()
    (conflict,) = hospital.store.conflicts()
    assert conflict.verdict is ConflictVerdict.PIXELS_CHANGED
    assert conflict.path.exists()
    assert conflict.standing_path.exists()
    assert ledger(hospital.store) == Ledger(received=SLICES + 1, in_results=SLICES, quarantined=1)
    assert "came again from SCANNER as another image" in caplog.text
    assert [event["verdict"] for event in hospital.events("instance-conflict-examined")] == ["pixels-changed"]


def test_a_quarantined_image_that_a_person_releases_takes_the_place_of_the_first(hospital: Hospital) -> None:
    hospital.deliver()
    hospital.send(change_a_pixel)
    hospital.settle()
    for conflict in hospital.store.conflicts():
        assert hospital.store.conclude(conflict.id, ConflictVerdict.RELEASED)
    (job,) = hospital.settle()
    assert len(hospital.store.instance_paths(job)) == SLICES
    hospital.deliver()
    assert hospital.inferences == 2
    assert ledger(hospital.store) == Ledger(received=2 * SLICES, in_results=2 * SLICES)


def test_the_same_image_in_another_encoding_is_the_same_image(hospital: Hospital) -> None:
    hospital.deliver()
    hospital.send(to_implicit)
    assert hospital.settle() == ()
    assert hospital.store.conflicts() == ()
    assert ledger(hospital.store) == Ledger(received=2 * SLICES, in_results=2 * SLICES)


def test_a_crash_after_inference_costs_no_second_one(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_name: str, _data: bytes) -> Path:
        raise OSError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(hospital.site.worker.results, "write", full)
        assert hospital.site.worker.work_once()
    hospital.site.clock.pass_seconds(3600)
    assert hospital.deliver().Modality == "SEG"
    assert hospital.inferences == 1


def test_masks_that_were_damaged_on_disk_are_made_again(hospital: Hospital, tmp_path: Path) -> None:
    hospital.deliver()
    (kept,) = (tmp_path / "masks").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    hospital.send(merge_patients)
    hospital.settle()
    assert hospital.deliver().PatientID == "MERGED-1"
    assert hospital.inferences == 2


def test_an_image_that_ends_its_examiner_twice_is_left_to_people(hospital: Hospital) -> None:
    hospital.deliver()
    hospital.send(merge_patients, only=1)

    def killed(_first: Path, _second: Path) -> ConflictVerdict:
        raise KeyboardInterrupt

    for verdict in (ConflictVerdict.EXAMINING, ConflictVerdict.UNREADABLE):
        with pytest.raises(KeyboardInterrupt):
            examine_conflicts(hospital.store, hospital.site.worker.audit, killed)
        assert [conflict.verdict for conflict in hospital.store.conflicts()] == [verdict]
    assert examine_conflicts(hospital.store, hospital.site.worker.audit, killed) == 0


def test_an_examiner_that_was_killed_once_costs_the_correction_nothing(hospital: Hospital) -> None:
    hospital.deliver()
    hospital.send(merge_patients)
    for conflict in hospital.store.conflicts():
        hospital.store.conclude(conflict.id, ConflictVerdict.EXAMINING)
    assert len(hospital.settle()) == 1
    assert hospital.deliver().PatientID == "MERGED-1"


EDITS: dict[str, tuple[Edit, ConflictVerdict]] = {
    "nothing": (lambda dataset: None, ConflictVerdict.SAME_IMAGE),
    "the encoding": (to_implicit, ConflictVerdict.SAME_IMAGE),
    "the patient": (merge_patients, ConflictVerdict.HEADER_CORRECTED),
    "a description": (lambda dataset: setattr(dataset, "SeriesDescription", "corrected"), ConflictVerdict.HEADER_CORRECTED),
    "a pixel": (change_a_pixel, ConflictVerdict.PIXELS_CHANGED),
    "the position": (lambda dataset: setattr(dataset, "ImagePositionPatient", [0, 0, 99]), ConflictVerdict.PIXELS_CHANGED),
    "the rescale": (lambda dataset: setattr(dataset, "RescaleIntercept", "-1000"), ConflictVerdict.PIXELS_CHANGED),
    "the pixels are torn": (lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:20]), ConflictVerdict.UNREADABLE),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_edited_decides_what_it_is(tmp_path: Path, edit: str) -> None:
    change, expected = EDITS[edit]
    write_ct_series(tmp_path / "images", np.zeros((3, 8, 8), np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    first = sorted((tmp_path / "images").iterdir())[0]
    dataset = pydicom.dcmread(first)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    change(dataset)
    dataset.save_as(tmp_path / "second.dcm")
    assert compare(first, tmp_path / "second.dcm") is expected
