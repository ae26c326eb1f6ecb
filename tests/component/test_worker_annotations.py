"""Annotations that are sent to the daemon: they prompt their study's series, whichever came first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from daemon.audit_chain import records
from daemon.ledger import ledger
from daemon.mask_shelf import MaskShelf
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, this_process
from dicom_io.received import StoreOutcome
from dicom_io.segmentation_reader import read_segmentation
from tests.component.store_site import arrivals
from tests.component.test_segment_annotations import BOX, REGION, RULES, EchoModel
from tests.component.test_worker import RULES as BOX_RULES
from tests.component.test_worker import Site, bright, received
from tests.unit.dicom_io.annotations.drawings import TRACKING_UID, group, measurements, on_image, report, scoord, to_corner
from tests.unit.dicom_io.ct_files import write_volume


def send(site: Site, folder: Path, path: Path) -> None:
    """An instance that arrives, and a quiet time after it."""
    receiver = Receiver(Spool(folder / "spool", 0, site.clock), site.store.record_instances)
    assert receiver.receive(received(path)) is StoreOutcome.SUCCESS
    site.clock.pass_seconds(60)
    arrivals(site.store, site.clock).step()


def drawn(folder: Path) -> Path:
    """A report with one region on a slice of the series."""
    region = group(scoord("POLYLINE", to_corner(BOX), on_image(3), concept=REGION))
    return report(folder / "sr.dcm", measurements(region)).path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A CT series whose rule wants annotations, received and queued."""
    write_volume(tmp_path / "images", "oblique")
    rules = RULES.format(recipe="").replace("destinations: []", "destinations: [archive]")
    made = Site(tmp_path, bright, tmp_path / "images", rules)
    made.worker.models = EchoModel()  # type: ignore[assignment]
    return made


def states(site: Site) -> list[JobState]:
    return [job.state for job in site.store.jobs()]


def assert_prompted(site: Site) -> None:
    deliveries = site.store.claim_deliveries(this_process("delivery"), "archive")
    segmentation, *_ = (read_segmentation(one.path) for one in deliveries[:1])
    (segment,) = segmentation.segments
    assert (segment.tracking_uid, segment.algorithm_type) == (TRACKING_UID, "SEMIAUTOMATIC")
    rows, columns = np.nonzero(segmentation.masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 3, 9)
    assert len(deliveries) == 2  # the segmentation and its report: nothing of an earlier attempt


def test_annotations_that_are_there_prompt_the_series_of_their_study(site: Site, tmp_path: Path) -> None:
    send(site, tmp_path, drawn(tmp_path))
    while site.worker.work_once():
        pass
    assert states(site) == [JobState.DELIVERING, JobState.SKIPPED]
    assert_prompted(site)


def test_annotations_that_come_later_let_the_skipped_job_run_again(site: Site, tmp_path: Path) -> None:
    assert site.worker.work_once()
    assert states(site) == [JobState.SKIPPED]
    send(site, tmp_path, drawn(tmp_path))
    while site.worker.work_once():
        pass
    assert states(site) == [JobState.SKIPPED, JobState.SKIPPED, JobState.DELIVERING]
    assert "annotation objects: an input" in str(site.store.jobs()[1].error_message)
    assert "job-queued-again" in site.events()
    assert_prompted(site)


def test_annotations_that_come_after_the_delivery_supersede_what_was_made_without_them(site: Site, tmp_path: Path) -> None:
    send(site, tmp_path, drawn(tmp_path))
    while site.worker.work_once():
        pass
    first, first_report = deliver(site)
    second = group(scoord("POLYLINE", to_corner(BOX), on_image(1), concept=REGION))
    second.ContentSequence[1].UID = "2.25.7"
    send(site, tmp_path, report(tmp_path / "more.dcm", measurements(second), uid="2.25.8").path)
    while site.worker.work_once():
        pass
    job = site.store.jobs()[-1]
    assert site.store.jobs()[0].superseded_by == job.id
    right, right_report = deliver(site)
    assert {str(segment.TrackingUID) for segment in first.SegmentSequence} == {TRACKING_UID}
    assert {str(segment.TrackingUID) for segment in right.SegmentSequence} == {TRACKING_UID, "2.25.7"}
    assert right.ContentDescription == "AI result, not for diagnosis; REPLACES EARLIER"
    assert first_report.SOPInstanceUID in str(right_report.PredecessorDocumentsSequence)
    (superseded,) = (dict(record.details) for record in records(site.audit_folder) if record.event == "results-superseded")
    assert superseded["superseded_sop_instance_uids"] == [first.SOPInstanceUID, first_report.SOPInstanceUID]
    assert ledger(site.store).balanced


def test_annotations_that_a_job_has_read_or_that_lie_elsewhere_let_nothing_run_again(site: Site, tmp_path: Path) -> None:
    send(site, tmp_path, drawn(tmp_path))
    while site.worker.work_once():
        pass
    deliver(site)
    elsewhere = group(scoord("POLYLINE", to_corner(BOX), on_image(3, uid="2.25.77"), concept=REGION))
    send(site, tmp_path, drawn(tmp_path))
    send(site, tmp_path, report(tmp_path / "more.dcm", measurements(elsewhere), uid="2.25.8").path)
    while site.worker.work_once():
        pass
    assert states(site) == [JobState.DELIVERED, JobState.SKIPPED, JobState.SKIPPED]
    assert "job-queued-again" not in site.events()


def test_a_rule_that_only_asks_whether_something_was_drawn_infers_nothing_anew(tmp_path: Path) -> None:
    write_volume(tmp_path / "images", "oblique")
    asked = []

    def answer(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        asked.append(len(frames))
        return np.ones(frames.shape[:3], np.bool_)

    made = Site(
        tmp_path, answer, tmp_path / "images", BOX_RULES.replace("{Modality: CT}", "{any: [{has_annotations: true}, {Modality: CT}]}")
    )
    made.worker.shelf = MaskShelf(tmp_path / "masks")
    assert made.worker.work_once()
    first, _ = deliver(made)
    send(made, tmp_path, drawn(tmp_path))
    while made.worker.work_once():
        pass
    again, _ = deliver(made)
    assert len(asked) == 1
    assert again.PixelData == first.PixelData
    assert again.SOPInstanceUID != first.SOPInstanceUID


def deliver(site: Site) -> list[pydicom.Dataset]:
    """Everything that waits for the archive, delivered: the segmentation and the report."""
    deliveries = site.store.claim_deliveries(this_process("delivery"), "archive")
    for delivery in deliveries:
        site.store.delivered(delivery)
    return [pydicom.dcmread(delivery.path) for delivery in deliveries]
