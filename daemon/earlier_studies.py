"""Earlier studies in the service: of the same patient, as far as their files are still here, with what this software made of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

from daemon.annotation_objects import is_annotation_object
from daemon.annotations import read_study
from daemon.priors import may_want_priors, same_patient, study_date
from daemon.store import Job, Store
from dicom_io.errors import NotDicom
from dicom_io.instance import InstanceHeader, read_header
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.priors")
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
    found: list[InstanceHeader] = []
    for uid in _newest_first(store.other_studies(job), headers[0], today):
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


@lru_cache(maxsize=4096)
def _kept(path: Path) -> InstanceHeader:
    """A spooled file never changes, so that each study's patient is read once a worker."""
    return read_header(path)


def _representative(path: Path) -> InstanceHeader | None:
    try:
        return _kept(path)
    except (NotDicom, OSError) as error:
        LOG.warning("%s: cannot tell whose study it belongs to: %s", path.name, type(error).__name__)
        return None


def _each_once(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    """A result of ours may lie here twice: as it was made, and as an archive sent it back."""
    return list({header.sop_instance_uid: header for header in headers}.values())
