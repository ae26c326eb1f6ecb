"""Arrivals: when is a series complete, and its study?

A series is looked at once nothing of it came for the quiet period and its sender has hung up. The evidence (`daemon.evidence`)
then says whether it is whole. What is not is held for the rest until its deadline, and then processed as a part, held on, or
discarded, as the configuration says. A series whose rule asks for it also waits for its study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daemon.clock import Clock
from daemon.config import ArrivalSettings
from daemon.evidence import Evidence, shortfall
from daemon.store import Job, SeriesState, Store, WaitingSeries

ASK_AGAIN_SECONDS = 30.0
"""How long after a source could not be asked it is asked again."""
LOOKED_AT = (SeriesState.WAITING, SeriesState.HELD)


def is_quiet(last_arrival: datetime, now: datetime, quiet_seconds: float) -> bool:
    """Tell whether nothing has come since `last_arrival` for the quiet period."""
    return now >= last_arrival + timedelta(seconds=quiet_seconds)


def study_shortfall(others: Sequence[WaitingSeries], series: int, expected: int) -> str | None:
    """Return why a study is not complete: other series of it that still arrive, or fewer `series` than a rule expects."""
    if others:
        return f"the study still receives {len(others)} other series"
    return f"the study has {series} of {expected} series" if series < expected else None


@dataclass(kw_only=True)
class Arrivals:
    """Looks after the series of one store; `step` is one look at all that wait."""

    store: Store
    clock: Clock
    settings: ArrivalSettings
    evidence: Callable[[WaitingSeries], Evidence] = field(default=lambda _series: Evidence(instances=1))
    held: Callable[[WaitingSeries, str], None] = field(default=lambda _series, _reason: None)
    """Told when a series is put on hold, with the reason."""
    _known: dict[tuple[str, str], tuple[datetime, Evidence, datetime]] = field(default_factory=dict)

    def step(self) -> tuple[Job, ...]:
        """Move on every series that can be, and return the jobs that this queued.

        Each series is one transaction: complete and queued, or neither. A late instance opens its series again, and leads to
        a new job over all its instances, which supersedes the earlier; the same content never gets a second job.
        """
        waiting = self.store.waiting_series(LOOKED_AT)
        sending = self.store.sending() if waiting else frozenset[str]()
        self._known = {key: known for key, known in self._known.items() if key in {_key(series) for series in waiting}}
        jobs = [self._look_at(series, waiting, sending) for series in waiting]
        return tuple(job for job in jobs if job is not None)

    def _look_at(self, series: WaitingSeries, waiting: Sequence[WaitingSeries], sending: frozenset[str]) -> Job | None:
        now = self.clock()
        overdue = is_quiet(series.last_arrival, now, self.settings.incomplete_seconds)
        if not is_quiet(series.last_arrival, now, self.settings.quiet_seconds) or series.unexamined:
            return None
        if series.calling_ae_title in sending and not overdue:
            return None
        evidence = self._evidence(series, now)
        reason = shortfall(evidence) or self._study(series, waiting, evidence)
        if reason is None:
            return self.store.complete_series(series, evidence.priority)
        if overdue and self.settings.incomplete == "run":
            return self.store.complete_series(series, evidence.priority, reason)
        if overdue and self.settings.incomplete == "discard":
            return self.store.discard_series(series, reason)
        if (series.state is not SeriesState.HELD or series.reason != reason) and self.store.hold_series(series, reason):
            self.held(series, reason)
        return None

    def _evidence(self, series: WaitingSeries, now: datetime) -> Evidence:
        """The evidence as it was gathered after the last arrival; again where the source could not be asked then."""
        key = _key(series)
        if key in self._known:
            arrival, evidence, gathered = self._known[key]
            stale = evidence.source_failed and now >= gathered + timedelta(seconds=ASK_AGAIN_SECONDS)
            if arrival == series.last_arrival and not stale:
                return evidence
        evidence = self.evidence(series)
        self._known[key] = (series.last_arrival, evidence, now)
        return evidence

    def _study(self, series: WaitingSeries, waiting: Sequence[WaitingSeries], evidence: Evidence) -> str | None:
        """Why the study of a series that waits for it is not complete; a series that itself waits only for the study holds up nobody."""
        if evidence.study_series is None:
            return None
        others = [
            other
            for other in waiting
            if other.study_instance_uid == series.study_instance_uid
            and other.series_instance_uid != series.series_instance_uid
            and not self._is_whole(other)
        ]
        return study_shortfall(others, self.store.series_of_study(series.study_instance_uid), evidence.study_series)

    def _is_whole(self, series: WaitingSeries) -> bool:
        known = self._known.get(_key(series))
        return known is not None and known[0] == series.last_arrival and shortfall(known[1]) is None


def _key(series: WaitingSeries) -> tuple[str, str]:
    return series.study_instance_uid, series.series_instance_uid
