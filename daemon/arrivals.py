"""Arrivals: when is a series complete, and its study?

A series is looked at once nothing of it came for the quiet period and its sender has hung up. The evidence (`daemon.evidence`)
then says whether it is whole. What is not is held for the rest until its deadline, and then processed as a part, held on, or
discarded, as its rule or the configuration says. A series whose rule asks for it also waits for its study; where the rule takes
only the best series of a study, that one is chosen then, and the others are passed over. A better one that comes later takes the
place of what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from daemon.clock import Clock
from daemon.config import ArrivalSettings
from daemon.contest import Contestant, decide, standing_json, standing_of
from daemon.evidence import Evidence, shortfall
from daemon.series_states import SeriesEvent
from daemon.store import Job, SeriesState, Store, Terms, WaitingSeries
from rules.selection import Measures, Ranked

ASK_AGAIN_SECONDS = 30.0
"""How long after a source could not be asked it is asked again."""
LOOKED_AT = (SeriesState.WAITING, SeriesState.HELD)
AT_DEADLINE: Mapping[str, SeriesEvent] = MappingProxyType(
    {"run": SeriesEvent.RUN_PARTIAL, "hold": SeriesEvent.PROVE_SHORT, "discard": SeriesEvent.DISCARD}
)
"""What the policy makes of a series of which something is still missing when its deadline passes."""


def is_quiet(last_arrival: datetime, now: datetime, quiet_seconds: float) -> bool:
    """Tell whether nothing has come since `last_arrival` for the quiet period."""
    return now >= last_arrival + timedelta(seconds=quiet_seconds)


def study_shortfall(others: Sequence[WaitingSeries], series: int, expected: int) -> str | None:
    """Return why a study is not complete: other series of it that still arrive, or fewer `series` than a rule expects."""
    if others:
        return f"the study still receives {len(others)} other series"
    return f"the study has {series} of {expected} series" if series < expected else None


def what_follows(reason: str | None, *, overdue: bool, policy: str) -> SeriesEvent:
    """Return what becomes of a quiet series of which `reason` says what is missing (None: nothing)."""
    if reason is None:
        return SeriesEvent.PROVE_WHOLE
    return AT_DEADLINE[policy] if overdue else SeriesEvent.PROVE_SHORT


@dataclass(kw_only=True)
class Arrivals:
    """Looks after the series of one store; `step` is one look at all that wait."""

    store: Store
    clock: Clock
    settings: ArrivalSettings
    evidence: Callable[[WaitingSeries], Evidence] = field(default=lambda _series: Evidence(instances=1))
    held: Callable[[WaitingSeries, str], None] = field(default=lambda _series, _reason: None)
    """Told when a series is put on hold, with the reason."""
    selected: Callable[[Job, str, Sequence[Ranked]], object] = field(default=lambda _job, _rule, _ranking: None)
    """Told when a series was chosen or passed over for a rule: its job, and the ranking."""
    shortest_quiet: Callable[[], float | None] = field(default=lambda: None)
    """The shortest quiet period that a rule asks for, None where none does."""
    _known: dict[tuple[str, str], tuple[datetime, Evidence, datetime]] = field(default_factory=dict)

    def step(self) -> tuple[Job, ...]:
        """Move on every series that can be, and return the jobs that this queued.

        Each series is one transaction: complete and queued, or neither. A late instance opens its series again, and leads to
        a new job over all its instances, which supersedes the earlier; the same content never gets a second job.
        """
        waiting = self.store.waiting_series(LOOKED_AT)
        sending = self.store.sending() if waiting else frozenset[str]()
        self._known = {key: known for key, known in self._known.items() if key in {_key(series) for series in waiting}}
        now = self.clock()
        quiet = [series for series in waiting if self._is_worth_a_look(series, now, sending)]
        # All evidence first: series of one study are judged by one another's.
        evidence = {_key(series): self._evidence(series, now) for series in quiet}
        jobs = [self._move_on(series, evidence[_key(series)], waiting, now) for series in quiet]
        return tuple(job for job in jobs if job is not None)

    def _is_worth_a_look(self, series: WaitingSeries, now: datetime, sending: frozenset[str]) -> bool:
        first_look = min(self.settings.quiet_seconds, self.shortest_quiet() or self.settings.quiet_seconds)
        if not is_quiet(series.last_arrival, now, first_look) or series.unexamined:
            return False
        return series.calling_ae_title not in sending or is_quiet(series.last_arrival, now, self.settings.incomplete_seconds)

    def _move_on(self, series: WaitingSeries, evidence: Evidence, waiting: Sequence[WaitingSeries], now: datetime) -> Job | None:
        if not self._is_quiet(series, evidence, now):
            return None
        reason = shortfall(evidence) or self._study(series, waiting, evidence, now)
        overdue = is_quiet(series.last_arrival, now, evidence.wait_seconds or self.settings.incomplete_seconds)
        event = what_follows(reason, overdue=overdue, policy=evidence.on_partial or self.settings.incomplete)
        if event in (SeriesEvent.PROVE_WHOLE, SeriesEvent.RUN_PARTIAL):
            return self._complete(series, evidence, reason, self._rivals(series, evidence, waiting, now))
        if reason is not None and event is SeriesEvent.DISCARD:
            return self.store.discard_series(series, reason)
        is_news = reason is not None and (series.state is not SeriesState.HELD or series.reason != reason)
        if reason is not None and is_news and self.store.hold_series(series, reason):
            self.held(series, reason)
        return None

    def _complete(
        self, series: WaitingSeries, evidence: Evidence, partial_reason: str | None, rivals: Mapping[str, Measures]
    ) -> Job | None:
        """Queue a series that can be processed; where its rule takes only the best of its study, if it is that one."""
        off_peak = evidence.off_peak.model_dump_json() if evidence.off_peak else None
        contestant = evidence.contestant
        if contestant is None:
            return self.store.complete_series(series, evidence.priority, partial_reason, Terms(off_peak=off_peak))
        chosen = self._chosen(series, contestant)
        candidates = {**chosen_measures(chosen), **rivals, series.series_instance_uid: contestant.measures}
        ranking = decide(contestant, candidates, [job.series_instance_uid for job in chosen])
        first, mine = ranking[0], next(one for one in ranking if one.key == series.series_instance_uid)
        selection = standing_json(contestant, mine, len(ranking))
        if mine is first:
            supersedes = tuple(job.id for job in chosen)
            terms = Terms(off_peak=off_peak, selection=selection, supersedes=supersedes)
            job = self.store.complete_series(series, evidence.priority, partial_reason, terms)
        elif first.key in {one.series_instance_uid for one in chosen}:
            reason = f"rule {contestant.rule!r} takes the best series of a study, and {first.key} is better ({mine.reason})"
            job = self.store.pass_over_series(series, reason, selection)
        else:
            return None  # its better rival is queued first, so that a crash in between costs the study no result
        if job is not None:
            self.selected(job, contestant.rule, ranking)
        return job

    def _chosen(self, series: WaitingSeries, contestant: Contestant) -> list[Job]:
        """The jobs over series of the study that were chosen for the rule before."""
        jobs = [(job, standing_of(job)) for job in self.store.chosen_of_study(series.study_instance_uid)]
        return [job for job, standing in jobs if standing is not None and standing.rule == contestant.rule]

    def _rivals(self, series: WaitingSeries, evidence: Evidence, waiting: Sequence[WaitingSeries], now: datetime) -> dict[str, Measures]:
        """The measures of the study's other series that wait to be chosen for the same rule, and are whole."""
        if evidence.contestant is None:
            return {}
        others = [
            (other.series_instance_uid, self._known[_key(other)][1].contestant)
            for other in _others_of_study(series, waiting)
            if self._is_whole(other, now)
        ]
        return {uid: rival.measures for uid, rival in others if rival is not None and rival.rule == evidence.contestant.rule}

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

    def _study(self, series: WaitingSeries, waiting: Sequence[WaitingSeries], evidence: Evidence, now: datetime) -> str | None:
        """Why the study of a series that waits for it is not complete; a series that itself waits only for the study holds up nobody."""
        if evidence.study_series is None:
            return None
        others = [other for other in _others_of_study(series, waiting) if not self._is_whole(other, now)]
        return study_shortfall(others, self.store.series_of_study(series.study_instance_uid), evidence.study_series)

    def _is_whole(self, series: WaitingSeries, now: datetime) -> bool:
        known = self._known.get(_key(series))
        if known is None or known[0] != series.last_arrival:
            return False
        return shortfall(known[1]) is None and self._is_quiet(series, known[1], now)

    def _is_quiet(self, series: WaitingSeries, evidence: Evidence, now: datetime) -> bool:
        return is_quiet(series.last_arrival, now, evidence.quiet_seconds or self.settings.quiet_seconds)


def chosen_measures(chosen: Sequence[Job]) -> dict[str, Measures]:
    """Return what the series of jobs that were chosen before are ranked by."""
    kept = [(job.series_instance_uid, standing_of(job)) for job in chosen]
    return {uid: standing.measures for uid, standing in kept if standing is not None}


def _others_of_study(series: WaitingSeries, waiting: Sequence[WaitingSeries]) -> list[WaitingSeries]:
    same_study = [other for other in waiting if other.study_instance_uid == series.study_instance_uid]
    return [other for other in same_study if other.series_instance_uid != series.series_instance_uid]


def _key(series: WaitingSeries) -> tuple[str, str]:
    return series.study_instance_uid, series.series_instance_uid
