"""How long each stage of a job took, on a clock that only moves forward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Stages:
    """Collects seconds a stage name; a stage entered twice adds up."""

    seconds: dict[str, float] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the `with` block under `name`."""
        began = self.now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - began
