"""The book of rules: which ones a job was for, how long each took from arrival to delivery, and what it withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from daemon.database.book import Book
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, JOB_RULE
from daemon.job_states import JobState


@dataclass(frozen=True, kw_only=True)
class RuleOutcome:
    """What a job came to for one rule."""

    rule: str
    volumes: int
    """Volumes of the series that the rule matched."""
    withheld: int
    """Targets in them whose mask was not good enough to deliver."""


class RuleBook(Book):
    """Sums the outcomes of rules up."""

    def seconds_by_rule(self, since: datetime) -> Mapping[str, tuple[float, ...]]:
        """Return, of jobs delivered since then, the seconds from the arrival of their last instance to the last confirmation."""
        query = select(JOB_RULE.c.rule, JOB_RULE.c.arrived_at, JOB.c.updated_at).join(JOB, JOB.c.id == JOB_RULE.c.job_id)
        query = query.where(JOB.c.state == JobState.DELIVERED.value, JOB.c.updated_at >= since)
        found: dict[str, list[float]] = {}
        with self.database.reading() as connection:
            for rule, arrived, delivered in connection.execute(query):
                found.setdefault(rule, []).append(max(0.0, (delivered - arrived).total_seconds()))
        return {rule: tuple(seconds) for rule, seconds in found.items()}

    def outcomes_by_rule(self, since: datetime) -> Mapping[str, RuleOutcome]:
        """Return what the jobs came to that workers finished since then."""
        query = select(JOB_RULE.c.rule, func.sum(JOB_RULE.c.volumes), func.sum(JOB_RULE.c.withheld))
        query = query.where(JOB_RULE.c.finished_at >= since).group_by(JOB_RULE.c.rule)
        with self.database.reading() as connection:
            return {
                rule: RuleOutcome(rule=rule, volumes=int(volumes), withheld=int(withheld))
                for rule, volumes, withheld in connection.execute(query)
            }


def put_rules(connection: Connection, job_id: int, rules: Sequence[RuleOutcome], now: datetime) -> None:
    """Keep what a job came to, in place of what an earlier attempt did."""
    connection.execute(delete(JOB_RULE).where(JOB_RULE.c.job_id == job_id))
    if not rules:
        return
    arrivals = select(func.max(INSTANCE.c.received_at)).join(JOB_INSTANCE, JOB_INSTANCE.c.instance_id == INSTANCE.c.id)
    arrived = connection.scalar(arrivals.where(JOB_INSTANCE.c.job_id == job_id)) or now
    common = {"job_id": job_id, "arrived_at": arrived, "finished_at": now}
    rows = [{**common, "rule": one.rule, "volumes": one.volumes, "withheld": one.withheld} for one in rules]
    connection.execute(insert(JOB_RULE), rows)
