"""The database underneath: connections, transactions and errors; `sqlite.py` and `postgresql.py` hold what differs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType, ModuleType

from sqlalchemy import URL, Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from daemon.database import postgresql, sqlite
from daemon.errors import ConfigError, Transient

DIALECTS = MappingProxyType({"sqlite": sqlite, "postgresql": postgresql})


class Database:
    """One database, safe to open from several processes and threads at once."""

    def __init__(self, url: str, *, busy_seconds: float) -> None:
        """Open `url`; `busy_seconds` is how long a transaction waits for another process' lock."""
        self.url = _checked(url)
        self.place = self.url.set(query={}).render_as_string(hide_password=True)  # a password may stand among the parameters too
        self._dialect: ModuleType = DIALECTS[self.url.get_backend_name()]
        self._engine = self._dialect.open_engine(self.url, busy_seconds)
        self._writer = self._engine.execution_options(write=True)

    @property
    def is_server(self) -> bool:
        """Whether it may be shared by several hosts, whose clocks then do not count."""
        return self._dialect is postgresql

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and on SQLite sees one state of the store."""
        with self._typed_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading_one_state(self) -> Iterator[Connection]:
        """A transaction whose queries all see the store at one moment, for sums that must add up."""
        with self._typed_errors(), self._engine.connect() as connection:
            if self.is_server:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: committed and on disk at the end of the block, undone by an exception in it.

        Raises:
            StoreBusy, StoreFull, StoreUnavailable: nothing was written.
        """
        with self._typed_errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def writing_alone(self) -> Iterator[Connection]:
        """Like `writing`, one transaction of this kind at a time: for what must look before it writes."""
        with self.writing() as connection:
            if self.is_server:  # SQLite has one writer anyway
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": postgresql.KEY_OF_LOCK})
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            typed = self._typed(error.orig)
            if typed is None:
                raise
            raise typed from error
        except sqlite3.Error as error:  # while a connection is being prepared, before SQLAlchemy wraps errors
            typed = self._typed(error)
            if typed is None:
                raise
            raise typed from error

    def _typed(self, error: BaseException | None) -> Transient | None:
        found = self._dialect.typed(error)
        if found is None:
            return None
        kind, words = found
        typed: Transient = kind(f"the store {self.place}: {words}")
        return typed


def identity_column(dialect: str) -> str:
    """Return the type of a primary key that the database counts up, in the words of `dialect`."""
    return str(DIALECTS[dialect].IDENTITY)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "store.url: expected a database URL such as sqlite:////var/lib/medsam2d/store.sqlite, got another text"
        ) from error
    if parsed.get_backend_name() not in DIALECTS:
        raise ConfigError(f"store.url: expected one of {sorted(DIALECTS)}, got {parsed.get_backend_name()!r}")
    return parsed
