"""Earlier studies in the service: of the same patient, as far as their files are still here, with what this software made of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from daemon.annotation_objects import is_annotation_object
from daemon.annotations import read_study
from daemon.priors import NOBODY, may_want_priors, patient_bucket, same_patient, study_date
from daemon.store import Job, Store
from dicom_io.errors import NotDicom
from dicom_io.instance import InstanceHeader, read_header
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.priors")
TOLD_AT_ONCE = 500
"""Series whose patients are read from their files before that is kept: a store that has never been looked at takes many rounds."""
MOST_STUDIES = 4
"""Earlier studies with segments that are looked at, the newest first: each is read whole."""


def earlier_studies(job: Job, headers: Sequence[InstanceHeader], store: Store, ruleset: RuleSet) -> tuple[InstanceHeader, ...]:
    """Return the instances of the newest earlier studies of the patient that hold segments or contours.

    `headers` are the job's. Empty where no rule asks for priors. A study counts by PatientID with its issuer and by Study Date,
    as `daemon.priors` has it; what has been removed from the spool since is no prior.
    """
    today = study_date(headers)
    if not headers or today is None or not may_want_priors(ruleset):
        return ()
    bucket = patient_bucket(headers[0])
    if bucket == NOBODY:
        return ()
    found: list[InstanceHeader] = []
    _tell_patients(store)
    for uid in _newest_first(store.other_studies(job, bucket), headers[0], today):
        instances = _each_once(read_study(path for path in store.files_of_study(uid) if path.exists()))
        if any(map(is_annotation_object, instances)):
            found += instances
        if len({header.study_instance_uid for header in found}) >= MOST_STUDIES:
            break
    return tuple(found)


def _newest_first(studies: Mapping[str, Sequence[Path]], own: InstanceHeader, today: date) -> list[str]:
    dated: list[tuple[date, str]] = []
    for uid, paths in studies.items():
        # Another system's annotation object may lack the date: a study is told by any of its series.
        headers = [header for path in paths if (header := _representative(path)) is not None and same_patient(header, own)]
        then = study_date(headers)
        if then is not None and then <= today:
            dated.append((then, uid))
    return [uid for _, uid in sorted(dated, reverse=True)]


def _tell_patients(store: Store) -> None:
    """Read whose each series is that came since the last look: one header of it, once for ever."""
    told = True
    while told and (untold := store.untold_series(TOLD_AT_ONCE)):
        buckets = {series.instance_id: bucket for series in untold if (bucket := _bucket_of(series.path)) is not None}
        store.put_in_buckets(buckets)
        told = bool(buckets)


def _bucket_of(path: Path | None) -> int | None:
    """The bucket of a series by its file: nobody's where that is gone or no DICOM, None where it cannot be read at this moment."""
    if path is None:
        return NOBODY
    try:
        return patient_bucket(read_header(path))
    except NotDicom:
        return NOBODY
    except OSError as error:
        LOG.warning("%s: cannot be read now to tell whose study it belongs to: %s", path.name, type(error).__name__)
        return None


def _representative(path: Path) -> InstanceHeader | None:
    try:
        return read_header(path)
    except (NotDicom, OSError) as error:
        LOG.warning("%s: cannot tell whose study it belongs to: %s", path.name, type(error).__name__)
        return None


def _each_once(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    """A result of ours may lie here twice: as it was made, and as an archive sent it back."""
    return list({header.sop_instance_uid: header for header in headers}.values())
