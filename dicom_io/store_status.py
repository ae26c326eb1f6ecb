"""What the answer to a C-STORE means: one table says for each DIMSE status whether it was stored, and whether a retry helps.

Statuses are those of PS3.4 table B.2-1 (storage) and PS3.7 annex C (general). STOW-RS reports the same ones as failure and
warning reasons (PS3.18 annex I.2.2), so that the table serves both.
"""

from __future__ import annotations

import dataclasses
import enum


class Outcome(enum.Enum):
    """What became of one object that was sent, or offered."""

    STORED = "stored"
    """The peer has it, perhaps with a remark."""
    CLASS_REFUSED = "class-refused"
    """The peer takes no object of this SOP class or transfer syntax; another form of it may pass."""
    PERMANENT = "permanent"
    """The peer will never take this object as it is; a person must look."""
    TRANSIENT = "transient"
    """The peer cannot take it now; a retry may help."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatusMeaning:
    """The statuses from `first` to `last`, inclusive."""

    first: int
    last: int
    outcome: Outcome
    meaning: str
    """In the words of the standard."""
    cure: str = "see the peer's log"


def _row(first: int, last: int, outcome: Outcome, meaning: str, cure: str = "see the peer's log") -> StatusMeaning:
    return StatusMeaning(first=first, last=last, outcome=outcome, meaning=meaning, cure=cure)


ALLOW_CLASS = "allow this SOP class and transfer syntax for our AE title there"
RETRY = "free resources there; it is sent again by itself"
REPORT = "the peer judges this object faulty: compare its log with `dciodvfy`, then release it, or cancel the job"

STATUS_TABLE = (
    _row(0x0000, 0x0000, Outcome.STORED, "success"),
    _row(0x0001, 0x0001, Outcome.STORED, "requested optional attributes are not supported"),
    _row(0x0105, 0x0106, Outcome.PERMANENT, "no such attribute, or an invalid attribute value", REPORT),
    _row(0x0107, 0x0107, Outcome.STORED, "attribute list error"),
    _row(0x0110, 0x0110, Outcome.TRANSIENT, "processing failure", RETRY),
    # The UID derives from the content: what the peer has under it is this very object, and an earlier answer was lost.
    _row(0x0111, 0x0111, Outcome.STORED, "duplicate SOP instance: an earlier send arrived"),
    _row(0x0115, 0x0115, Outcome.PERMANENT, "invalid argument value", REPORT),
    _row(0x0116, 0x0116, Outcome.STORED, "attribute value out of range"),
    _row(0x0117, 0x0117, Outcome.PERMANENT, "invalid SOP instance", REPORT),
    _row(0x0118, 0x0118, Outcome.CLASS_REFUSED, "no such SOP class", ALLOW_CLASS),
    _row(0x0119, 0x0119, Outcome.PERMANENT, "class-instance conflict", REPORT),
    _row(0x0120, 0x0121, Outcome.PERMANENT, "missing attribute, or attribute value", REPORT),
    _row(0x0122, 0x0122, Outcome.CLASS_REFUSED, "SOP class not supported", ALLOW_CLASS),
    # A person at the peer has to allow us; until then it is no fault of the object.
    _row(0x0124, 0x0124, Outcome.TRANSIENT, "refused: not authorized", "authorise our AE title to store there; it is sent again by itself"),
    _row(0x0210, 0x0210, Outcome.TRANSIENT, "duplicate invocation"),
    _row(0x0211, 0x0211, Outcome.CLASS_REFUSED, "unrecognized operation", ALLOW_CLASS),
    _row(0x0212, 0x0212, Outcome.PERMANENT, "mistyped argument", REPORT),
    _row(0x0213, 0x0213, Outcome.TRANSIENT, "resource limitation", RETRY),
    _row(0xA700, 0xA7FF, Outcome.TRANSIENT, "refused: out of resources", RETRY),
    _row(0xA800, 0xA8FF, Outcome.CLASS_REFUSED, "refused: SOP class not supported (retired code)", ALLOW_CLASS),
    _row(0xA900, 0xA9FF, Outcome.PERMANENT, "data set does not match SOP class", REPORT),
    _row(0xB000, 0xBFFF, Outcome.STORED, "stored with coercion, elements discarded or another warning"),
    # STOW-RS alone (PS3.18 table I.2-2): the transfer syntax of this object is not supported.
    _row(0xC122, 0xC122, Outcome.CLASS_REFUSED, "referenced transfer syntax not supported", ALLOW_CLASS),
    _row(0xC000, 0xCFFF, Outcome.PERMANENT, "cannot understand", REPORT),
)
"""The first row that holds a status counts."""

UNKNOWN = _row(0, 0xFFFF, Outcome.TRANSIENT, "a status of no known meaning")
"""Kept and tried again: nothing is given up for a status that we cannot read."""

SUCCESS = 0x0000


def meaning_of(status: int) -> StatusMeaning:
    """Return the row of the table that holds a DIMSE status, `UNKNOWN` where none does."""
    return next((row for row in STATUS_TABLE if row.first <= status <= row.last), UNKNOWN)
