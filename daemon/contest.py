"""The contest of a study's series for a rule that takes only the best of them: who takes part, with what, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from daemon.database.job import Job
from rules.match import Plan
from rules.predicates import Attributes
from rules.selection import Measures, Ranked, Selection, best_volume, measures_of, rank


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A series that takes part: for which rule, and what it is ranked by."""

    rule: str
    selection: Selection
    measures: Measures


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a job keeps of the contest that its series took part in."""

    rule: str
    measures: Measures
    words: str
    """The place and the scores, for people."""


def contestant_of(planned: Sequence[tuple[Plan, Attributes]]) -> Contestant | None:
    """Return what a series takes part with, from the plans and attributes of its volumes that a rule matches.

    None where its rule takes every series, and where its volumes have several rules: such a series goes by itself, so that no
    volume is lost to a contest about another one.
    """
    rules = {plan.rule.name: plan.rule for plan, _ in planned}
    if len(rules) != 1:
        return None
    (rule,) = rules.values()
    if rule.select is None:
        return None
    measures = best_volume(rule.select, [measures_of(attributes) for _, attributes in planned])
    return Contestant(rule=rule.name, selection=rule.select, measures=measures)


def decide(contestant: Contestant, candidates: Mapping[str, Measures], chosen: Sequence[str]) -> tuple[Ranked, ...]:
    """Return the ranking of the candidates (by Series Instance UID); of equals, one of those `chosen` before stays."""
    return rank(contestant.selection, candidates, chosen_before=next((uid for uid in chosen if uid in candidates), None))


def standing_json(contestant: Contestant, ranked: Ranked, among: int) -> str:
    """Return what a job is to keep: its rule, its measures, and its place with the scores in words."""
    words = f"place {ranked.place} of {among}: {ranked.words}" + (f" ({ranked.reason})" if ranked.reason else "")
    return json.dumps({"rule": contestant.rule, "measures": asdict(contestant.measures), "words": words}, ensure_ascii=False)


def standing_of(job: Job) -> Standing | None:
    """Return what a job keeps of its contest; None where there was none."""
    if job.selection is None:
        return None
    kept = json.loads(job.selection)
    known = Measures.__dataclass_fields__
    measures = Measures(**{name: value for name, value in kept["measures"].items() if name in known})
    return Standing(rule=kept["rule"], measures=measures, words=kept["words"])
