"""The inbox with a real spool and store: whole files are taken exactly once, foreign ones are put aside with the reason, others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.config import InboxSettings
from daemon.inbox import Inbox, is_being_written, open_inbox
from daemon.receiver import Receiver
from daemon.spool import Spool
from dicom_io.received import ReceivedInstance, StoreOutcome
from tests.component.loopback import SECONDS, data_set_bytes, write_instance
from tests.component.store_site import FakeClock, Site, new_site


@dataclass
class Bench:
    """An inbox on a site, and a clock of seconds that the test moves."""

    site: Site
    folder: Path
    inbox: Inbox
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def wait(self, seconds: float) -> int:
        self.seconds[0] += seconds
        return self.inbox.look()

    def kept(self) -> int:
        return len(self.site.store.waiting_series())


def bench_of(tmp_path: Path, receive: Callable[[ReceivedInstance], StoreOutcome] | None = None) -> Bench:
    (tmp_path / "site").mkdir()
    site = new_site(tmp_path / "site")
    spool = Spool(tmp_path / "spool", 0, FakeClock())
    receiver = Receiver(spool, site.store.record_instances)
    folder = tmp_path / "inbox"
    folder.mkdir()
    seconds = [0.0]
    inbox = Inbox(
        folder=folder,
        quiet_seconds=5,
        calling_ae_title="INBOX",
        called_ae_title="MEDSAM2D",
        receive=receive or receiver.receive,
        now=lambda: seconds[0],
    )
    return Bench(site=site, folder=folder, inbox=inbox, seconds=seconds)


def test_a_file_is_taken_once_it_has_been_left_alone_and_lies_in_the_spool_as_it_was(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    (bench.folder / "export" / "series").mkdir(parents=True)
    path = write_instance(bench.folder / "export" / "series", 1)
    bytes_of_it = data_set_bytes(path.read_bytes())
    assert (bench.wait(0), bench.wait(4.9)) == (0, 0)
    assert bench.wait(0.2) == 1
    (kept,) = (tmp_path / "spool" / "instances").rglob("*.dcm")
    assert data_set_bytes(kept.read_bytes()) == bytes_of_it
    assert [path.name for path in bench.folder.rglob("*")] == ["export", "series"]
    bench.wait(61)
    bench.wait(61)
    bench.wait(61)
    assert list(bench.folder.iterdir()) == []
    (series,) = bench.site.store.waiting_series()
    assert series.series_instance_uid == "1.2.826.0.1.3680043.8.498.3"


def test_a_file_that_grows_waits_until_it_rests(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    path = write_instance(bench.folder, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    bench.wait(0)
    path.write_bytes(whole)
    assert bench.wait(6) == 0
    assert bench.wait(6) == 1


def test_a_file_that_somebody_holds_open_for_writing_waits(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    path = write_instance(bench.folder, 1)
    bench.wait(0)
    with path.open("ab"):
        assert is_being_written(path)
        assert bench.wait(6) == 0
    assert not is_being_written(path)
    assert bench.wait(0) == 1


def test_what_is_no_dicom_is_put_aside_at_its_place_with_the_reason(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    (bench.folder / "cd").mkdir()
    for _ in range(2):
        (bench.folder / "cd" / "viewer.exe").write_bytes(b"MZ" * 100)
        bench.wait(0)
        assert bench.wait(6) == 1
    rejected = bench.folder / "rejected" / "cd"
    assert sorted(path.name for path in rejected.iterdir()) == [
        "viewer.exe",
        "viewer.exe.1",
        "viewer.exe.1.reason.txt",
        "viewer.exe.reason.txt",
    ]
    assert "expected a DICOM Part 10 file" in (rejected / "viewer.exe.reason.txt").read_text()
    assert bench.wait(60) == 0


def test_directories_of_media_hidden_files_unfinished_downloads_and_links_stay_where_they_are(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    outside = write_instance(tmp_path, 9)
    for name in ("DICOMDIR", ".hidden", "scan.dcm.part", "~lock"):
        (bench.folder / name).write_bytes(b"x" * 200)
    (bench.folder / "link.dcm").symlink_to(outside)
    bench.wait(0)
    assert bench.wait(60) == 0
    assert len(list(bench.folder.iterdir())) == 5
    assert outside.exists()


def test_the_same_file_again_is_taken_and_adds_nothing(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    for _ in range(2):
        write_instance(bench.folder, 1)
        bench.wait(0)
        assert bench.wait(6) == 1
    assert len(list((tmp_path / "spool" / "instances").rglob("*.dcm"))) == 1


def test_a_full_spool_leaves_the_file_for_later(tmp_path: Path) -> None:
    outcomes = [StoreOutcome.OUT_OF_RESOURCES, StoreOutcome.SUCCESS]
    bench = bench_of(tmp_path, lambda _received: outcomes.pop(0))
    path = write_instance(bench.folder, 1)
    bench.wait(0)
    assert (bench.wait(6), path.exists()) == (0, True)
    assert (bench.wait(6), path.exists()) == (1, False)


def test_even_a_fault_of_ours_puts_one_file_aside_and_goes_on(tmp_path: Path) -> None:
    def stumble(received: ReceivedInstance) -> StoreOutcome:
        if received.sop_instance_uid.endswith(".1"):
            raise ZeroDivisionError("Phantom^Name")
        return StoreOutcome.SUCCESS

    bench = bench_of(tmp_path, stumble)
    write_instance(bench.folder, 1)
    write_instance(bench.folder, 2)
    bench.wait(0)
    assert bench.wait(6) == 2
    reason = (bench.folder / "rejected" / "1.dcm.reason.txt").read_text()
    assert "ZeroDivisionError" in reason
    assert "Phantom" not in reason


def test_the_thread_wakes_when_a_file_is_dropped(tmp_path: Path) -> None:
    taken, stop = threading.Event(), threading.Event()

    def receive(_received: ReceivedInstance) -> StoreOutcome:
        taken.set()
        return StoreOutcome.SUCCESS

    thread = open_inbox(InboxSettings(folder=tmp_path / "inbox", quiet_seconds=0.05), "MEDSAM2D", receive, stop)
    assert thread is not None
    try:
        write_instance(tmp_path / "inbox", 1)
        assert taken.wait(SECONDS)
    finally:
        thread.stop()


def test_no_inbox_is_watched_unless_one_is_configured() -> None:
    assert open_inbox(InboxSettings(), "MEDSAM2D", lambda _received: pytest.fail("nothing comes"), threading.Event()) is None
