"""Annotations that come after the images that they were drawn on: the study's jobs that were skipped for want of them run again."""

from __future__ import annotations

import logging

from daemon.annotations import depends_on_annotations, read_study
from daemon.audit import Audit
from daemon.planning import Planned, plan_volumes
from daemon.request import SeriesRequest
from daemon.store import IllegalMove, InputsRemoved, Job, Store
from dicom_io.errors import RejectedInput
from dicom_io.series import read_series
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.annotations")


def queue_again(job: Job, store: Store, ruleset: RuleSet, audit: Audit) -> None:
    """Queue again the skipped jobs of a study whose rule depends on annotations; `job` is that of the annotations. Safe to repeat."""
    for skipped in store.skipped_of_study(job):
        if not _depends_on_annotations(skipped, store, ruleset):
            continue
        try:
            released = store.release(skipped.id)
        except (IllegalMove, InputsRemoved) as error:
            LOG.warning("job %s: annotations of its study came, but it cannot run again: %s", skipped.id, error)
            continue
        audit.job_queued_again(released, job.series_instance_uid)
        LOG.info("job %s: queued again, since annotations of its study came", skipped.id)


def _depends_on_annotations(job: Job, store: Store, ruleset: RuleSet) -> bool:
    try:
        request = SeriesRequest(
            series=read_series(store.instance_paths(job)),
            calling_ae_title=job.calling_ae_title,
            called_ae_title=job.called_ae_title,
            source_address=job.source_address,
            created=job.created_at,
            study=read_study(store.study_paths(job)),
        )
        return any(isinstance(item, Planned) and depends_on_annotations(item.plan) for item in plan_volumes(request, ruleset))
    except (RejectedInput, OSError):
        return False
