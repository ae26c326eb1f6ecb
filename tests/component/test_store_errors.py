"""A full disk, a held lock, a wrong path: typed errors that name the cure, and nothing half written."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from sqlalchemy import event

from daemon.errors import ConfigError, Fault, classify
from daemon.ledger import ledger
from daemon.store import StoreBusy, StoreFull, StoreSettings, StoreUnavailable, open_store
from tests.component.store_site import FakeClock, Site, instance, new_site, url_of


def test_a_lock_that_is_held_too_long_is_a_busy_store(tmp_path: Path) -> None:
    site = new_site(tmp_path, StoreSettings(busy_seconds=0.05))
    other = new_site(tmp_path)
    with other.store.database.writing(), pytest.raises(StoreBusy, match="another process holds the write lock") as caught:
        site.store.record_instance(instance(1))
    assert classify(caught.value).fault is Fault.TRANSIENT
    site.store.record_instance(instance(1))
    assert ledger(site.store).received == 1


def test_readers_never_wait_for_a_writer(tmp_path: Path) -> None:
    site = new_site(tmp_path, StoreSettings(busy_seconds=0.05))
    other = new_site(tmp_path)
    with other.store.database.writing():
        assert site.store.waiting_series() == ()
        assert site.store.next_job_at() is None


def record_for_ever(site: Site, recorded: list[int]) -> None:
    for number in itertools.count():
        site.store.record_instance(instance(number, series=f"1.{number}"))
        recorded.append(number)


def test_a_full_disk_is_a_full_store_and_records_nothing(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    engine = site.store.database._engine

    @event.listens_for(engine, "begin")
    def shrink(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # type: ignore[attr-defined]  # SQLite raises it to the present size

    recorded: list[int] = []
    with pytest.raises(StoreFull, match="free space and it goes on by itself"):
        record_for_ever(site, recorded)
    event.remove(engine, "begin", shrink)
    site.store.close()
    again = open_store(url_of(tmp_path), FakeClock())
    assert ledger(again).received == len(recorded)
    assert ledger(again).balanced
    again.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(StoreUnavailable, match=r"store\.sqlite.*check store\.url"):
        open_store(url_of(tmp_path), FakeClock())


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_serve_is_a_configuration_fault(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url: expected"):
        open_store(url, FakeClock())


def test_no_message_about_a_store_holds_the_password_of_its_url() -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    for url in ("postgresql://user:s3cret@127.0.0.1:1/db", "postgresql://user@127.0.0.1:1/db?password=s3cret"):
        with pytest.raises(StoreUnavailable, match=r"the store postgresql.*127\.0\.0\.1:1/db") as told:
            open_store(url, FakeClock())
        assert "s3cret" not in str(told.value)
    with pytest.raises(ConfigError, match=r"store\.url: expected a database URL") as told_of_fault:
        open_store("postgresql//user:s3cret@127.0.0.1/db", FakeClock())
    assert "s3cret" not in str(told_of_fault.value)


def test_every_commit_is_synced_to_disk(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    with site.store.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    site.store.close()
