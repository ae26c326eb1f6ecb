"""A short, always equal run of the fuzz of the acceptor; `make fuzz` runs long ones."""

from __future__ import annotations

import logging

import pytest

from tests.fuzz.association import Tally, run

COUNT = 2000


@pytest.mark.filterwarnings("ignore")  # pydicom warns of values in the fuzzed commitment messages
def test_no_input_crashes_the_acceptor_or_leaves_a_deposit_open(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    tally = Tally()
    run(1, COUNT, tally)
    assert tally.inputs == COUNT
    # The inputs reach far enough to prove something.
    assert min(tally.associated, tally.answered, tally.kept, tally.understood) > COUNT / 10
