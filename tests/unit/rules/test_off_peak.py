"""When the window of a rule is open, by the clock on the wall."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from rules.off_peak import DAYS, OffPeak
from tests.unit.rules.examples import rule

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = OffPeak(start="20:00", end="06:00")
WEEKEND = OffPeak(start="20:00", end="06:00", days=("saturday",))
NOON = OffPeak(start="12:00", end="13:30", days=DAYS[:5])


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


# 2026-01-02 is a Friday.
@pytest.mark.parametrize(
    ("window", "moment", "opening"),
    [
        (NIGHT, "2026-01-02T19:59", "2026-01-02T20:00"),
        (NIGHT, "2026-01-02T20:00", "2026-01-02T20:00"),
        (NIGHT, "2026-01-03T05:59", "2026-01-03T05:59"),
        (NIGHT, "2026-01-03T06:00", "2026-01-03T20:00"),
        (WEEKEND, "2026-01-03T03:00", "2026-01-03T20:00"),
        (WEEKEND, "2026-01-04T03:00", "2026-01-04T03:00"),
        (WEEKEND, "2026-01-04T20:00", "2026-01-10T20:00"),
        (NOON, "2026-01-02T12:30", "2026-01-02T12:30"),
        (NOON, "2026-01-02T13:30", "2026-01-05T12:00"),
    ],
)
def test_a_window_is_open_or_opens_next(window: OffPeak, moment: str, opening: str) -> None:
    assert window.next_opening(local(moment)) == local(opening)
    assert window.is_open(local(moment)) is (moment == opening)


def test_the_wall_clock_counts_when_the_clocks_change() -> None:
    opening = NIGHT.next_opening(local("2026-03-29T12:00"))  # the night before had 23 hours
    assert (opening.hour, opening.utcoffset()) == (20, local("2026-06-01T00:00").utcoffset())


NIGHTLY = {"start": "20:00", "end": "06:00"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"off_peak": {"start": "20:00", "end": "20:00"}}, "expected start and end to differ, got 20:00 twice"),
        ({"off_peak": {"start": "24:00", "end": "06:00"}}, "off_peak.start"),
        (
            {"off_peak": NIGHTLY, "priority": "stat"},
            "expected priority routine or reprocess beside off_peak, got stat",
        ),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rule(**settings)
    assert words in str(caught.value)
