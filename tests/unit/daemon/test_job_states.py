"""Every cell of (state, event): the table allows exactly what is written here, and refuses all else in words."""

from __future__ import annotations

import itertools

import pytest

from daemon.job_states import MOVES, OPEN, IllegalMove, JobEvent, JobState, after

# One row a state, one column an event; "." is a move that must be refused.
EXPECTED = """
              claim    hand-back finish     skip    refuse  postpone fail    exhaust     deliver   release cancel    supersede
QUEUED        RUNNING  .         .          .       .       .        .       .           .         .       CANCELLED SUPERSEDED
RUNNING       .        QUEUED    DELIVERING SKIPPED REFUSED QUEUED   QUEUED  QUARANTINED .         .       CANCELLED SUPERSEDED
DELIVERING    .        .         .          .       .       .        .       .           DELIVERED .       CANCELLED SUPERSEDED
DELIVERED     .        .         .          .       .       .        .       .           .         .       .         .
SKIPPED       .        .         .          .       .       .        .       .           .         QUEUED  .         .
REFUSED       .        .         .          .       .       .        .       .           .         QUEUED  .         .
QUARANTINED   .        .         .          .       .       .        .       .           .         QUEUED  CANCELLED .
CANCELLED     .        .         .          .       .       .        .       .           .         QUEUED  .         .
SUPERSEDED    .        .         .          .       .       .        .       .           .         .       .         .
"""


def cells() -> dict[tuple[JobState, JobEvent], str]:
    header, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    return {(JobState(row[0]), JobEvent(event)): outcome for row in rows for event, outcome in zip(header, row[1:], strict=True)}


def test_the_expectation_covers_every_cell() -> None:
    assert set(cells()) == set(itertools.product(JobState, JobEvent))


@pytest.mark.parametrize(("state", "event"), list(itertools.product(JobState, JobEvent)))
def test_each_event_leads_where_the_table_says_or_is_refused(state: JobState, event: JobEvent) -> None:
    outcome = cells()[state, event]
    if outcome != ".":
        assert after(state, event) is JobState(outcome)
        return
    with pytest.raises(IllegalMove, match=f"{state.value} cannot {event.value}; what can happen to it: "):
        after(state, event)


def test_every_open_state_has_a_way_on_and_every_state_is_reachable() -> None:
    assert {state for state, _ in MOVES} >= OPEN
    assert set(MOVES.values()) | {JobState.QUEUED} == set(JobState)
