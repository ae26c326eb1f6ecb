"""What is wrong with a configuration, rule or atlas file: every fault at once, each with its file, line and path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing to mend: where it stands and what was expected; `line` counts from 1, None for the file as a whole."""

    file: Path
    line: int | None
    path: str
    """Dotted place in the document, for example `rules[0].targets[1].label`; empty for the document itself."""
    message: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigFaults(Exception):
    """A configuration or rule file cannot be used; the message lists every fault as `file:line: path: message`."""

    code: ClassVar[str] = "config-faults"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class InvalidAtlas(Exception):
    """A file that is no atlas, or what cannot become one."""

    code: ClassVar[str] = "invalid-atlas"
