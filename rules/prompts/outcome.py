"""What a prompt recipe answers: objects with their prompts, or none found, which is a proper answer where there is no such object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from dicom_io.codes import Code
from model.prompt import Prompt
from rules.prompts.extent import Extent


@dataclass(frozen=True, kw_only=True)
class NoneFound:
    """No prompt, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class PromptOrigin:
    """The annotation, or the segment of an earlier study, that a prompt came from: what ties the result to it."""

    kind: str
    """SR, GSPS, RTSTRUCT or SEG."""
    sop_instance_uid: str
    item: str
    tracking_id: str = field(repr=False)
    """Free text that a person may have typed: never logged."""
    tracking_uid: str
    automatic: bool
    """Whether an algorithm drew it without a person."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundObject:
    """One object: its prompts (at least one, on different slices), the most important first."""

    prompts: tuple[Prompt, ...]
    name: str = ""
    """What tells it from the recipe's other objects, for its label (`left`); empty: it is numbered where there are several."""
    laterality: Code | None = None
    """Where the recipe knows it."""
    origin: PromptOrigin | None = None
    extent: Extent | None = None
    """Of the region that the prompts were made from; None where only the prompts are known."""


Found: TypeAlias = tuple[FoundObject, ...] | NoneFound
