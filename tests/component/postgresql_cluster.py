"""A PostgreSQL cluster for the length of a test run: in a temporary folder, on a Unix socket alone, as a user that is not root."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"


def why_absent() -> str | None:
    """Why no cluster can be made here, None if it can."""
    if not (BINARIES / "initdb").exists():
        return f"no PostgreSQL at {BINARIES} (apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401  # the extra `postgres`
    except ModuleNotFoundError:
        return "psycopg is not installed (the extra `postgres`)"
    if os.getuid() == 0 and USER not in {entry.pw_name for entry in pwd.getpwall()}:
        return f"PostgreSQL does not run as root, and there is no user {USER}"
    return None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running server; `new_database` gives each test a database of its own."""

    socket: Path
    user: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"site_{next(self._numbers)}"
        _run("psql", "-q", "-h", str(self.socket), "-d", "postgres", "-c", f"CREATE DATABASE {name}")
        return f"postgresql://{self.user}@/{name}?host={self.socket}"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A new cluster, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="medsam2d-pg-"))
    user = USER if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        shutil.chown(folder, USER)
    data = folder / "data"
    _run("initdb", "-D", str(data), "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=60 -c shared_buffers=16MB"
    try:
        _run("pg_ctl", "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start")
        yield Cluster(socket=folder, user=user)
    finally:
        _run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str, check: bool = True) -> None:
    who = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*who, str(BINARIES / program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
