"""Switches that people throw and every process of every host obeys: they lie in the store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from daemon.database.book import Book
from daemon.database.schema import SWITCH

DRAIN = "drain"
"""While it is thrown no worker claims a job; those that run go on, and so do reception and delivery."""


class SwitchBook(Book):
    """Throws switches and tells how they stand."""

    def throw(self, name: str) -> datetime:
        """Throw a switch; return since when it is thrown, which is earlier than now if it was already."""
        now = self.clock()
        with self.database.writing_alone() as connection:
            since: datetime | None = connection.scalar(select(SWITCH.c.since).where(SWITCH.c.name == name))
            if since is None:
                connection.execute(insert(SWITCH).values(name=name, since=now))
        return since or now

    def throw_back(self, name: str) -> bool:
        """Throw a switch back; return whether it was thrown."""
        with self.database.writing() as connection:
            return connection.execute(delete(SWITCH).where(SWITCH.c.name == name)).rowcount == 1

    def thrown_since(self, name: str) -> datetime | None:
        """Return since when a switch is thrown, None if it is not."""
        with self.database.reading() as connection:
            since: datetime | None = connection.scalar(select(SWITCH.c.since).where(SWITCH.c.name == name))
            return since
