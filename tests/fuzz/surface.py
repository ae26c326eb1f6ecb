"""A surface: a door that foreign bytes come in by, how an input for it is made of a seed and a number, and how a run is judged."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.byte_faults import Dice
from tests.fuzz.guard import Finding, Guard, expect_discreet

Try = Callable[[Dice], str]
"""Makes one input of the dice, hands it to the product, and says in a word what became of it."""
LEAKED_DESCRIPTORS = 12
"""More open files at the end than after the first inputs: pools and caches settle by then."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """One door."""

    name: str
    opened: Callable[[Path], AbstractContextManager[Try]]
    """Prepares seeds in a folder of its own."""
    refusals: tuple[type[Exception], ...] = ()
    """What the product may raise here; anything else is a fault."""


@dataclass(kw_only=True)
class Tally:
    """What the inputs of a surface led to."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def run(
    surface: Surface, folder: Path, seed: int, count: int, *, first: int = 0, began: Callable[[int], None] = lambda _number: None
) -> Tally:
    """Try inputs `first` to `count` - 1 of a seed in a folder; raises what an input led to, with a note that says how to repeat it."""
    tally = Tally()
    folder.mkdir(parents=True, exist_ok=True)
    guard = Guard(folder)
    with quiet("pydicom", "highdicom", "pynetdicom"), surface.opened(folder) as attempt, guard.watching():
        settled = 0
        for number in range(first, count):
            began(number)
            try:
                with guard.one():
                    tally.outcomes[_outcome(surface, attempt, Dice(f"{surface.name}/{seed}/{number}"))] += 1
                guard.check()
            except BaseException as error:
                error.add_note(f"repeat: python -m tests.fuzz --surface {surface.name} --seed {seed} --first {number} --count {number + 1}")
                raise
            tally.inputs += 1
            settled = _descriptors() if tally.inputs == min(200, count - first) else settled
        gc.collect()
        if _descriptors() > settled + LEAKED_DESCRIPTORS:
            raise Finding(f"{surface.name}: {_descriptors()} open files after {tally.inputs} inputs, {settled} after the first")
    return tally


def _outcome(surface: Surface, attempt: Try, dice: Dice) -> str:
    try:
        return attempt(dice)
    except surface.refusals as error:
        if not str(error).strip():
            raise Finding(f"{type(error).__name__} without words") from error
        expect_discreet(str(error))
        return str(getattr(error, "code", type(error).__name__))


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names alone


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Silence libraries that quote values, as the service does; what runs later in the same process is heard again."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
