"""Stores of every earlier version are brought up to date, and one from the future is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, inspect

from daemon.database.engine import Database
from daemon.database.migrations import CURRENT_VERSION, MIGRATIONS, migrate, version_of
from daemon.database.schema import METADATA, SCHEMA_VERSION
from daemon.store import StoreTooNew, open_store
from tests.component.store_site import FakeClock, claimed, instance, new_site, queued, result, url_of


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


@pytest.mark.parametrize("start", [0, *(step.number for step in MIGRATIONS)])
def test_a_store_of_any_version_ends_with_the_tables_that_the_queries_expect(tmp_path: Path, start: int) -> None:
    database = Database(url_of(tmp_path), busy_seconds=5)
    migrate(database, FakeClock(), up_to=start)
    assert migrate(database, FakeClock()) == tuple(step.number for step in MIGRATIONS if step.number > start)
    assert migrate(database, FakeClock()) == ()
    assert without_keys(columns(database)) == without_keys(expected_columns())
    database.close()


def test_what_version_1_recorded_is_worked_on_after_the_upgrade(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path), busy_seconds=5)
    migrate(database, FakeClock(), up_to=1)
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO job (study_instance_uid, series_instance_uid, content_sha256, state, priority, attempt, failures, postponements,"
            " run_at, created_at, updated_at, calling_ae_title, called_ae_title) VALUES ('1.2', '1.2.3', 'ab', 'QUEUED', 5, 0, 0, 0,"
            " '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', 'SCANNER', 'US')"
        )
    database.close()
    site = new_site(tmp_path)
    site.store.finish_with_results(claimed(site), [result(tmp_path)])
    assert site.store.due_destinations() == ("pacs",)
    site.store.close()


def test_a_store_of_a_newer_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    queued(site)
    with site.store.database.writing() as connection:
        connection.execute(insert(SCHEMA_VERSION).values(number=CURRENT_VERSION + 1, applied_at=site.clock()))
    site.store.close()
    with pytest.raises(
        StoreTooNew, match=f"has schema version {CURRENT_VERSION + 1}.*knows {CURRENT_VERSION} at most; install the version that wrote it"
    ):
        open_store(url_of(tmp_path), site.clock)


def test_the_numbers_of_migrations_ascend_and_fit_every_database() -> None:
    numbers = [step.number for step in MIGRATIONS]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < 2**31


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path), busy_seconds=5)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE job (in_the_way INTEGER)")
    with pytest.raises(Exception, match="job already exists"):
        migrate(database, FakeClock())
    with database.reading() as connection:
        assert version_of(connection) == 0
        assert inspect(connection).get_table_names() == ["job"]
    database.close()


def test_a_second_process_may_open_the_store_meanwhile(tmp_path: Path) -> None:
    first, second = new_site(tmp_path), new_site(tmp_path)
    first.store.record_instance(instance(1))
    assert second.store.known(instance(1).path)
    first.store.close()
    second.store.close()
