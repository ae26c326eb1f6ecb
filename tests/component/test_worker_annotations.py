"""Annotations that are sent to the daemon: they prompt their study's series, whichever came first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, this_process
from dicom_io.received import StoreOutcome
from dicom_io.segmentation_reader import read_segmentation
from tests.component.store_site import arrivals
from tests.component.test_segment_annotations import BOX, REGION, RULES, EchoModel
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
    assert states(site) == [JobState.DELIVERING, JobState.SKIPPED]
    assert "annotation objects: an input" in str(site.store.jobs()[1].error_message)
    assert "job-queued-again" in site.events()
    assert_prompted(site)
