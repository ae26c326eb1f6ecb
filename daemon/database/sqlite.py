"""SQLite as the store: one file, no server, all processes on one host and a local file system.

It runs in WAL mode with `synchronous=FULL` (with NORMAL the last commits are lost when the power fails), and every writing
transaction begins with `BEGIN IMMEDIATE`, so that a claim reads and writes under one lock.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event

from daemon.database.errors import StoreBusy, StoreFull, StoreUnavailable
from daemon.errors import ConfigError, Transient

IDENTITY = "INTEGER PRIMARY KEY AUTOINCREMENT"  # ids are never used twice, unlike a bare rowid's

# The error's name begins with -> our error and the cure (https://www.sqlite.org/rescode.html).
ERRORS: tuple[tuple[str, type[Transient], str], ...] = (
    ("SQLITE_BUSY", StoreBusy, "another process holds the write lock; look for a stopped process or a slow disk"),
    ("SQLITE_LOCKED", StoreBusy, "another connection holds the lock; look for a stopped process or a slow disk"),
    ("SQLITE_FULL", StoreFull, "the disk or quota is full; free space and it goes on by itself"),
    ("SQLITE_IOERR", StoreUnavailable, "the file system failed; look at the disk's free space and health"),
    ("SQLITE_CANTOPEN", StoreUnavailable, "the file cannot be opened; check that its folder exists and belongs to the service's user"),
    ("SQLITE_READONLY", StoreUnavailable, "the file is read-only; give the service's user the right to write it and its folder"),
    ("SQLITE_CORRUPT", StoreUnavailable, "the file is damaged; restore it from a backup"),
    ("SQLITE_NOTADB", StoreUnavailable, "the file is not a SQLite database; check store.url"),
)


def open_engine(url: URL, busy_seconds: float) -> Engine:
    """Return the engine of a database file, whose folder is made if it does not exist. Raises ConfigError without a file."""
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"store.url: expected a file, since several processes share the store, got {url}")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # `Database` ends every transaction itself. Last in, first out: the connection that wrote last knows what its cache holds.
    engine = create_engine(url, connect_args={"timeout": busy_seconds}, pool_reset_on_return=None, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # else the driver decides by itself when a transaction begins
        _switch_to_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


def typed(error: BaseException | None) -> tuple[type[Transient], str] | None:
    """Return our error and its words for one of the driver's, None for a fault of ours."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return next(((kind, f"{error} ({name}): {cure}") for prefix, kind, cure in ERRORS if name.startswith(prefix)), None)


def _switch_to_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL; SQLite does not wait by itself when several processes switch a new file at once."""
    give_up = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return
