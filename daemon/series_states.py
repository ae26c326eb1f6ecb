"""Series states and their legal moves: when does a series count as complete, and what opens it again?

The evidence comes from `daemon.evidence`; one table says what may become of a series, and nothing else decides it.
"""

from __future__ import annotations

import enum
from types import MappingProxyType


class SeriesState(enum.StrEnum):
    """Whether more instances are expected."""

    WAITING = "WAITING"
    """Instances still come, or came a moment ago."""
    HELD = "HELD"
    """Quiet, but the evidence says that something is missing; it waits for the rest until its deadline."""
    COMPLETE = "COMPLETE"
    """All the evidence says that it is whole; its job is queued."""
    PARTIAL = "PARTIAL"
    """Something is missing and the deadline passed; its job says so in everything it makes."""
    DISCARDED = "DISCARDED"
    """Something is missing, the deadline passed, and the configuration wants no result of a part."""
    PASSED_OVER = "PASSED_OVER"
    """It is whole, and another series of its study serves their rule better; its job is skipped with the scores."""


class SeriesEvent(enum.StrEnum):
    """What can happen to a series."""

    ARRIVE = "arrive"
    """An instance of it came that was not there before, or a correction of one."""
    PROVE_WHOLE = "prove-whole"
    """It is quiet, and nothing says that anything is missing."""
    PROVE_SHORT = "prove-short"
    """It is quiet, and something is missing."""
    RUN_PARTIAL = "run-partial"
    """The deadline passed, and the part is to be processed."""
    DISCARD = "discard"
    """The deadline passed, and the part is not to be processed."""
    PASS_OVER = "pass-over"
    """Its study is complete, and another series of it was chosen."""


OPEN_SERIES = frozenset({SeriesState.WAITING, SeriesState.HELD})
"""No job has been queued yet for what they hold."""

SERIES_MOVES = MappingProxyType(
    {
        **{(state, SeriesEvent.ARRIVE): SeriesState.WAITING for state in SeriesState},
        (SeriesState.WAITING, SeriesEvent.PROVE_WHOLE): SeriesState.COMPLETE,
        (SeriesState.WAITING, SeriesEvent.PROVE_SHORT): SeriesState.HELD,
        (SeriesState.WAITING, SeriesEvent.RUN_PARTIAL): SeriesState.PARTIAL,
        (SeriesState.WAITING, SeriesEvent.DISCARD): SeriesState.DISCARDED,
        (SeriesState.WAITING, SeriesEvent.PASS_OVER): SeriesState.PASSED_OVER,
        (SeriesState.HELD, SeriesEvent.PASS_OVER): SeriesState.PASSED_OVER,
        (SeriesState.HELD, SeriesEvent.PROVE_WHOLE): SeriesState.COMPLETE,
        (SeriesState.HELD, SeriesEvent.PROVE_SHORT): SeriesState.HELD,
        (SeriesState.HELD, SeriesEvent.RUN_PARTIAL): SeriesState.PARTIAL,
        (SeriesState.HELD, SeriesEvent.DISCARD): SeriesState.DISCARDED,
    }
)
