"""Every test of the store runs on both databases: SQLite, and a PostgreSQL cluster of this test run where it can be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from daemon.clock import system_clock
from daemon.database.engine import Database
from daemon.database.migrations import KNOWN, migrate
from daemon.database.schema import METADATA, SCHEMA_VERSION
from tests.component.postgresql_cluster import Cluster, running_cluster, why_absent
from tests.component.store_site import Site, new_site, url_of


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for this test run."""
    reason = why_absent()
    if reason is not None:
        pytest.skip(reason)
    with running_cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return url_of(tmp_path)
    running: Cluster = request.getfixturevalue("cluster")
    return running.new_database()


@pytest.fixture(scope="session")
def migrated_url(cluster: Cluster) -> str:
    """One database on the cluster whose tables exist; `site` empties them for each test."""
    url = cluster.new_database()
    database = Database(url, busy_seconds=5)
    migrate(database, system_clock)
    database.close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """An empty store on each kind of database."""
    url = url_of(tmp_path) if request.param == "sqlite" else request.getfixturevalue("migrated_url")
    made = new_site(tmp_path, url=url)
    if request.param == "postgresql":
        names = ", ".join(table.name for table in METADATA.sorted_tables if table is not SCHEMA_VERSION)
        with made.store.database.writing() as connection:
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
    yield made
    made.store.close()
    if request.param == "postgresql":  # a test may have given the store a version of its own
        with made.store.database.writing() as connection:
            connection.execute(delete(SCHEMA_VERSION).where(SCHEMA_VERSION.c.number.not_in(sorted(KNOWN))))
        made.store.close()
