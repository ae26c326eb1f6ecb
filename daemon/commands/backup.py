"""`medsam2d backup`: a copy of the store, the audit trail and everything that is not delivered yet, while the service runs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, select

from daemon.clock import system_clock
from daemon.commands.common import existing_store
from daemon.config import Config
from daemon.database.outbox_rows import SETTLED_STATES
from daemon.database.retention import UNSETTLED
from daemon.database.schema import INSTANCE, JOB, JOB_INSTANCE, OUTBOX
from daemon.database.series import standing
from daemon.errors import ConfigError, Transient
from daemon.spool import sync_folder
from daemon.store import Store
from daemon.version import version


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds."""

    folder: Path
    files: int
    bytes: int


def back_up(settings: Config, folder: Path, *, database_only: bool) -> Backup:
    """Write a backup into a new folder; it is complete, and on disk, when `backup.json` lies in it.

    The store comes first: every file that it names lies on disk before its row does, so the copy never names one that is not
    there, but for what retention removes meanwhile.

    Raises:
        ConfigError: the folder exists, or `pg_dump` is not installed.
        Transient: the copy of the database failed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise ConfigError(f"{folder}: expected a folder that does not exist yet, so that no earlier backup is overwritten") from error
    with existing_store(settings) as store:
        _copy_database(store.database.url, folder)
        files = [] if database_only else list(_needed_files(store))
    state = settings.folders.state
    for path in files:
        target = folder / "files" / path.relative_to(state if path.is_relative_to(state) else path.anchor)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, target)
    if settings.folders.audit.exists():
        for path in sorted(settings.folders.audit.iterdir()):
            (folder / "audit").mkdir(exist_ok=True)
            _copy(path, folder / "audit" / path.name)
    kept = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in kept)
    summary = {"version": version(), "at": system_clock().isoformat(), "files": len(kept), "bytes": size, "state": str(state)}
    _write(folder / "backup.json", json.dumps(summary, indent=2).encode() + b"\n")
    return Backup(folder=folder, files=len(kept), bytes=size)


def _copy_database(url: URL, folder: Path) -> None:
    if url.get_backend_name() == "sqlite":
        _copy_sqlite(Path(str(url.database)), folder / "store.sqlite")
    else:
        _dump_postgresql(url, folder / "store.pgdump")


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy page by page through SQLite, which makes the copy one state of the store while others write to it."""
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise Transient(f"{target}: the store could not be copied: {error}") from error
    if answer != "ok":
        raise Transient(f"{target}: the copy of the store is not whole: {answer}; look at the disk's health")
    _sync(target)


def _dump_postgresql(url: URL, target: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise ConfigError("pg_dump is not installed; install the PostgreSQL client of the server's version, or back the server up itself")
    plain = url.set(drivername="postgresql", password=None).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    command = [program, "--format=custom", f"--file={target}", f"--dbname={plain}"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Transient(f"{target}: pg_dump ended with {done.returncode}: {done.stderr.strip()}")
    _sync(target)


def _needed_files(store: Store) -> Iterator[Path]:
    """The files without which something could not go on: inputs of unsettled jobs and open series, conflicts, undelivered results."""
    unsettled = select(JOB_INSTANCE.c.instance_id).join(JOB, JOB.c.id == JOB_INSTANCE.c.job_id)
    unsettled = unsettled.where(JOB.c.state.in_([state.value for state in UNSETTLED]))
    without_job = ~INSTANCE.c.id.in_(select(JOB_INSTANCE.c.instance_id)) & standing()
    needed = INSTANCE.c.id.in_(unsettled) | INSTANCE.c.quarantined | without_job
    with store.database.reading() as connection:
        inputs = connection.scalars(select(INSTANCE.c.path).where(INSTANCE.c.removed_at.is_(None), needed).distinct()).all()
        results = connection.scalars(select(OUTBOX.c.path).where(OUTBOX.c.state.not_in(SETTLED_STATES)).distinct()).all()
    return (Path(path) for path in (*inputs, *results))


def _copy(source: Path, target: Path) -> None:
    try:
        _write(target, source.read_bytes())
    except FileNotFoundError:  # retention was quicker: nothing needs it any longer
        return


def _write(target: Path, data: bytes) -> None:
    target.write_bytes(data)
    _sync(target)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    sync_folder(path.parent)
