"""Metrics for Prometheus, worked out from the store when they are asked for: no process has to count, and a restart loses nothing.

Labels are states, codes, destinations, AE titles and names of configured rules: never anything of a patient.
docs/status_page.md explains each.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Select, func, select

from daemon.clock import Clock
from daemon.database.outbox_rows import UNSETTLED_STATES
from daemon.database.schema import INSTANCE, JOB, OUTBOX
from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.store import OutboxState, Store
from daemon.summary import summary
from daemon.version import version

CACHE_SECONDS = 5.0
"""Several scrapers, and the page, share one look at the store."""
Labelled: TypeAlias = Mapping[Any, float]
"""Values of the labels, a tuple in their order -> value."""
RECENT = timedelta(hours=24)
QUANTILES = (0.5, 0.95)


class StoreMetrics(Collector):
    """Everything that monitoring may want to know of a store and its disk."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        folders: Mapping[str, Path],
        rules: Callable[[], Sequence[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folders`: name -> folder whose file system is watched. `rules`: the names that may be labels."""
        self._store, self._clock, self._folders, self._rules, self._monotonic = store, clock, folders, rules, monotonic
        self._seen: tuple[float, tuple[Metric, ...]] | None = None

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, at most `CACHE_SECONDS` old. Raises what reading the store does."""
        now = self._monotonic()
        if self._seen is None or now - self._seen[0] >= CACHE_SECONDS:
            self._seen = (now, tuple(self._collected()))
        return self._seen[1]

    def _collected(self) -> Iterator[Metric]:
        yield _gauge("medsam2d_build_info", "the version that runs", {(version(),): 1.0}, ("version",))
        yield from self._of_summary()
        yield from self._of_instances()
        yield from self._of_jobs()
        yield from self._of_rules()
        yield from self._of_outbox()
        yield from self._of_disk()

    def _of_summary(self) -> Iterator[Metric]:
        seen, accounts = summary(self._store, errors=0), ledger(self._store)
        states = {(state.value.lower(),): float(seen.jobs.get(state.value, 0)) for state in JobState}
        oldest = (self._clock() - seen.oldest_waiting).total_seconds() if seen.oldest_waiting else 0.0
        places = {(name,): float(count) for name, count in asdict(accounts).items()}
        yield _gauge("medsam2d_jobs", "jobs by state", states, ("state",))
        yield _gauge("medsam2d_oldest_open_job_seconds", "age of the oldest job that has work ahead, 0 without one", {(): oldest})
        yield _gauge("medsam2d_series_arriving", "series that still wait for instances", {(): float(seen.series_waiting)})
        yield _gauge("medsam2d_series_held", "series held back since something is missing", {(): float(sum(seen.series_held.values()))})
        yield _gauge("medsam2d_drained", "1 while a person lets no job begin", {(): float(seen.drained_since is not None)})
        yield _gauge("medsam2d_ledger_instances", "instances by where they are; received is the sum of the others", places, ("place",))

    def _of_instances(self) -> Iterator[Metric]:
        query = select(INSTANCE.c.calling_ae_title, func.count(), func.coalesce(func.sum(INSTANCE.c.repeats), 0))
        rows = self._rows(query.group_by(INSTANCE.c.calling_ae_title))
        received = {(source,): float(count) for source, count, _ in rows}
        repeats = {(source,): float(count) for source, _, count in rows}
        yield _counter("medsam2d_instances_received", "instances acknowledged, by calling AE title", received, ("source",))
        yield _counter(
            "medsam2d_instances_duplicate", "instances that came again with the same bytes, by who sent them first", repeats, ("source",)
        )

    def _of_jobs(self) -> Iterator[Metric]:
        codes = {
            (state.lower(), code or ""): float(count)
            for state, code, count in self._rows(
                select(JOB.c.state, JOB.c.error_code, func.count())
                .where(JOB.c.state.in_([one.value for one in (JobState.SKIPPED, JobState.REFUSED, JobState.QUARANTINED)]))
                .group_by(JOB.c.state, JOB.c.error_code)
            )
        }
        ((partial,),) = self._rows(select(func.count()).where(JOB.c.partial_reason.is_not(None)))
        yield _gauge("medsam2d_jobs_without_result", "jobs that ended without a segmentation, by state and code", codes, ("state", "code"))
        yield _gauge("medsam2d_jobs_partial", "jobs of series of which something was missing", {(): float(partial)})
        since = self._clock() - RECENT
        ended = select(JOB.c.created_at, JOB.c.updated_at).where(JOB.c.state == JobState.DELIVERED.value, JOB.c.updated_at >= since)
        seconds = [(updated - created).total_seconds() for created, updated in self._rows(ended)]
        spread = {(f"{share:g}",): _quantile(seconds, share) for share in QUANTILES} if seconds else {}
        yield _gauge("medsam2d_job_seconds", "from complete series to delivered results, over the last 24 h", spread, ("quantile",))
        yield _gauge("medsam2d_jobs_delivered_last_day", "jobs whose results were confirmed in the last 24 h", {(): float(len(seconds))})

    def _of_rules(self) -> Iterator[Metric]:
        since, names = self._clock() - RECENT, self._rules()
        took, outcomes = self._store.seconds_by_rule(since), self._store.outcomes_by_rule(since)
        spread = {(name, f"{share:g}"): _quantile(list(took[name]), share) for name in names if name in took for share in QUANTILES}
        volumes = {(name,): float(outcomes[name].volumes if name in outcomes else 0) for name in names}
        withheld = {(name,): float(outcomes[name].withheld if name in outcomes else 0) for name in names}
        words = "from the arrival of the last instance to delivered results, over the last 24 h, by rule"
        yield _gauge("medsam2d_rule_seconds", words, spread, ("rule", "quantile"))
        yield _gauge("medsam2d_rule_volumes_last_day", "volumes that a rule matched in jobs of the last 24 h", volumes, ("rule",))
        yield _gauge("medsam2d_rule_withheld_last_day", "targets withheld for their quality in jobs of the last 24 h", withheld, ("rule",))

    def _of_outbox(self) -> Iterator[Metric]:
        waiting: dict[tuple[str, ...], float] = {}
        ages: dict[tuple[str, ...], float] = {}
        query = select(OUTBOX.c.destination, OUTBOX.c.state, func.count(), func.min(OUTBOX.c.created_at))
        for destination, state, count, oldest in self._rows(
            query.where(OUTBOX.c.state.in_(UNSETTLED_STATES)).group_by(OUTBOX.c.destination, OUTBOX.c.state)
        ):
            waiting[destination, OutboxState(state).value.lower()] = float(count)
            age = (self._clock() - oldest).total_seconds()
            ages[destination,] = max(age, ages.get((destination,), 0.0))
        yield _gauge("medsam2d_outbox_objects", "results not yet confirmed, by destination and state", waiting, ("destination", "state"))
        yield _gauge("medsam2d_outbox_oldest_seconds", "age of the oldest of them", ages, ("destination",))

    def _of_disk(self) -> Iterator[Metric]:
        usage = {name: shutil.disk_usage(folder) for name, folder in self._folders.items() if folder.is_dir()}
        free = {(name,): float(found.free) for name, found in usage.items()}
        total = {(name,): float(found.total) for name, found in usage.items()}
        yield _gauge("medsam2d_disk_free_bytes", "free space where a folder lies", free, ("folder",))
        yield _gauge("medsam2d_disk_size_bytes", "size of that file system", total, ("folder",))

    def _rows(self, query: Select[*tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        with self._store.database.reading() as connection:
            return [tuple(row) for row in connection.execute(query)]


def exposition(metrics: StoreMetrics) -> bytes:
    """Return the metrics in Prometheus' text format. Raises what reading the store does."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    return generate_latest(registry)


def _quantile(values: list[float], share: float) -> float:
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _gauge(name: str, text: str, values: Labelled, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: Labelled, labels: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
