"""The book of senders: who holds an association open now, so that nobody takes a pause in the middle of a series for its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import delete, insert, select

from daemon.database.book import Book
from daemon.database.identity import WorkerIdentity
from daemon.database.schema import ASSOCIATION


class SenderBook(Book):
    """Notes the beginning and the end of associations."""

    def association_opened(self, listener: WorkerIdentity, calling_ae_title: str, peer_address: str) -> str:
        """Note that an association began; return the name to end it with."""
        name = secrets.token_hex(16)
        values = {"calling_ae_title": calling_ae_title, "peer_address": peer_address, "opened_at": self.clock()}
        owner = {"owner_host": listener.host, "owner_pid": listener.pid, "owner_boot_id": listener.boot_id}
        with self.database.writing() as connection:
            connection.execute(insert(ASSOCIATION).values(id=name, **values, **owner))
        return name

    def association_closed(self, name: str) -> None:
        """Note that an association ended, in whatever way."""
        with self.database.writing() as connection:
            connection.execute(delete(ASSOCIATION).where(ASSOCIATION.c.id == name))

    def sending(self) -> frozenset[str]:
        """Return the calling AE titles with an open association."""
        with self.database.reading() as connection:
            return frozenset(connection.scalars(select(ASSOCIATION.c.calling_ae_title).distinct()))

    def forget_dead_listeners(self, host: str, boot_id: str, is_alive: Callable[[int], bool]) -> int:
        """Drop the associations of listeners of this host that are gone; return how many. Call it when a listener starts."""
        with self.database.reading() as connection:
            rows = connection.execute(select(ASSOCIATION).where(ASSOCIATION.c.owner_host == host)).all()
        dead = [row.id for row in rows if row.owner_boot_id != boot_id or not is_alive(row.owner_pid)]
        if dead:
            with self.database.writing() as connection:
                connection.execute(delete(ASSOCIATION).where(ASSOCIATION.c.id.in_(dead)))
        return len(dead)
