"""What destinations and quarantine show, as plain values: free of HTML, and of anything that names a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from daemon.config import Config
from daemon.database.outbox_rows import OpenDelivery
from daemon.store import Conflict, JobState, OutboxState, Store
from daemon.web.pages import moment_text, reason_text
from dicom_io.probe import Capability

EVER = timedelta(days=36_500)
SHOWN = 100
"""At most so many rows a table: a destination that refuses everything refuses thousands."""


@dataclass(frozen=True, kw_only=True)
class DestinationLine:
    """A destination of the configuration, or one that results still wait for although it was taken out."""

    name: str
    kind: str
    """Empty where the configuration no longer has it."""
    states: tuple[tuple[str, int], ...]
    """(state, results in it), those that are not settled."""
    accepts: str
    """What it was last seen to accept."""


@dataclass(frozen=True, kw_only=True)
class PutAside:
    """A job or an instance in quarantine."""

    id: int
    since: str
    series: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RefusedResult:
    """A result that a destination will not take."""

    job: int
    destination: str
    sop_instance_uid: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """Everything that waits for a person."""

    jobs: tuple[PutAside, ...]
    instances: tuple[PutAside, ...]
    results: tuple[RefusedResult, ...]
    destinations: tuple[str, ...]
    """Those that refused a result."""
    left_off: int
    """Rows that are not shown."""


def destination_lines(settings: Config, store: Store) -> tuple[DestinationLine, ...]:
    """Return every destination, by name."""
    waiting = store.waiting_by_destination()
    return tuple(_destination(settings, store, name, waiting.get(name, {})) for name in sorted({*settings.destinations, *waiting}))


def quarantine(store: Store) -> Quarantine:
    """Return what was put aside, the oldest first, with the reasons."""
    jobs = [
        PutAside(id=job.id, since=moment_text(job.updated_at), series=job.series_instance_uid, reason=reason_text(job))
        for job in store.jobs(JobState.QUARANTINED)
    ]
    instances = [_instance(conflict) for conflict in store.conflicts()]
    results = [_result(delivery) for delivery in store.open_deliveries(OutboxState.QUARANTINED)]
    return Quarantine(
        jobs=tuple(jobs[:SHOWN]),
        instances=tuple(instances[:SHOWN]),
        results=tuple(results[:SHOWN]),
        destinations=tuple(sorted({one.destination for one in results})),
        left_off=sum(max(0, len(found) - SHOWN) for found in (jobs, instances, results)),
    )


def _destination(settings: Config, store: Store, name: str, states: Mapping[str, int]) -> DestinationLine:
    own, seen = settings.destinations.get(name), store.capability(name, EVER)
    accepts = ", ".join(Capability(accepted=seen).names(accepted=True)) or "nothing" if seen else "not probed yet"
    ordered = tuple((state.lower(), count) for state, count in sorted(states.items()))
    return DestinationLine(name=name, kind=own.kind if own else "", states=ordered, accepts=accepts)


def _instance(conflict: Conflict) -> PutAside:
    verdict = conflict.verdict.value if conflict.verdict else "not-examined-yet"
    return PutAside(
        id=conflict.id,
        since=moment_text(conflict.received_at),
        series=conflict.series_instance_uid,
        reason=f"[{verdict}] other bytes under {conflict.sop_instance_uid}",
    )


def _result(delivery: OpenDelivery) -> RefusedResult:
    reason = f"[{delivery.error_code}] {delivery.error_message or ''}".strip() if delivery.error_code else ""
    return RefusedResult(job=delivery.job_id, destination=delivery.destination, sop_instance_uid=delivery.sop_instance_uid, reason=reason)
