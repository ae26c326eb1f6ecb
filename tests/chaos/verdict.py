"""The verdict on an episode: what the senders saw, what the store, the folders and the audit trail say, what the archive holds."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from sqlalchemy import select

from daemon.audit_chain import records, verify
from daemon.config import load_config
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, OUTBOX
from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.store import OutboxState, Store
from dicom_io.part10 import read_file
from tests.chaos.senders import Sent
from tests.e2e.harness import Site

COMMITTED = re.compile(r"medsam2d\.worker: job (\d+): \d+ volume\(s\), \d+ left out")
"""A worker's word that the results of an attempt were committed."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an episode left behind, once everything is quiet; the service has stopped and the archive runs."""

    site: Site
    store: Store
    sent: Sent
    held: Mapping[str, Sequence[bytes]]
    """SOP Instance UID -> the data sets that the archive holds under it."""
    interruptions: int
    """How often sending may have been broken: each such moment may cost one resend, and no more."""
    keeps_one: bool
    """Whether the archive keeps one object a UID, however often it comes."""
    damaged: int
    """How many files of the spool were damaged: each may lie in quarantine beside the one that was sent again."""


def violations(evidence: Evidence) -> list[str]:
    """Return every promise that was broken, in words; empty where all were kept."""
    return [
        *_lost(evidence),
        *_unexplained(evidence),
        *_without_result(evidence),
        *_wrong_in_the_archive(evidence),
        *_sent_too_often(evidence),
        *_committed_twice(evidence),
        *_leaked(evidence),
        *_broken_books(evidence),
    ]


def sends(evidence: Evidence) -> Counter[str]:
    """SOP Instance UID -> how often it went out: the audit trail says so before the first byte does."""
    begun = (record for record in records(evidence.site.folder / "state" / "audit") if record.event == "delivery-begun")
    return Counter(str(record.details["sop_instance_uid"]) for record in begun)


def _lost(evidence: Evidence) -> Iterator[str]:
    with evidence.store.database.reading() as connection:
        paths = dict(connection.execute(select(INSTANCE.c.sop_instance_uid, INSTANCE.c.path)).all())
    for file in evidence.sent.acknowledged:
        original = read_file(file)
        uid = str(original.meta.MediaStorageSOPInstanceUID)
        if uid not in paths:
            yield f"lost: {file} was acknowledged and has no row"
        elif not Path(paths[uid]).exists():
            yield f"lost: {file} was acknowledged and its file is gone"
        elif read_file(Path(paths[uid])).encoded != original.encoded:
            yield f"changed: {file} does not lie in the spool as it was sent"


def _unexplained(evidence: Evidence) -> Iterator[str]:
    found = ledger(evidence.store)
    if found.unexplained or found.received != found.in_results + found.quarantined or found.quarantined > evidence.damaged:
        yield f"ledger: expected every instance in a delivered result, got {found}"
    if found.received < len(evidence.sent.acknowledged):
        yield f"ledger: {len(evidence.sent.acknowledged)} instances were acknowledged, {found.received} are on record"


def _without_result(evidence: Evidence) -> Iterator[str]:
    with evidence.store.database.reading() as connection:
        jobs = connection.execute(select(JOB.c.id, JOB.c.state, JOB.c.error_code, JOB.c.study_instance_uid)).all()
        sizes = Counter(connection.scalars(select(JOB_INSTANCE.c.job_id)))
        outbox = connection.execute(select(OUTBOX.c.job_id, OUTBOX.c.sop_instance_uid, OUTBOX.c.state)).all()
    delivered = {row.id: row.study_instance_uid for row in jobs if row.state == JobState.DELIVERED.value}
    unfinished = [(row.id, row.state, row.error_code) for row in jobs if row.id not in delivered and row.state != JobState.SUPERSEDED.value]
    if unfinished:
        yield f"unfinished: {unfinished}"
    for study in evidence.sent.studies:
        files = sorted(study.iterdir())
        uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        whole = [job for job, of in delivered.items() if of == uid and sizes[job] == len(files)]
        if len(whole) != 1:
            yield f"results: expected one delivered job over the {len(files)} instances of {study}, got {whole}"
    for row in outbox:
        if row.job_id in delivered and row.state != OutboxState.DELIVERED.value:
            yield f"outbox: job {row.job_id} is delivered and {row.sop_instance_uid} is {row.state}"
        if row.state == OutboxState.DELIVERED.value and row.sop_instance_uid not in evidence.held:
            yield f"archive: {row.sop_instance_uid} counts as delivered and is not there"
    twice = [key for key, count in Counter((row.job_id, row.sop_instance_uid) for row in outbox).items() if count > 1]
    if twice:
        yield f"outbox: expected one item for each result of a job, got several of {twice}"


def _wrong_in_the_archive(evidence: Evidence) -> Iterator[str]:
    made = {path.stem: read_file(path).encoded for path in (evidence.site.folder / "state" / "results").glob("*.dcm")}
    for uid, copies in evidence.held.items():
        if uid not in made:
            yield f"archive: holds {uid}, which was never made"
            continue
        if evidence.keeps_one and len(copies) != 1:
            yield f"archive: expected one instance of {uid}, got {len(copies)}"
        # What storescp had of an object when it was ended itself: it acknowledged none of it.
        whole = [copy for copy in copies if not (len(copy) < len(made[uid]) and made[uid].startswith(copy))]
        if not whole or any(copy != made[uid] for copy in whole):
            yield f"archive: {uid} is not there with the bytes that were made"


def _sent_too_often(evidence: Evidence) -> Iterator[str]:
    counts = sends(evidence)
    again = sum(count - 1 for count in counts.values())
    if again > evidence.interruptions:
        yield f"sends: {again} resends after {evidence.interruptions} interruptions of sending"
    for uid, copies in evidence.held.items():
        if len(copies) > counts[uid]:
            yield f"sends: {uid} came {len(copies)} times, and {counts[uid]} sends are on record"


def _committed_twice(evidence: Evidence) -> Iterator[str]:
    logs = "".join(path.read_text() for path in evidence.site.folder.glob("*.log"))
    twice = [job for job, count in Counter(COMMITTED.findall(logs)).items() if count > 1]
    if twice:
        yield f"leases: the results of jobs {twice} were committed more than once"


def _leaked(evidence: Evidence) -> Iterator[str]:
    state = evidence.site.folder / "state"
    with evidence.store.database.reading() as connection:
        known = {Path(path) for path in connection.scalars(select(INSTANCE.c.path))}
        known |= {Path(path) for path in connection.scalars(select(OUTBOX.c.path))}
    for folder in (state / "spool", state / "results"):
        for path in folder.rglob("*"):
            if path.is_file() and path not in known:
                yield f"leaked: {path}"
    for path in (state / "masks").rglob("*.part"):
        yield f"leaked: {path}"


def _broken_books(evidence: Evidence) -> Iterator[str]:
    broken = verify(evidence.site.folder / "state" / "audit")
    if broken is not None:
        yield f"audit: {broken}"
    file = evidence.site.folder / "state" / "medsam2d.sqlite"
    if file.exists() and load_config(evidence.site.config).store.url is None:
        with sqlite3.connect(file) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        if answer != "ok":
            yield f"database: {answer}"
