"""Benchmark of matching: many series against many rules, beside forming every rule's reason in words."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from rules.match import match, reason_against
from rules.predicates import Attributes
from rules.rule import Rule, RuleSet

MODALITIES = ("CT", "MR", "PT", "US", "XA", "CR", "DX", "NM")
BODY_PARTS = ("CHEST", "ABDOMEN", "HEAD", "NECK", "PELVIS", "SPINE", "KNEE", "HEART")
WORDED_SERIES = 200
"""Series whose reasons are formed too; the time of all of them is scaled from these."""


@dataclass(frozen=True, kw_only=True)
class MatchingTimes:
    """Seconds for all series, without and with every reason in words, and how many series had a rule."""

    series: int
    rules: int
    matched: int
    seconds: float
    seconds_with_words: float

    @property
    def ratio(self) -> float:
        """How many times longer the words take."""
        return self.seconds_with_words / self.seconds


def measure_matching(series: int = 10_000, rules: int = 200, seed: int = 0) -> MatchingTimes:
    """Match made-up series against made-up rules of every form of condition; none fits, so that every rule is tried (the dearest case)."""
    chance = random.Random(seed)
    ruleset = RuleSet(rules=tuple(_rule(number, chance) for number in range(rules)))
    headers = [_header(chance) for _ in range(series)]
    match(headers[0], ruleset)  # compiles the conditions, as the daemon does once for a rule set
    begin = time.perf_counter()
    matched = sum(hasattr(match(header, ruleset), "rule") for header in headers)
    seconds = time.perf_counter() - begin
    worded = headers[:WORDED_SERIES]
    begin = time.perf_counter()
    for header in worded:
        for rule in ruleset.rules:
            reason_against(rule, header)
    words = (time.perf_counter() - begin) * series / len(worded)
    return MatchingTimes(series=series, rules=rules, matched=matched, seconds=seconds, seconds_with_words=words)


def _header(chance: random.Random) -> Attributes:
    return {
        "Modality": chance.choice(MODALITIES),
        "BodyPartExamined": chance.choice(BODY_PARTS),
        "SeriesDescription": f"{chance.choice(BODY_PARTS)} {chance.choice(('portal', 'arterial', 'native', 't1', 't2'))}",
        "SliceThickness": f"{chance.uniform(0.5, 10):.3f}",
        "ImageType": ("ORIGINAL", "PRIMARY", chance.choice(("AXIAL", "LOCALIZER"))),
        "calling_ae_title": f"SCANNER{chance.randrange(5)}",
    }


def _rule(number: int, chance: random.Random) -> Rule:
    conditions: list[dict[str, object]] = [
        {"Modality": chance.choice(MODALITIES), "BodyPartExamined": [chance.choice(BODY_PARTS), chance.choice(BODY_PARTS)]},
        {"SeriesDescription": {"matches": f"(?i)none{number}.*{chance.choice(BODY_PARTS)}.*"}},
        {"all": [{"SliceThickness": {"range": {"minimum": "9"}}}, {"Modality": "MR"}, {"not": {"ImageType": "LOCALIZER"}}]},
        {"any": [{"calling_ae_title": f"OTHER{number}"}, {"ContrastBolusAgent": {"present": "true"}}]},
    ]
    return Rule.model_validate(
        {
            "name": f"rule {number}",
            "match": {**conditions[number % len(conditions)], "StationName": f"room {number}"},
            "destinations": [],
            "targets": [
                {
                    "label": "Liver",
                    "category": "AnatomicalStructure",
                    "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"},
                    "window": {"low": "-160", "high": "240"},
                    "prompt": {"kind": "threshold", "low": "100"},
                }
            ],
        }
    )
