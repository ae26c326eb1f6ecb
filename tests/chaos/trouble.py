"""Trouble: everything that an episode does to the service, its archive, its networks, its disk and its files."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.archives import Archive
from tests.chaos.network import Proxy
from tests.chaos.service import Service
from tests.e2e.harness import Site

MASKS, SPOOL = "masks/*.npz", "spool/instances/*/*/*.dcm"
STUDY_BYTES, RESULT_BYTES = 40_000, 20_000
"""Of what goes over a network in one exchange, roughly."""
LEASE_SECONDS = 33.0
"""Longer than a lease lasts without a sign of life."""


@dataclass(kw_only=True)
class Trouble:
    """Does harm, counts it, and knows how to mend what does not mend itself."""

    site: Site
    draw: random.Random
    service: Service
    archive: Archive
    to_listener: Proxy
    to_archive: Proxy
    archive_is_up: bool = True
    done: Counter[str] = field(default_factory=Counter)
    interruptions: int = 0
    """How often sending to the archive may have been broken."""
    mends: list[Callable[[], None]] = field(default_factory=list)

    def kill(self, role: str) -> None:
        """End one process."""
        if self.service.kill(role):
            self.done[f"kill {role}"] += 1
            self.interruptions += role == "delivery"

    def cut_power(self) -> None:
        """End everything at once, and start it again."""
        self.service.power_cut()
        self.done["kill everything"] += 1
        self.interruptions += 1
        self.service.start()

    def stop_archive(self) -> None:
        """The archive is away for a moment."""
        self.archive.stop()
        self.interruptions += 1
        self.done["archive away"] += 1
        time.sleep(self.draw.uniform(0.5, 3))
        self.archive.start()

    def reset_senders(self) -> None:
        """A connection of a sender breaks, in the midst of what it carries."""
        self.to_listener.reset_after(self.draw.randrange(STUDY_BYTES))

    def reset_archive(self) -> None:
        """A connection to the archive breaks, in the midst of what it carries."""
        self.interruptions += 1
        self.to_archive.reset_after(self.draw.randrange(RESULT_BYTES))

    def swallow_senders(self) -> None:
        """The senders' network is a black hole for a while."""
        self.to_listener.swallow(self.draw.uniform(0.5, 3))
        self.done["senders in a black hole"] += 1

    def swallow_archive(self) -> None:
        """The archive's network is a black hole for a while."""
        self.interruptions += 1
        self.to_archive.swallow(self.draw.uniform(0.5, 3))
        self.done["archive in a black hole"] += 1

    def freeze(self) -> None:
        """A process gets no time for a while; that alone ends nothing."""
        role = self.draw.choice(("listener", "worker", "delivery"))
        pid = self.service.signal(role, signal.SIGSTOP)
        if pid is not None:
            time.sleep(self.draw.uniform(0.3, 2))
            _wake(pid)
            self.done["freeze"] += 1

    def freeze_past_the_lease(self) -> None:
        """A worker freezes for so long that another takes its job over, and wakes up again."""
        pid = self.service.signal("worker", signal.SIGSTOP)
        if pid is not None:
            time.sleep(LEASE_SECONDS)
            _wake(pid)
            self.done["freeze past the lease"] += 1

    def damage(self, pattern: str) -> None:
        """One bit of a file turns; in the end the file is restored, as from a backup."""
        files = sorted((self.site.folder / "state").glob(pattern))
        if not files:
            return
        path = self.draw.choice(files)
        original = path.read_bytes()
        changed = bytearray(original)
        changed[self.draw.randrange(len(changed) * 3 // 4, len(changed) - 8)] ^= 1 << self.draw.randrange(8)
        path.write_bytes(changed)
        self.done[f"damage {pattern.split('/')[0]}"] += 1
        if pattern == SPOOL:
            self.mends.append(lambda: _restore(path, bytes(changed), original))

    def fill_disk(self) -> None:
        """Nothing can be written for a while."""
        filler = self.site.folder / "state" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * (1 << 16))
        self.interruptions += 1
        self.done["disk full"] += 1
        time.sleep(self.draw.uniform(1, 4))
        filler.unlink()

    def choices(self, *, small_disk: bool) -> tuple[tuple[Callable[[], None], float], ...]:
        """What may be done, each with its weight."""
        archive = ((self.stop_archive, 1.0), (self.reset_archive, 1.5), (self.swallow_archive, 0.5))
        return (
            (lambda: self.kill("listener"), 6.0),
            (lambda: self.kill("delivery"), 5.0),
            (lambda: self.kill("worker"), 3.0),
            (self.cut_power, 1.0),
            (self.reset_senders, 1.5),
            (self.swallow_senders, 0.5),
            (self.freeze, 1.0),
            (lambda: self.damage(MASKS), 0.5),
            (lambda: self.damage(SPOOL), 0.5),
            *(archive if self.archive_is_up else ()),
            *(((self.fill_disk, 2.0),) if small_disk else ()),
        )


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _restore(path: Path, damaged: bytes, original: bytes) -> None:
    """Put the original back, unless something else has come in its place."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == damaged:
            path.write_bytes(original)
