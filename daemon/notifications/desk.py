"""One channel's desk: it knows what its channel was told, sends what is new, and is patient with a channel that fails.

What was told is kept in a small file, so that a restart tells nothing twice and forgets no end; losing it costs one message too many.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from daemon.clock import Clock
from daemon.database.backoff import Backoff
from daemon.errors import ConfigError
from daemon.notifications.channels import Channel, ChannelFailed, Message
from daemon.notifications.conditions import Condition, Kind
from daemon.notifications.told import Memory, Told, lowered, notices_of, remembered

LOG = logging.getLogger("medsam2d.notifications")
BACKOFF = Backoff(minimum_seconds=30.0, maximum_seconds=3600.0)


@dataclass(kw_only=True)
class NoticeDesk:
    """Tells one channel."""

    name: str
    channel: Channel
    source: str
    memory_file: Path
    clock: Clock
    repeat: timedelta
    """What goes on is told again after so long."""
    pause: timedelta
    """Between two messages."""
    _memory: Memory = field(default_factory=dict)
    _quiet_until: datetime | None = None
    _failures: int = 0

    def __post_init__(self) -> None:
        self._memory = read_memory(self.memory_file)

    def tell(self, found: Sequence[Condition]) -> bool:
        """Tell the channel what it does not know yet of what holds now; return whether a message went out."""
        now = self.clock()
        if self._quiet_until is not None and now < self._quiet_until:
            return False
        self._remember(lowered(self._memory, found, now, self.repeat))
        notices = notices_of(self._memory, found, now, self.repeat)
        if not notices:
            return False
        try:
            self.channel.send(Message(source=self.source, at=now, notices=notices))
        except (ChannelFailed, ConfigError) as error:
            self._failed(error, len(notices), now)
            return False
        if self._failures:
            LOG.info("notifications: %s takes messages again", self.name)
        self._failures, self._quiet_until = 0, now + self.pause
        self._remember(remembered(self._memory, notices, now))
        return True

    def _failed(self, error: ChannelFailed | ConfigError, waiting: int, now: datetime) -> None:
        if not self._failures:  # once: the journal is not filled by a mail server that is down for the weekend
            LOG.warning("notifications: %d notice(s) wait and will be tried again [%s] %s", waiting, error.code, error)
        self._failures += 1
        self._quiet_until = now + BACKOFF.delay(self._failures, self.name)

    def _remember(self, memory: Memory) -> None:
        if memory == self._memory:
            return
        self._memory = memory
        try:
            write_memory(self.memory_file, memory)
        except OSError as error:
            LOG.warning("notifications: what was told is not kept (%s); a restart may tell it again", error.strerror)


def read_memory(path: Path) -> Memory:
    """Return what a file says was told; nothing where it is absent or cannot be used."""
    try:
        rows = json.loads(path.read_text(encoding="ascii"))
        return {
            (Kind(row["kind"]).value, str(row["subject"])): Told(
                since=datetime.fromisoformat(row["since"]), count=int(row["count"]), at=datetime.fromisoformat(row["at"])
            )
            for row in rows
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("notifications: %s cannot be used (%s); what holds is told anew", path.name, type(error).__name__)
        return {}


def write_memory(path: Path, memory: Memory) -> None:
    """Keep what was told. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows = [
        {"kind": kind, "subject": subject, "since": told.since.isoformat(), "count": told.count, "at": told.at.isoformat()}
        for (kind, subject), told in memory.items()
    ]
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(rows) + "\n", encoding="ascii")
    temporary.rename(path)
