"""What systemd hears of the service: ready when the port listens, alive while all roles are, stopping at the end."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.e2e.harness import make_site, serving
from tests.e2e.studies import CT_BOX


def test_the_service_manager_hears_ready_when_the_port_listens_then_life_signs_then_stopping(tmp_path: Path) -> None:
    site = make_site(tmp_path, CT_BOX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(120)
        manager.bind(str(tmp_path / "notify"))
        with serving(site, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000") as service:
            heard = [manager.recv(4096), manager.recv(4096)]
            with socket.create_connection(("127.0.0.1", site.port), timeout=10):
                pass
            assert service.stop() == 0
            while not heard[-1].startswith(b"STOPPING=1"):
                heard.append(manager.recv(4096))
    assert heard[0].startswith(b"READY=1\nSTATUS=")
    assert heard[1] == b"WATCHDOG=1"
