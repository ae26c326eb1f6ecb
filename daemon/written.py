"""What the write stage hands on: DICOM objects as bytes, each with what its delivery has to know."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass


class ObjectKind(enum.StrEnum):
    """What a result object is, in the words of rules and destinations."""

    SEG = "seg"
    SR = "sr"
    OVERLAY = "overlay"


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One checked DICOM object; objects of a job are delivered in the order in which they are listed."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    part10: bytes
    """Its file, byte by byte."""
    destinations: tuple[str, ...]
    for_review: bool = False
    """Whether it holds what was withheld, and goes to the rule's review destinations alone."""
    alternative: WrittenObject | None = None
    """The form for a destination that refuses this one's SOP class. A destination gets the first forms of all objects of a
    job or the alternative ones, where there are any: a report refers to the form that is sent with it."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.part10).hexdigest()
