"""Follow-up in the worker: an earlier study that was received and segmented here prompts the next one, and nobody else's does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.earlier_studies import earlier_studies
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import JobState, this_process
from dicom_io.part10 import read_file
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.series import read_series
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from rules.load import load_rules
from tests.component.store_site import arrivals
from tests.component.test_segment_annotations import EchoModel
from tests.component.test_segment_priors import FIXED, FOLLOWED, NOW, RULES, THEN
from tests.component.test_worker import Site, bright, received
from tests.unit.rules.bodies import then

SENT = RULES.replace("destinations: []", "destinations: [archive]")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The earlier study, received and segmented from a box; from now on the rule follows up."""
    image = then().volume
    write_ct_series(tmp_path / "then", image.voxels, image.affine, THEN)
    made = Site(tmp_path, bright, tmp_path / "then", SENT.format(recipe=FIXED))
    made.worker.models = EchoModel()  # type: ignore[assignment]
    assert made.worker.work_once()
    (tmp_path / "followed.yaml").write_text(SENT.format(recipe=FOLLOWED))
    made.worker.ruleset = load_rules([tmp_path / "followed.yaml"])
    return made


def send(site: Site, folder: Path, study: SyntheticStudy) -> None:
    image = then().volume
    write_ct_series(folder / f"next-{study.seed}", image.voxels, image.affine, study)
    receiver = Receiver(Spool(folder / "spool", 0, site.clock), site.store.record_instances)
    for path in sorted((folder / f"next-{study.seed}").iterdir()):
        receiver.receive(received(path))
    site.clock.pass_seconds(60)
    arrivals(site.store, site.clock).step()


def test_a_result_of_the_earlier_study_prompts_the_next_and_its_tracking_lives_on(site: Site, tmp_path: Path) -> None:
    send(site, tmp_path, NOW)
    assert site.worker.work_once()
    assert [job.state for job in site.store.jobs()] == [JobState.DELIVERING] * 2, site.store.jobs()[-1].error_message
    sent = site.store.claim_deliveries(this_process("delivery"), "archive")
    read = [read_segmentation(one.path) for one in sent if "66.4" in read_sop_class(one.path)]
    tracked = {segment.tracking_uid for segmentation in read for segment in segmentation.segments}
    assert len(read) == 2
    assert len(tracked) == 1


def test_another_patients_study_or_a_later_one_is_not_even_looked_at(site: Site, tmp_path: Path) -> None:
    others = (
        replace(NOW, seed=3, patient_id="SOMEONE-ELSE"),
        replace(NOW, seed=4, patient_id=""),
        replace(NOW, seed=5, study_date="20231231"),
    )
    for study in others:
        send(site, tmp_path, study)
        job = site.store.jobs()[-1]
        headers = read_series(site.store.instance_paths(job)).headers
        assert earlier_studies(job, headers, site.store, site.worker.ruleset) == ()


def test_a_series_is_read_once_to_tell_whose_it_is(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    send(site, tmp_path, replace(NOW, seed=3, patient_id="SOMEONE-ELSE"))
    other, *_ = site.store.jobs()[1:]
    send(site, tmp_path, NOW)
    job = site.store.jobs()[-1]
    headers = read_series(site.store.instance_paths(job)).headers
    found = earlier_studies(job, headers, site.store, site.worker.ruleset)
    assert {header.study_instance_uid for header in found} == {site.store.jobs()[0].study_instance_uid}
    for path in site.store.instance_paths(other):
        path.unlink()
    assert len(earlier_studies(job, headers, site.store, site.worker.ruleset)) == len(found)
    assert not caplog.records


def test_a_file_that_cannot_be_read_now_is_asked_again_later(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    send(site, tmp_path, NOW)
    first, job = site.store.jobs()
    headers = read_series(site.store.instance_paths(job)).headers
    paths = site.store.instance_paths(first)
    for path in paths:
        path.rename(path.with_suffix(".away"))
    assert earlier_studies(job, headers, site.store, site.worker.ruleset) == ()
    assert "cannot be read now to tell whose study it belongs to: FileNotFoundError" in caplog.text
    for path in paths:
        path.with_suffix(".away").rename(path)
    assert len(earlier_studies(job, headers, site.store, site.worker.ruleset)) > len(paths)


def read_sop_class(path: Path) -> str:
    return str(read_file(path).meta.MediaStorageSOPClassUID)
