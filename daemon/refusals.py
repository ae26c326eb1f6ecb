"""Refusals: instances that cannot be segmented, why, and which rule wanted them."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.written import WrittenObject
from dicom_io.errors import DuplicatePositions, GantryTilt, MixedGeometry, RejectedInput, UndecodablePixels, UnevenSpacing
from dicom_io.slice_stack import Refused
from rules.match import Plan

IMAGE_FAULTS = (DuplicatePositions, GantryTilt, MixedGeometry, UndecodablePixels, UnevenSpacing)
"""What is wrong with images of a patient that somebody waits for; a localizer or a report page is refused without a word to the PACS."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Instances of a series that cannot be segmented, and why."""

    refused: Refused
    plan: Plan | None = None
    """The rule that wanted them; None where none did, or where they are nothing that a rule could want."""
    written: tuple[WrittenObject, ...] = ()
    """A report that says so, where the rule asks for one."""

    @property
    def error(self) -> RejectedInput:
        """Why, as a typed error."""
        return self.refused.error

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, as the only line of a list."""
        return self.refused.reasons

    @property
    def shadow(self) -> bool:
        """Whether the rule is in shadow: what is written is sent to nobody."""
        return self.plan is not None and self.plan.rule.shadow
