"""The sd_notify protocol over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.systemd_notify import notify, watchdog_interval_seconds


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield end


def test_readiness_reaches_the_service_manager_as_one_datagram(manager: socket.socket) -> None:
    assert notify("READY=1", "STATUS=receiving")
    assert manager.recv(4096) == b"READY=1\nSTATUS=receiving"


def test_an_abstract_socket_is_reached_by_its_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"medsam2d-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify("WATCHDOG=1")
        assert end.recv(4096) == b"WATCHDOG=1"


def test_nothing_is_sent_where_no_service_manager_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


def test_the_watchdog_is_fed_at_half_of_its_limit_and_only_by_the_process_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "120000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_interval_seconds() == 60.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert watchdog_interval_seconds() is None


def test_a_manager_that_does_not_read_never_holds_the_service_up(manager: socket.socket) -> None:
    # The kernel queues a few datagrams and then lets senders wait.
    assert any(not notify("WATCHDOG=1") for _ in range(5000))
