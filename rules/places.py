"""Places: the file and line of every part of a YAML document, and how a path is spelled in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from rules.errors import Fault

Step: TypeAlias = str | int
"""A key of a mapping or an index of a list."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Lines (from 1) of a file's parts by their path; the empty path is the document."""

    file: Path
    lines: dict[tuple[Step, ...], int] = field(default_factory=dict)

    def nearest(self, path: Sequence[Step]) -> tuple[Step, ...]:
        """Return the path as the document knows it: steps that no key or index stands for (names of union members) are left out."""
        known: tuple[Step, ...] = ()
        for step in path:
            if (*known, step) in self.lines:
                known = (*known, step)
        return known

    def fault(self, path: Sequence[Step], message: str) -> Fault:
        """Return a fault at `path`, on the line of its nearest known part."""
        known = self.nearest(path)
        return Fault(file=self.file, line=self.lines.get(known, 1), path=self.spell(known), message=message)

    @staticmethod
    def spell(path: Sequence[Step]) -> str:
        """Return `('rules', 0, 'name')` as `rules[0].name`."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
