"""The audit trail: who sent what, what was made of it with which model, and who received it.

One method an event, so that each event always has the same fields. What points at a patient: study, series and SOP Instance
UIDs, and AE titles and addresses of machines. Names, patient ids, dates of birth and pixel values are never recorded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.audit_chain import AuditChain, AuditRecord, Json
from daemon.clock import Clock, system_clock
from daemon.person import Person
from daemon.store import Conflict, ConflictVerdict, Delivery, Job, OutboxState, WaitingSeries
from daemon.version import version

if TYPE_CHECKING:  # these bring torch and highdicom, which the listener never needs
    from daemon.provenance import Provenance
    from daemon.written import ObjectKind, WrittenObject
    from dicom_io.association_log import AssociationEvent
    from rules.quality import Verdict
    from rules.selection import Ranked

ASSOCIATION_EVENTS = {
    "rejected": "association-rejected",
    "released": "instances-received",
    "aborted": "instances-received",
    "store-failed": "store-failed",
}
"""Kind of association event -> audit event. Associations that brought no instance (verification, say) leave no record."""


class Audit:
    """Appends events to the trail; each is on disk when its method returns, and OSError says that it is not."""

    def __init__(self, chain: AuditChain) -> None:
        self._chain = chain

    def application_started(self) -> AuditRecord:
        """The service begins."""
        return self._append("application-start", version=version(), pid=os.getpid())

    def application_stopped(self) -> AuditRecord:
        """The service ends in good order."""
        return self._append("application-stop", version=version(), pid=os.getpid())

    def association(self, event: AssociationEvent) -> AuditRecord | None:
        """Record what an association led to, if it led to anything: `ASSOCIATION_EVENTS` says what is kept."""
        kept = ASSOCIATION_EVENTS.get(event.kind.value)
        if kept is None or (kept == "instances-received" and event.stored + event.refused == 0):
            return None
        return self._append(
            kept,
            calling_ae_title=event.calling_ae_title,
            called_ae_title=event.called_ae_title,
            peer_address=event.peer_address,
            ended=event.kind.value,
            reason=event.reason,
            stored=event.stored,
            refused=event.refused,
        )

    def instance_conflict(self, *, sop_instance_uid: str, sha256: str, calling_ae_title: str) -> AuditRecord:
        """Other bytes came under a SOP Instance UID that was taken; they are quarantined."""
        return self._append("instance-conflict", sop_instance_uid=sop_instance_uid, sha256=sha256, calling_ae_title=calling_ae_title)

    def job_queued(self, job: Job, instances: int) -> AuditRecord:
        """A series is complete."""
        return self._append("job-queued", **_of_job(job), instances=instances, partial_reason=job.partial_reason)

    def series_held(self, series: WaitingSeries, reason: str) -> AuditRecord:
        """Something of a series is missing; it waits for the rest."""
        return self._append("series-held", **_of_series(series), reason=reason)

    def series_selected(self, job: Job, rule: str, ranking: Sequence[Ranked]) -> AuditRecord:
        """For a rule that takes only the best series of a study, one was chosen, or passed over: who stood where, and why."""
        places: list[Json] = [{"series_instance_uid": one.key, "place": one.place, "scores": dict(one.scores)} for one in ranking]
        event = "series-selected" if ranking[0].key == job.series_instance_uid else "series-passed-over"
        return self._append(event, **_of_job(job), rule=rule, ranking=places)

    def conflict_examined(self, conflict: Conflict, verdict: ConflictVerdict, person: Person | None = None) -> AuditRecord:
        """It was found out, or a person said, what other bytes under a taken SOP Instance UID are."""
        who = {} if person is None else person.details()
        uids = {"sop_instance_uid": conflict.sop_instance_uid, "study_instance_uid": conflict.study_instance_uid}
        return self._append("instance-conflict-examined", **uids, instance=conflict.id, verdict=verdict.value, **who)

    def results_superseded(self, job: Job, sop_instance_uids: Sequence[str]) -> AuditRecord:
        """A job over more, or corrected, instances takes the place of earlier results; what it makes of them follows."""
        return self._append("results-superseded", **_of_job(job), superseded_sop_instance_uids=list(sop_instance_uids))

    def job_skipped(self, job: Job, reasons: Sequence[str], written: Sequence[WrittenObject] = ()) -> AuditRecord:
        """No rule matched, or there is no segmentation; `written` are the reports that say so."""
        return self._append("job-skipped", **_of_job(job), reasons=list(reasons), objects=_of_written(written))

    def left_out(self, job: Job, reasons: Sequence[str]) -> AuditRecord:
        """Of a series with results, some volumes or instances gave none."""
        return self._append("left-out", **_of_job(job), reasons=list(reasons))

    def job_refused(self, job: Job, code: str, message: str, written: Sequence[WrittenObject] = ()) -> AuditRecord:
        """The data can never be processed; `written` are the reports that say so."""
        return self._append("job-refused", **_of_job(job), code=code, message=message, objects=_of_written(written))

    def job_quarantined(self, job: Job, code: str) -> AuditRecord:
        """It failed too often, or killed its worker; the store has the traceback."""
        return self._append("job-quarantined", **_of_job(job), code=code)

    def job_released(self, job: Job, person: Person) -> AuditRecord:
        """A person wants it tried again."""
        return self._append("job-released", **_of_job(job), **person.details())

    def job_queued_again(self, job: Job, earlier: Job, annotation_series_uid: str) -> AuditRecord:
        """Annotations of its study came, which its rule asks for: it takes the place of the `earlier` job over the same instances."""
        return self._append("job-queued-again", **_of_job(job), supersedes_job=earlier.id, annotation_series_uid=annotation_series_uid)

    def job_cancelled(self, job: Job) -> AuditRecord:
        """A person gave it up."""
        return self._append("job-cancelled", **_of_job(job), user=_user())

    def quarantine_exported(self, name: str, study_instance_uid: str) -> AuditRecord:
        """A person copied what was put aside out of the spool."""
        return self._append("quarantine-exported", name=name, study_instance_uid=study_instance_uid, user=_user())

    def study_explained(self, study_instance_uid: str) -> AuditRecord:
        """A person had the rules explained on a study that was received, and saw its images."""
        return self._append("study-explained", study_instance_uid=study_instance_uid, user=_user())

    def drain(self, *, begins: bool) -> AuditRecord:
        """A person lets no further job begin, or lets them begin again."""
        return self._append("drain-begun" if begins else "drain-ended", user=_user())

    def segmentation_created(
        self,
        job: Job,
        provenance: Provenance,
        written: Sequence[WrittenObject],
        verdicts: Sequence[Verdict],
        seconds: Mapping[str, float],
        *,
        shadow: bool = False,
    ) -> AuditRecord:
        """A result was made: from which instances, by which rule, weights, device and version, in which time; in `shadow` for nobody."""
        weights: dict[str, Json] = dict(provenance.weights)
        tried: dict[str, Json] = {"shadow": True} if shadow else {}
        return self._append(
            "segmentation-created",
            **_of_job(job),
            job_key=provenance.job_key,
            rule=provenance.rule_name,
            rule_hash=provenance.rule_hash,
            weights_sha256=weights,
            device=provenance.device,
            precision=provenance.precision,
            batch=provenance.batch,
            version=provenance.algorithm_version,
            sop_instance_uid=written[0].sop_instance_uid,
            objects=_of_written(written),
            source_sop_instance_uids=list(provenance.source_sop_instance_uids),
            annotation_sop_instance_uids=list(provenance.annotation_sop_instance_uids),
            verdicts=[_of_verdict(verdict) for verdict in verdicts],
            seconds={name: round(value, 3) for name, value in seconds.items()},
            **tried,
        )

    def withheld_for_review(self, job: Job, written: Sequence[WrittenObject]) -> AuditRecord:
        """What was withheld was written for people to look at: which objects, and where they are sent; reasons are with the verdicts."""
        destinations: list[Json] = list(dict.fromkeys(name for one in written for name in one.destinations))
        return self._append("withheld-for-review", **_of_job(job), objects=_of_written(written), destinations=destinations)

    def result_quarantined(self, job: Job, code: str, kind: ObjectKind, sop_instance_uid: str) -> AuditRecord:
        """An object did not say what was meant: it was put aside and never sent."""
        return self._append("result-quarantined", **_of_job(job), code=code, kind=kind.value, sop_instance_uid=sop_instance_uid)

    def delivery_begun(self, delivery: Delivery) -> AuditRecord:
        """A result goes out to a destination."""
        return self._append("delivery-begun", **_of_delivery(delivery), attempt=delivery.attempt + 1)

    def stored_at_destination(self, delivery: Delivery, remark: str) -> AuditRecord:
        """A destination answered that it stored a result; whether it counts as delivered is said by `delivered`."""
        return self._append("stored-at-destination", **_of_delivery(delivery), remark=remark)

    def commitment_reported(self, transaction_uid: str, committed: Sequence[str], failed: Mapping[str, int]) -> AuditRecord:
        """A destination reported which results it promises to keep; `failed`: SOP Instance UID -> Failure Reason."""
        reasons: dict[str, Json] = dict(failed)
        return self._append("commitment-reported", transaction_uid=transaction_uid, committed=list(committed), failed=reasons)

    def delivered(self, delivery: Delivery) -> AuditRecord:
        """A destination confirmed a result."""
        return self._append("delivered", **_of_delivery(delivery))

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> AuditRecord:
        """A result could not be sent; it is tried again."""
        return self._append("delivery-failed", **_of_delivery(delivery), attempt=delivery.attempt + 1, code=code, message=message)

    def delivery_refused(self, delivery: Delivery, state: OutboxState, code: str, message: str) -> AuditRecord:
        """A destination will never take a result: it is left out, or quarantined until a person decides."""
        event = "delivery-left-out" if state is OutboxState.LEFT_OUT else "delivery-quarantined"
        return self._append(event, **_of_delivery(delivery), code=code, message=message)

    def deliveries_released(self, destination: str | None, count: int, person: Person) -> AuditRecord:
        """A person wants what is quarantined sent again."""
        return self._append("deliveries-released", destination=destination, count=count, **person.details())

    def log_read(self, folder: Path) -> AuditRecord:
        """A person exported the trail."""
        return self._append("audit-log-read", folder=folder.absolute().as_uri(), user=_user())

    def weights_installed(self, *, name: str, sha256: str, trusted: bool) -> AuditRecord:
        """A person installed weights; `trusted` where they vouched for the file themselves, without a publisher's hash."""
        event = "weights-trusted" if trusted else "weights-installed"
        return self._append(event, name=name, sha256=sha256, user=_user())

    def _append(self, event: str, **details: Json) -> AuditRecord:
        return self._chain.append(event, details)


