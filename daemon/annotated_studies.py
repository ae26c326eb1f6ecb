"""Annotations that come after the images that they were drawn on: the study's jobs that have not read them run again.

Such a job is a new one over the same instances, and what it makes supersedes what was made without the annotations, as after a
late slice. Where the prompts are the same nothing is inferred again: the masks lie on the shelf.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from daemon.annotation_objects import has_annotations, is_annotation_object
from daemon.annotations import depends_on_annotations, places_by_frame_of_reference, read_study
from daemon.audit import Audit
from daemon.planning import Planned, plan_volumes
from daemon.request import SeriesRequest
from daemon.store import InputsRemoved, Job, Store
from dicom_io.errors import RejectedInput
from dicom_io.instance import InstanceHeader
from dicom_io.series import read_series
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.annotations")


def queue_again(job: Job, annotations: Sequence[InstanceHeader], store: Store, ruleset: RuleSet, audit: Audit) -> None:
    """Queue again the jobs of a study whose rule depends on annotations that they have not read. Safe to repeat.

    `job` is that of the annotations, `annotations` its instances. A job runs again where some of them were drawn on its
    series, or where its rule takes what was drawn on others of the same frame of reference.
    """
    for earlier in store.without_annotations(job):
        if not _is_concerned(earlier, annotations, store, ruleset):
            continue
        try:
            again = store.queue_with_annotations(earlier, job)
        except InputsRemoved as error:
            LOG.warning("job %s: annotations of its study came, but it cannot run again: %s", earlier.id, error)
            continue
        if again is not None:
            audit.job_queued_again(again, earlier, job.series_instance_uid)
            LOG.info("job %s: queued in place of job %s, since annotations of its study came", again.id, earlier.id)


def _is_concerned(job: Job, annotations: Sequence[InstanceHeader], store: Store, ruleset: RuleSet) -> bool:
    try:
        series = read_series(store.instance_paths(job))
        study = read_study(store.study_paths(job))
        request = SeriesRequest(
            series=series,
            calling_ae_title=job.calling_ae_title,
            called_ae_title=job.called_ae_title,
            source_address=job.source_address,
            created=job.created_at,
            study=study,
        )
        plans = [item.plan for item in plan_volumes(request, ruleset) if isinstance(item, Planned) and depends_on_annotations(item.plan)]
    except (RejectedInput, OSError):
        return False
    images = (header for header in study if not is_annotation_object(header))
    return bool(plans) and (any(map(places_by_frame_of_reference, plans)) or has_annotations(series, [*annotations, *images]))
