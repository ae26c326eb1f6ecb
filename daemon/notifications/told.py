"""What a channel was told last, held against what is so now: the difference is what it is told next.

| it was told    | and now           | so it is told                        |
|----------------|-------------------|--------------------------------------|
| nothing        | the condition is  | raised                               |
| of a condition | it is as it was   | nothing; repeated after a while      |
| of a condition | there is more     | raised, where its kind grows         |
| of a condition | there is less     | nothing; growth counts from there on |
| of a condition | it is no longer   | cleared                              |

Nothing queues up: what a channel that was down has missed is worked out anew from what is so when it is back.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from daemon.notifications.conditions import WORDS, Condition, Key, cure_of, spoken, spoken_end


class News(enum.StrEnum):
    """What became of a condition."""

    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"


class Change(enum.Enum):
    """How a condition that a channel knows of compares with what is so now."""

    NEW = enum.auto()
    SAME = enum.auto()
    OVERDUE = enum.auto()
    """The same, told too long ago."""
    MORE = enum.auto()
    LESS = enum.auto()
    GONE = enum.auto()


NEWS: Mapping[Change, News | None] = {
    Change.NEW: News.RAISED,
    Change.SAME: None,
    Change.OVERDUE: News.REPEATED,
    Change.MORE: News.RAISED,
    Change.LESS: None,
    Change.GONE: News.CLEARED,
}
"""The table above."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a channel was told of a condition."""

    since: datetime
    """Since when it holds."""
    count: int
    at: datetime
    """When it was told."""


Memory: TypeAlias = Mapping[Key, Told]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to be told."""

    key: Key
    news: News
    since: datetime
    count: int
    text: str
    cure: str
    """Empty for what is over."""


def compare(known: Told | None, found: Condition | None, now: datetime, repeat: timedelta) -> Change:
    """Return how what is known compares with what was found; one of the two is not None."""
    if found is None:
        return Change.GONE
    if known is None:
        return Change.NEW
    if WORDS[found.kind].grows and found.count > known.count:
        return Change.MORE
    if now - known.at >= repeat:
        return Change.OVERDUE
    return Change.LESS if found.count < known.count else Change.SAME


def notices_of(memory: Memory, found: Sequence[Condition], now: datetime, repeat: timedelta) -> tuple[Notice, ...]:
    """Return what a channel with this memory is to be told, what is new first."""
    told = [_notice(change, memory.get(key), here, key) for key, here, change in _changes(memory, found, now, repeat)]
    return tuple(sorted((notice for notice in told if notice is not None), key=lambda notice: list(News).index(notice.news)))


def lowered(memory: Memory, found: Sequence[Condition], now: datetime, repeat: timedelta) -> Memory:
    """Return the memory after what needs no word: a count that became less."""
    less = {key: here for key, here, change in _changes(memory, found, now, repeat) if change is Change.LESS and here is not None}
    return {key: replace(known, count=less[key].count) if key in less else known for key, known in memory.items()}


def remembered(memory: Memory, notices: Iterable[Notice], now: datetime) -> Memory:
    """Return the memory after a channel took these notices."""
    after = dict(memory)
    for notice in notices:
        REMEMBER[notice.news](after, notice, now)
    return after


def _keep(memory: dict[Key, Told], notice: Notice, now: datetime) -> None:
    memory[notice.key] = Told(since=notice.since, count=notice.count, at=now)


def _forget(memory: dict[Key, Told], notice: Notice, now: datetime) -> None:
    memory.pop(notice.key, None)


REMEMBER: Mapping[News, Callable[[dict[Key, Told], Notice, datetime], None]] = {
    News.RAISED: _keep,
    News.REPEATED: _keep,
    News.CLEARED: _forget,
}


def _changes(memory: Memory, found: Sequence[Condition], now: datetime, repeat: timedelta) -> list[tuple[Key, Condition | None, Change]]:
    present = {condition.key: condition for condition in found}
    keys = dict.fromkeys((*present, *memory))
    return [(key, present.get(key), compare(memory.get(key), present.get(key), now, repeat)) for key in keys]


def _notice(change: Change, known: Told | None, found: Condition | None, key: Key) -> Notice | None:
    news = NEWS[change]
    if news is None:
        return None
    if found is not None:
        return Notice(key=key, news=news, since=found.since, count=found.count, text=spoken(found), cure=cure_of(key))
    assert known is not None  # a key comes from one of the two
    return Notice(key=key, news=news, since=known.since, count=0, text=spoken_end(key), cure="")