def open_audit(folder: Path, clock: Clock = system_clock) -> Audit:
    """Return the audit trail in `folder`, which is made if it does not exist."""
    return Audit(AuditChain(folder, clock))


def _of_job(job: Job) -> dict[str, Json]:
    return {
        "job": job.id,
        "attempt": job.attempt,
        "study_instance_uid": job.study_instance_uid,
        "series_instance_uid": job.series_instance_uid,
        "calling_ae_title": job.calling_ae_title,
        "called_ae_title": job.called_ae_title,
    }


def _of_series(series: WaitingSeries) -> dict[str, Json]:
    return {
        "study_instance_uid": series.study_instance_uid,
        "series_instance_uid": series.series_instance_uid,
        "calling_ae_title": series.calling_ae_title,
        "called_ae_title": series.called_ae_title,
    }


def _of_delivery(delivery: Delivery) -> dict[str, Json]:
    return {
        "job": delivery.job_id,
        "study_instance_uid": delivery.study_instance_uid,
        "destination": delivery.destination,
        "sop_instance_uid": delivery.sop_instance_uid,
        "sha256": delivery.sha256,
    }


def _of_written(written: Sequence[WrittenObject]) -> list[Json]:
    """Every object with its other form, where it has one."""
    both = [one for first in written for one in (first, first.alternative) if one is not None]
    return [{"kind": one.kind.value, "sop_instance_uid": one.sop_instance_uid, "sha256": one.sha256} for one in both]


def _of_verdict(verdict: Verdict) -> dict[str, Json]:
    return {
        "object": verdict.object_id,
        "label": verdict.label,
        "decision": verdict.decision.value,
        "reasons": list(verdict.reasons),
        "volume_ml": round(verdict.volume_ml, 3),
        "score": round(verdict.score, 4),
    }


def _user() -> int:
    """The numeric user that ran the command."""
    return os.getuid()
