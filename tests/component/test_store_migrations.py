"""Stores of every earlier version are brought up to date, and one from the future is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect

from daemon.database.engine import Database
from daemon.database.migrations import MIGRATIONS, Migration, applied, migrate
from daemon.database.schema import METADATA, SCHEMA_VERSION
from daemon.ledger import Ledger, ledger
from daemon.store import StoreTooNew, StoreTooOld, open_store
from tests.component.store_site import BOOT, FakeClock, Site, claimed, instance, new_site, queued

RELEASED = Path(__file__).parent / "released"


def columns(database: Database) -> dict[str, dict[str, bool]]:
    """Table -> column -> whether it may be empty, as the database says."""
    with database.reading() as connection:
        seen = inspect(connection)
        return {
            table: {column["name"]: bool(column["nullable"]) for column in seen.get_columns(table)}
            for table in seen.get_table_names()
            if not table.startswith("sqlite_")
        }


def expected_columns() -> dict[str, dict[str, bool]]:
    return {table.name: {column.name: bool(column.nullable) for column in table.columns} for table in METADATA.sorted_tables}


def without_keys(tables: dict[str, dict[str, bool]]) -> dict[str, dict[str, bool]]:
    """SQLite calls its own integer keys nullable, though they never are."""
    keys = {(table.name, column.name) for table in METADATA.sorted_tables for column in table.primary_key}
    return {table: {name: nullable or (table, name) in keys for name, nullable in found.items()} for table, found in tables.items()}


@pytest.mark.parametrize("start", range(len(MIGRATIONS) + 1))
def test_a_store_of_any_version_ends_with_the_tables_that_the_queries_expect(store_url: str, start: int) -> None:
    database = Database(store_url, busy_seconds=5)
    migrate(database, FakeClock(), MIGRATIONS[:start])
    assert migrate(database, FakeClock()) == tuple(step.number for step in MIGRATIONS[start:])
    assert migrate(database, FakeClock()) == ()
    assert without_keys(columns(database)) == without_keys(expected_columns())
    database.close()


def test_a_migration_that_was_written_beside_a_later_one_is_applied_nevertheless(store_url: str) -> None:
    database = Database(store_url, busy_seconds=5)
    beside = Migration(number=2026010100, concept="written on another branch", statements=("CREATE TABLE beside (number INTEGER)",))
    migrate(database, FakeClock())
    assert migrate(database, FakeClock(), (*MIGRATIONS, beside)) == (2026010100,)
    database.close()


@pytest.mark.parametrize("dump", sorted(RELEASED.glob("store-*.sql")), ids=lambda path: path.stem)
def test_a_store_that_a_released_version_wrote_goes_on_where_it_was(tmp_path: Path, dump: Path) -> None:
    """Each dump holds a delivered, a half delivered, a skipped, a refused, a quarantined, a cancelled, a running and a queued job."""
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.executescript(dump.read_text())
    site = new_site(tmp_path)
    assert ledger(site.store) == Ledger(received=18, in_results=2, skipped=4, refused=2, quarantined=3, waiting=7)
    assert [job.state.value for job in site.store.jobs()] == [
        "DELIVERED", "DELIVERING", "SKIPPED", "REFUSED", "QUARANTINED", "CANCELLED", "RUNNING", "QUEUED",
    ]  # fmt: skip
    site.clock.forward(120)
    assert site.store.due_destinations() == ("research",)
    (freed,) = site.store.recover("here", BOOT, lambda _pid: False)
    assert [claimed(site).id for _ in range(2)] == [freed.id, freed.id + 1]
    (conflict,) = site.store.conflicts(only_unexamined=True)
    assert conflict.sop_instance_uid == "1.8.0"
    (waiting,) = site.store.waiting_series()
    site.clock.now = waiting.last_arrival + timedelta(seconds=1)
    assert site.store.complete_series(waiting) is not None
    site.store.close()


def test_a_command_leaves_the_store_of_an_older_version_alone_until_its_service_has_started(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    older = MIGRATIONS[:-1]
    database = Database(url, busy_seconds=5)
    migrate(database, FakeClock(), older)
    with pytest.raises(StoreTooOld, match="systemctl restart medsam2d"):
        open_store(url, FakeClock(), updates=False)
    with database.reading() as connection:
        assert applied(connection) == {step.number for step in older}
    database.close()
    open_store(url, FakeClock()).close()
    open_store(url, FakeClock(), updates=False).close()


def test_a_store_of_a_newer_version_is_refused_with_the_cure(site: Site) -> None:
    queued(site)
    with site.store.database.writing() as connection:
        connection.execute(insert(SCHEMA_VERSION).values(number=99, applied_at=site.clock()))
    site.store.close()
    with pytest.raises(StoreTooNew, match=r"does not know: \[99\]; install the version that wrote it"):
        open_store(site.url, site.clock)


def test_migrations_stand_in_the_order_of_their_numbers_and_share_none() -> None:
    numbers = [step.number for step in MIGRATIONS]
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 2**31  # an INTEGER on PostgreSQL


def test_a_migration_that_fails_leaves_the_store_as_it_was(store_url: str) -> None:
    database = Database(store_url, busy_seconds=5)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE job (in_the_way INTEGER)")
    with pytest.raises(Exception, match=r"job\S* already exists"):
        migrate(database, FakeClock())
    with database.reading() as connection:
        assert applied(connection) == frozenset()
        assert inspect(connection).get_table_names() == ["job"]
    database.close()


def test_a_second_process_may_open_the_store_meanwhile(site: Site) -> None:
    second = new_site(site.folder, url=site.url)
    site.store.record_instance(instance(1))
    assert second.store.known(instance(1).path)
    second.store.close()
