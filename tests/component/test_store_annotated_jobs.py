"""Annotated jobs on a real database: what a job has read, which jobs annotations concern, and the job that runs again over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.store import InputsRemoved, Job, LeaseLost, Priority, Terms
from tests.component.store_site import Site, claimed, instance, queued, result, worker

IMAGES, DRAWN, DRAWN_LATER = "1.2.3", "1.2.4", "1.2.5"


def deliver(site: Site, job: Job) -> None:
    site.store.finish_with_results(job, [result(site.folder, str(job.id))])


def delivered(site: Site) -> Job:
    """A job over images whose result has arrived."""
    queued(site, series=IMAGES)
    job = claimed(site)
    deliver(site, job)
    for delivery in site.store.claim_deliveries(worker(), "pacs"):
        site.store.delivered(delivery)
    return site.store.job(job.id)


def drawings(site: Site, series: str = DRAWN) -> Job:
    """A job over one annotation object of the same study, running."""
    queued(site, series=series, instances=1)
    return claimed(site)


ENDINGS: dict[str, tuple[Callable[[Site, Job], object], bool]] = {
    "running": (lambda _site, _job: None, True),
    "delivering": (deliver, True),
    "skipped by the worker": (lambda site, job: site.store.skip(job, ["no annotation"]), True),
    "skipped in shadow": (lambda site, job: site.store.skip(job, ["in shadow"], code="shadow"), False),
    "queued again": (lambda site, job: site.store.hand_back(job), False),
    "refused": (lambda site, job: site.store.refuse(job, "gantry-tilt", "12 degrees"), False),
    "cancelled": (lambda site, job: site.store.cancel(job.id), False),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_annotations_concern_the_jobs_that_may_have_run_without_them(site: Site, ending: str) -> None:
    end, concerned = ENDINGS[ending]
    queued(site, series=IMAGES)
    job = claimed(site)
    end(site, job)
    annotations = queued(site, series=DRAWN, instances=1)
    assert [found.id for found in site.store.without_annotations(annotations)] == ([job.id] if concerned else [])


def test_annotations_of_another_study_concern_nothing(site: Site) -> None:
    delivered(site)
    elsewhere = drawings(site)
    assert len(site.store.without_annotations(elsewhere)) == 1
    assert site.store.without_annotations(replace(elsewhere, study_instance_uid="1.9")) == ()


def test_what_a_job_has_read_does_not_concern_it_and_a_later_attempt_says_it_anew(site: Site) -> None:
    annotations = queued(site, series=DRAWN, instances=1)
    assert claimed(site).id == annotations.id
    queued(site, series=IMAGES)
    job = claimed(site)
    read = site.store.instance_paths(annotations)
    site.store.note_annotations(job, read)
    site.store.note_annotations(job, [*read, Path("/spool/never-received.dcm")])
    assert site.store.without_annotations(annotations) == ()
    site.store.note_annotations(job, ())
    assert [found.id for found in site.store.without_annotations(annotations)] == [job.id]


def test_a_zombie_cannot_say_what_it_has_read(site: Site) -> None:
    queued(site, series=IMAGES)
    zombie = claimed(site)
    site.store.cancel(zombie.id)
    with pytest.raises(LeaseLost):
        site.store.note_annotations(zombie, [])


def test_a_job_runs_again_over_the_same_instances_and_supersedes_the_first(site: Site) -> None:
    earlier, annotations = delivered(site), drawings(site)
    again = site.store.queue_with_annotations(earlier, annotations)
    assert again is not None
    assert (again.state, again.series_instance_uid) == (JobState.QUEUED, IMAGES)
    assert site.store.instance_paths(again) == site.store.instance_paths(earlier)
    assert site.store.job(earlier.id).superseded_by == again.id
    assert [one.sop_instance_uid for one in site.store.predecessors(again)] == [f"2.25.{earlier.id}"]
    assert site.store.without_annotations(annotations) == ()
    assert ledger(site.store).balanced


def test_the_same_annotations_never_queue_a_second_job(site: Site) -> None:
    earlier, annotations = delivered(site), drawings(site)
    assert site.store.queue_with_annotations(earlier, annotations) is not None
    assert site.store.queue_with_annotations(earlier, annotations) is None
    assert site.store.queue_with_annotations(site.store.job(earlier.id), annotations) is None
    assert len(site.store.jobs()) == 3


def test_each_further_annotation_leads_to_one_more_job_that_counts_those_before_it(site: Site) -> None:
    earlier, annotations = delivered(site), drawings(site)
    again = site.store.queue_with_annotations(earlier, annotations)
    assert again is not None
    site.store.skip(annotations, ["an input"])
    running = claimed(site)
    assert running.id == again.id
    site.store.note_annotations(running, site.store.instance_paths(annotations))
    deliver(site, running)
    more = drawings(site, DRAWN_LATER)
    (concerned,) = (job for job in site.store.without_annotations(more) if job.series_instance_uid == IMAGES)
    assert concerned.id == again.id
    last = site.store.queue_with_annotations(concerned, more)
    assert last is not None
    assert site.store.queue_with_annotations(site.store.job(again.id), more) is None
    assert site.store.job(again.id).superseded_by == last.id
    assert ledger(site.store).balanced


def test_a_job_that_moved_on_since_it_was_listed_is_left_alone(site: Site) -> None:
    queued(site, series=IMAGES)
    running, annotations = claimed(site), queued(site, series=DRAWN, instances=1)
    deliver(site, running)
    assert site.store.queue_with_annotations(running, annotations) is None


def test_a_series_that_waits_for_more_instances_is_left_to_the_job_that_they_will_have(site: Site) -> None:
    earlier, annotations = delivered(site), drawings(site)
    site.store.record_instance(instance(7, site.clock(), series=IMAGES))
    assert site.store.queue_with_annotations(earlier, annotations) is None


def test_a_series_of_which_retention_has_removed_a_part_says_so(site: Site) -> None:
    earlier, annotations = delivered(site), drawings(site)
    site.clock.forward(3600)
    removable = site.store.removable_instances(site.clock() - timedelta(seconds=1), 10)
    site.store.instances_removed([one.id for one in removable][:1])
    with pytest.raises(InputsRemoved, match=r"removed 1 of its instances; send the series again"):
        site.store.queue_with_annotations(site.store.job(earlier.id), annotations)


def test_the_new_job_keeps_the_terms_of_the_first(site: Site) -> None:
    for number in range(2):
        site.store.record_instance(instance(number, site.clock(), series=IMAGES))
    (waiting,) = site.store.waiting_series()
    assert site.store.complete_series(waiting, Priority.STAT, "slices are missing", Terms(selection="{}"))
    site.store.skip(claimed(site), ["no annotation"])
    annotations = drawings(site)
    (earlier,) = site.store.without_annotations(annotations)
    again = site.store.queue_with_annotations(earlier, annotations)
    assert again is not None
    assert (again.priority, again.partial_reason, again.selection) == (Priority.STAT, "slices are missing", "{}")
