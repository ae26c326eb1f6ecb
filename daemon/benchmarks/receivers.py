"""The receivers that are measured side by side, each started as its users start it, and what its processes cost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLED, CALLING = "BENCHMARK", "SENDER"
START_SECONDS = 60.0
WITHOUT_FSYNC = """
import os, sys
os.fsync = lambda descriptor: None
import sqlalchemy.event, sqlalchemy.engine
@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "checkout")
def unsafe(connection, _record, _proxy):
    connection.execute("PRAGMA synchronous=OFF")
from daemon.cli import main
main()
"""
"""Our listener as it would be if it did not care: only to show what durability costs."""

RULE = """
rules:
  - name: nothing-that-is-sent
    match: {Modality: OT}
    destinations: []
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: 0, high: 1}
        prompt: {kind: box, unit: fraction, frame: middle, left: 0.1, top: 0.1, right: 0.9, bottom: 0.9}
"""
"""A service must have a rule; this one asks for nothing that is sent."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One receiver: how it is started for a port, in a folder of its own."""

    name: str
    is_durable: bool
    """Whether it answers success only after an fsync."""
    command: Callable[[Path, int], Sequence[str]]
    needs: str = ""
    """The program that it needs; empty: what we ship."""

    @property
    def is_there(self) -> bool:
        """Whether it can be started on this machine."""
        return not self.needs or shutil.which(self.needs) is not None


@contextlib.contextmanager
def running(kind: Kind) -> Iterator[tuple[int, int]]:
    """Run a receiver for the length of the block; gives its port and its process id. Its files are removed in the end."""
    with tempfile.TemporaryDirectory(prefix="medsam2d-bench-") as name:
        folder, port = Path(name), _free_port()
        # Without it, DCMTK's receivers wait some 40 ms an instance for Nagle's algorithm: no honest baseline.
        environment = {**os.environ, "TCP_NODELAY": "1"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                list(kind.command(folder, port)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder
            )
        try:
            _wait_until_open(port, process, folder / "log")
            yield port, process.pid
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds of a process, its living descendants, and those that it has seen end."""
    return sum(_own_cpu(member) for member in _tree(pid))


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process and its descendants: shared pages count once."""
    total = 0
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _ours(folder: Path, port: int, data_path: str) -> Path:
    (folder / "rule.yaml").write_text(RULE)
    config = folder / "config.yaml"
    config.write_text(
        f"ae_title: {CALLED}\n"
        f"listener:\n  port: {port}\n  data_path: {data_path}\n  maximum_associations: 100\n  maximum_associations_per_peer: 100\n"
        f"  peers:\n    - ae_title: {CALLING}\n      networks: [127.0.0.1/32]\n"
        f"rules:\n  paths: [rule.yaml]\nfolders:\n  state: state\nspool:\n  reserve_mib: 16\n"
        f"logging:\n  level: warning\n"
    )
    return config


def _our_command(data_path: str) -> Callable[[Path, int], Sequence[str]]:
    return lambda folder, port: (sys.executable, "-m", "daemon.cli", "listener", "--config", str(_ours(folder, port, data_path)))


def _unsafe_command(folder: Path, port: int) -> Sequence[str]:
    return (sys.executable, "-c", WITHOUT_FSYNC, "listener", "--config", str(_ours(folder, port, "direct")))


def _storescp(folder: Path, port: int) -> Sequence[str]:
    return ("storescp", "--fork", "+B", "-pdu", "131072", "-aet", CALLED, "-od", str(folder), str(port))


def _pynetdicom(folder: Path, port: int) -> Sequence[str]:
    return (sys.executable, "-m", "pynetdicom", "storescp", str(port), "-aet", CALLED, "-od", str(folder / "out"), "-q")


def _orthanc(*, sync: bool) -> Callable[[Path, int], Sequence[str]]:
    def command(folder: Path, port: int) -> Sequence[str]:
        settings = {
            "Name": "benchmark",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "StorageCompression": False,
            "SyncStorageArea": sync,
            "HttpServerEnabled": False,
            "DicomAet": CALLED,
            "DicomPort": port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "Plugins": [],
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        return ("Orthanc", str(folder / "orthanc.json"))

    return command


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="medsam2d", is_durable=True, command=_our_command("direct")),
        Kind(name="medsam2d, no fsync", is_durable=False, command=_unsafe_command),
        Kind(name="medsam2d, pynetdicom's data path", is_durable=True, command=_our_command("pynetdicom")),
        Kind(name="pynetdicom app storescp", is_durable=False, command=_pynetdicom),
        Kind(name="Orthanc", is_durable=True, command=_orthanc(sync=True), needs="Orthanc"),
        Kind(name="Orthanc, no fsync", is_durable=False, command=_orthanc(sync=False), needs="Orthanc"),
        Kind(name="DCMTK storescp --fork +B", is_durable=False, command=_storescp, needs="storescp"),
    )
}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"expected a receiver, got exit code {process.returncode}: {log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise TimeoutError(f"expected a receiver on port {port} within {START_SECONDS:.0f} s")


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                members += [int(child) for child in (task / "children").read_text().split()]
    return members


def _own_cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
