"""What a prompt recipe answers: prompts, or none found, which is a proper answer where there is no such object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from model.prompt import BoxPrompt, Prompt


@dataclass(frozen=True, kw_only=True)
class NoneFound:
    """No prompt, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class AnnotationOrigin:
    """The annotation that a prompt came from: what ties the result to it."""

    kind: str
    """SR, GSPS, RTSTRUCT or SEG."""
    sop_instance_uid: str
    item: str
    tracking_id: str = field(repr=False)
    """Free text that a person may have typed: never logged."""
    tracking_uid: str
    automatic: bool
    """Whether an algorithm drew it without a person."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedPrompt:
    """The prompt of one annotated object."""

    prompt: Prompt
    origin: AnnotationOrigin


Found: TypeAlias = tuple[BoxPrompt | AnnotatedPrompt, ...] | NoneFound
"""One prompt an object."""
