"""The notifier role: one thread looks at what holds, and one a channel tells it, so that a channel that hangs delays no other."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path

from daemon.child import Life, repeat
from daemon.clock import Clock, system_clock
from daemon.config import Config
from daemon.errors import Transient
from daemon.notification_settings import NotificationSettings
from daemon.notifications.channels import channels_of
from daemon.notifications.conditions import Condition
from daemon.notifications.desk import NoticeDesk
from daemon.notifications.watch import Watch
from daemon.store import Store

LOOK_SECONDS = 10.0
"""How often store, disks and certificates are looked at."""
TELL_SECONDS = 1.0
FOLDER = "notifications"
"""In the state folder: what each channel was told."""


def tell_people(settings: Config, own: NotificationSettings, store: Store, life: Life) -> None:
    """Watch and tell until told to stop. Raises ConfigError for certificates or credentials that cannot be used."""
    watch = Watch(settings=settings, own=own, store=store, clock=system_clock)
    desks = desks_of(settings, own, system_clock)
    seen: list[tuple[Condition, ...]] = []
    """The latest look; nothing before the first."""
    quiet = Life(supervised=False, stop=life.stop)

    def tell(desk: NoticeDesk) -> bool:
        return bool(seen) and desk.tell(seen[-1])

    threads = [
        threading.Thread(target=repeat, args=(quiet, TELL_SECONDS, lambda desk=desk: tell(desk)), name=f"notify-{desk.name}", daemon=True)
        for desk in desks
    ]
    for thread in threads:
        thread.start()
    life.ready(f"over {', '.join(own.channels)}")

    def look() -> bool:
        if not all(thread.is_alive() for thread in threads):
            raise RuntimeError("the thread of a channel has ended; this process must be started again")
        try:
            seen[:] = [watch.conditions()]
        except OSError as error:  # a folder that is not there just now
            raise Transient(f"expected to look at disks and audit trail, got {error}") from error
        return False

    repeat(life, LOOK_SECONDS, look)


def desks_of(settings: Config, own: NotificationSettings, clock: Clock) -> tuple[NoticeDesk, ...]:
    """Return a desk for every channel."""
    return tuple(
        NoticeDesk(
            name=name,
            channel=channel,
            source=source_of_notices(settings),
            memory_file=_memory_file(settings.folders.state, name),
            clock=clock,
            repeat=timedelta(hours=own.repeat_hours),
            pause=timedelta(seconds=own.minimum_seconds),
        )
        for name, channel in channels_of(own).items()
    )


def source_of_notices(settings: Config) -> str:
    """Return who we are in notices, as in audit messages."""
    return settings.audit.source_id or socket.gethostname()


def _memory_file(state: Path, name: str) -> Path:
    return state / FOLDER / f"{name}.json"
