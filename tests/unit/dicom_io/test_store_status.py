"""Every DIMSE status has one meaning, and what cannot be read is never given up."""

from __future__ import annotations

import pytest

from dicom_io.store_status import STATUS_TABLE, UNKNOWN, Outcome, meaning_of

EXPECTED = {
    0x0000: Outcome.STORED,
    0x0001: Outcome.STORED,
    0x0110: Outcome.TRANSIENT,
    0x0111: Outcome.STORED,
    0x0117: Outcome.PERMANENT,
    0x0122: Outcome.CLASS_REFUSED,
    0x0124: Outcome.TRANSIENT,
    0xA700: Outcome.TRANSIENT,
    0xA7FF: Outcome.TRANSIENT,
    0xA900: Outcome.PERMANENT,
    0xA9FF: Outcome.PERMANENT,
    0xB000: Outcome.STORED,
    0xB007: Outcome.STORED,
    0xC000: Outcome.PERMANENT,
    0xC122: Outcome.CLASS_REFUSED,
    0xCFFF: Outcome.PERMANENT,
}


@pytest.mark.parametrize("status", EXPECTED)
def test_a_status_means_what_the_standard_says(status: int) -> None:
    assert meaning_of(status).outcome is EXPECTED[status]


def test_a_status_of_no_known_meaning_is_tried_again() -> None:
    assert meaning_of(0xD123) is UNKNOWN
    assert UNKNOWN.outcome is Outcome.TRANSIENT


def test_every_row_counts_for_some_status() -> None:
    assert {id(meaning_of(status)) for status in range(0x10000)} == {id(row) for row in (*STATUS_TABLE, UNKNOWN)}
