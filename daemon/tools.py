"""What the journey needs besides the series: rules, warm models, result settings, and someone to tell how it goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from daemon.config import ResultSettings
from daemon.mask_shelf import MaskShelf
from model.options import PropagationOptions
from model.segmenter import Segmenter
from rules.rule import RuleSet


class ModelRoom(Protocol):
    """Where warm models are kept."""

    def segmenter(self, weights: str | None) -> Segmenter:
        """Return the resident segmenter of a weights name (None: the default weights)."""

    def sha256(self, weights: str | None) -> str:
        """Return the SHA-256 of the weights file behind a name."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the journey needs besides the series."""

    ruleset: RuleSet
    models: ModelRoom
    result: ResultSettings
    stage: Callable[[str], AbstractContextManager[None]]
    """`with tools.stage(name):` times a stage."""
    progress: Callable[[int, int], None]
    """Called with (slices done, slices in all) while masks are propagated."""
    options: PropagationOptions
    """How masks are propagated where the rule does not say."""
    shelf: MaskShelf | None = None
    """Where masks are kept between inference and the objects written of them; None keeps none."""
