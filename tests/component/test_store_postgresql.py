"""What only PostgreSQL does: the server's clock decides, its errors become ours, and its own tool makes the backup."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon.clock import system_clock
from daemon.commands.backup import back_up
from daemon.config import Config, FolderSettings, StoreSettings
from daemon.database.server_clock import ServerClock
from daemon.ledger import Ledger, ledger
from daemon.store import Store, StoreBusy, StoreUnavailable, open_store
from daemon.store import StoreSettings as Waits
from tests.component.postgresql_cluster import BINARIES, Cluster
from tests.component.store_site import FakeClock, instance, new_site, worker


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.new_database()


def test_a_host_whose_clock_is_wrong_takes_the_servers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.database.server_clock.seconds_since_boot", lambda: 0.0)
    with closing(open_store(url, system_clock)) as store:
        assert isinstance(store.clock, ServerClock)
        with store.database.reading() as connection:
            now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert abs((store.clock() - now).total_seconds()) < 60


def test_the_servers_clock_counts_on_by_itself_and_is_read_again_after_a_minute(url: str) -> None:
    seconds = [100.0]
    with closing(Store(url, FakeClock())) as store:
        clock = ServerClock(store.database, lambda: seconds[0])
        first = clock()
        seconds[0] += 59
        assert clock() - first == timedelta(seconds=59)
        seconds[0] += 3600
        assert clock() - first < timedelta(seconds=3000)
        assert clock().tzinfo is UTC


def test_a_row_that_another_holds_is_a_busy_store(url: str, tmp_path: Path) -> None:
    site = new_site(tmp_path, Waits(busy_seconds=0.1), url=url)
    site.store.record_instance(instance(1))
    (waiting,) = site.store.waiting_series()
    other = new_site(tmp_path, url=url)
    with other.store.database.writing() as connection:
        connection.execute(text("SELECT * FROM series FOR UPDATE"))
        with pytest.raises(StoreBusy, match=r"55P03.*another process holds the lock"):
            site.store.complete_series(waiting)
    for one in (site, other):
        one.store.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/site_", "/absent_"), r"does not exist"),
        (("host=/", "host=/absent"), r"is the server running, and does it take connections from here\?"),
    ],
)
def test_a_server_or_database_that_is_not_there_is_tried_again_and_named(url: str, change: tuple[str, str], words: str) -> None:
    with pytest.raises(StoreUnavailable, match=words):
        open_store(url.replace(*change), FakeClock())


def test_a_password_never_reaches_a_message(cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_store(f"postgresql://somebody:secret@/nowhere?host={cluster.socket}", FakeClock())
    assert "secret" not in str(caught.value)


def test_a_claim_skips_the_job_that_another_worker_is_taking(url: str, tmp_path: Path) -> None:
    site = new_site(tmp_path, Waits(busy_seconds=1), url=url)
    for series in ("1.1", "1.2"):
        site.store.record_instance(instance(1, series=series))
    for waiting in site.store.waiting_series():
        site.store.complete_series(waiting)
    other = new_site(tmp_path, url=url)
    with other.store.database.writing() as connection:
        connection.execute(text("SELECT id FROM job ORDER BY id LIMIT 1 FOR UPDATE"))
        claimed = site.store.claim_job(worker())
    assert claimed is not None
    assert claimed.id == 2
    for one in (site, other):
        one.store.close()


def test_a_backup_is_restored_by_the_servers_own_tool(cluster: Cluster, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BINARIES}:/usr/bin:/bin")
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    site = new_site(tmp_path, url=url)
    site.store.record_instance(instance(1, datetime(2026, 1, 2, tzinfo=UTC)))
    site.store.close()
    settings = Config(folders=FolderSettings(state=tmp_path / "state"), store=StoreSettings(url=url))
    made = back_up(settings, tmp_path / "backup", database_only=True)
    assert json.loads((made.folder / "backup.json").read_text())["files"] == 1
    fresh = cluster.new_database()
    subprocess.run(["pg_restore", f"--dbname={fresh}", str(made.folder / "store.pgdump")], check=True, capture_output=True)
    with closing(open_store(fresh, FakeClock())) as store:
        assert ledger(store) == Ledger(received=1, waiting=1)
