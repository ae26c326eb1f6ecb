"""Job states and their legal moves: one table says what may become of a job, and nothing else decides it."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import ClassVar


class JobState(enum.StrEnum):
    """Where a job is; the members of `OPEN` still have work ahead of them."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DELIVERING = "DELIVERING"
    DELIVERED = "DELIVERED"
    SKIPPED = "SKIPPED"
    REFUSED = "REFUSED"
    QUARANTINED = "QUARANTINED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"


class JobEvent(enum.StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    """A worker took it."""
    HAND_BACK = "hand-back"
    """The worker stops in good order and did not finish; it is not the job's fault."""
    FINISH = "finish"
    """The results are on disk and wait in the outbox."""
    SKIP = "skip"
    """No rule matched, or there is nothing to deliver."""
    REFUSE = "refuse"
    """The data can never be processed as they are."""
    POSTPONE = "postpone"
    """A transient failure: again later, for as long as it takes."""
    FAIL = "fail"
    """A counted failure, or the death of the worker, with attempts left."""
    EXHAUST = "exhaust"
    """A counted failure, or the death of the worker, with no attempts left."""
    DELIVER = "deliver"
    """Every destination confirmed every result."""
    RELEASE = "release"
    """A person asks for it to be tried again."""
    CANCEL = "cancel"
    """A person gives it up."""
    SUPERSEDE = "supersede"
    """A later job has more, or corrected, instances; what this one has not delivered yet never leaves."""


class IllegalMove(Exception):
    """The event cannot happen to a job in this state; the message names the events that can."""

    code: ClassVar[str] = "illegal-move"


OPEN = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING})

MOVES = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.CLAIM): JobState.RUNNING,
        (JobState.QUEUED, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.QUEUED, JobEvent.SUPERSEDE): JobState.SUPERSEDED,
        (JobState.RUNNING, JobEvent.HAND_BACK): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.FINISH): JobState.DELIVERING,
        (JobState.RUNNING, JobEvent.SKIP): JobState.SKIPPED,
        (JobState.RUNNING, JobEvent.REFUSE): JobState.REFUSED,
        (JobState.RUNNING, JobEvent.POSTPONE): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.FAIL): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.EXHAUST): JobState.QUARANTINED,
        (JobState.RUNNING, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.RUNNING, JobEvent.SUPERSEDE): JobState.SUPERSEDED,
        (JobState.DELIVERING, JobEvent.DELIVER): JobState.DELIVERED,
        (JobState.DELIVERING, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.DELIVERING, JobEvent.SUPERSEDE): JobState.SUPERSEDED,
        (JobState.SKIPPED, JobEvent.RELEASE): JobState.QUEUED,
        (JobState.REFUSED, JobEvent.RELEASE): JobState.QUEUED,
        (JobState.QUARANTINED, JobEvent.RELEASE): JobState.QUEUED,
        (JobState.QUARANTINED, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.CANCELLED, JobEvent.RELEASE): JobState.QUEUED,
    }
)


def after(state: JobState, event: JobEvent) -> JobState:
    """Return the state that `event` leads to from `state`.

    Raises:
        IllegalMove: the table has no such move.
    """
    if (state, event) not in MOVES:
        legal = ", ".join(known.value for came_from, known in MOVES if came_from is state) or "none, it is final"
        raise IllegalMove(f"a job that is {state.value} cannot {event.value}; what can happen to it: {legal}")
    return MOVES[state, event]
