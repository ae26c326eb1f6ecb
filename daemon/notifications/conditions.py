"""What may need a person, and the words for it: numbers and names of the configuration, never anything of a patient."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


class Kind(enum.StrEnum):
    """What is told."""

    DESTINATION_DOWN = "destination-down"
    """Results that a destination did not take have waited for longer than allowed."""
    JOB_QUARANTINED = "job-quarantined"
    """Jobs were put aside."""
    DELIVERY_QUARANTINED = "delivery-quarantined"
    """A destination will never take some results as they are."""
    DISK_LOW = "disk-low"
    """A disk has less free space than it should."""
    CERTIFICATE_EXPIRES = "certificate-expires"
    """A certificate of ours expires soon, has expired or cannot be read."""
    PROCESS_DIES = "process-dies"
    """A process of the service, the worker for example, ends again and again."""
    AUDIT_STALLED = "audit-stalled"
    """Audit messages wait for their repository."""


Key: TypeAlias = tuple[str, str]
"""Kind and subject: two conditions with one key are the same, seen at two moments."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Something that needs a person now."""

    kind: Kind
    subject: str = ""
    """Whose: a name of the configuration (destination, folder) or of ours (a role)."""
    since: datetime
    """Since when, as far as is known; aware, UTC."""
    count: int = 1
    """How many jobs, results or ends; one that grows is told again, where the kind says so."""
    measure: str = ""
    """What was measured, in our own words."""

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.kind.value, self.subject


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a kind is spoken of; `{subject}`, `{count}` and `{measure}` are filled in."""

    raised: str
    cleared: str
    cure: str
    grows: bool = False
    """Whether a larger count is news."""


WORDS: Mapping[Kind, Words] = {
    Kind.DESTINATION_DOWN: Words(
        raised="{subject}: {count} result(s) that it did not take wait",
        cleared="{subject}: no result that it did not take waits any longer",
        cure="medsam2d echo {subject}",
    ),
    Kind.JOB_QUARANTINED: Words(
        raised="{count} job(s) are put aside and wait for a person",
        cleared="no job is put aside any longer",
        cure="medsam2d quarantine list",
        grows=True,
    ),
    Kind.DELIVERY_QUARANTINED: Words(
        raised="{subject}: {count} result(s) will never be taken as they are, and wait for a person",
        cleared="{subject}: no result waits for a person any longer",
        cure="medsam2d deliveries list",
        grows=True,
    ),
    Kind.DISK_LOW: Words(
        raised="the disk of {subject} fills: {measure}",
        cleared="the disk of {subject} has room again",
        cure="see retention in docs/operations.md",
    ),
    Kind.CERTIFICATE_EXPIRES: Words(
        raised="the certificate of {subject} {measure}",
        cleared="the certificate of {subject} is good again",
        cure="put a renewed certificate in its place",
    ),
    Kind.PROCESS_DIES: Words(
        raised="{subject} keeps dying: it ended {count} times within ten minutes",
        cleared="{subject} has not died again and again within ten minutes",
        cure="journalctl -u medsam2d",
    ),
    Kind.AUDIT_STALLED: Words(
        raised="audit messages wait for their repository",
        cleared="the audit repository has read everything",
        cure="see docs/audit.md; nothing is lost meanwhile",
    ),
}
"""Every kind; what is said of it."""


def spoken(condition: Condition) -> str:
    """Return what is said of a condition that holds."""
    return _filled(WORDS[condition.kind].raised, condition.subject, condition.count, condition.measure)


def spoken_end(key: Key) -> str:
    """Return what is said of a condition that holds no longer."""
    kind, subject = key
    return _filled(WORDS[Kind(kind)].cleared, subject, 0, "")


def cure_of(key: Key) -> str:
    """Return what a person does first."""
    kind, subject = key
    return _filled(WORDS[Kind(kind)].cure, subject, 0, "")


def _filled(text: str, subject: str, count: int, measure: str) -> str:
    return text.format(subject=subject, count=count, measure=measure)
