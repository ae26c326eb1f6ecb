"""Off-peak windows: when the jobs of a rule may begin, by the clock on the wall of the hospital."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from rules.scalars import Section

Day: TypeAlias = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = get_args(Day)
WallTime: TypeAlias = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class OffPeak(Section):
    """From `start` until `end`, local time of the machine that the service runs on; over midnight where `end` is the earlier."""

    start: WallTime
    """hh:mm, for example 20:00."""
    end: WallTime
    """hh:mm, for example 06:00; jobs that run then are not interrupted."""
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    """The days on which the window begins; absent: every day."""

    @model_validator(mode="after")
    def _some_time(self) -> OffPeak:
        if self.start == self.end:
            raise ValueError(f"expected start and end to differ, got {self.start} twice; leave off_peak out for jobs at any time")
        return self

    def is_open(self, local: datetime) -> bool:
        """Tell whether jobs may begin at a moment of local time."""
        return any(
            self._begins_on(day) and _at(day, self.start, local) <= local < self._closes(day, local)
            for day in (local.date(), local.date() - timedelta(days=1))
        )

    def next_opening(self, local: datetime) -> datetime:
        """Return the moment at which the window opens next: `local` itself while it is open."""
        if self.is_open(local):
            return local
        days = (local.date() + timedelta(days=ahead) for ahead in range(len(DAYS) + 1))
        openings = (_at(day, self.start, local) for day in days if self._begins_on(day))
        return next(opening for opening in openings if opening > local)

    def _begins_on(self, day: date) -> bool:
        return DAYS[day.weekday()] in self.days

    def _closes(self, day: date, local: datetime) -> datetime:
        return _at(day + timedelta(days=self.end < self.start), self.end, local)


def _at(day: date, text: str, local: datetime) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), local.tzinfo)
