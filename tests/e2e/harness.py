"""What the end-to-end tests share: the installed service, DCMTK as real peers, and waiting with a limit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from daemon.commands.status import as_one_line, read_status
from daemon.config import load_config
from daemon.inbox import is_being_written

LIMIT_SECONDS = 240.0


def need(*tools: str) -> None:
    """Skip the test, naming what is absent, unless every command is installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install dcmtk dicom3tools orthanc)")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Poll until `condition` holds; fail the test with `what` when the time is up."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit_seconds:.0f} s for {what}")
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A folder with a configuration, its rules, and the ports that it names."""

    folder: Path
    config: Path
    port: int
    archive_port: int
    archive: Path

    def results(self) -> list[Path]:
        """What has arrived in the archive, whole files only."""
        return sorted(path for path in self.archive.iterdir() if path.is_file() and not is_being_written(path))

    def segmentations(self) -> list[Path]:
        """Those of them that are segmentations; the others are their reports."""
        return [path for path in self.results() if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG"]

    def status(self) -> dict[str, object]:
        """What `medsam2d status --json` prints, without a process for each look."""
        loaded: dict[str, object] = json.loads(as_one_line(*read_status(load_config(self.config))))
        return loaded


MEDSAM2D = [sys.executable, "-m", "daemon.cli"]

CONFIGURATION = """\
ae_title: MEDSAM2D
listener:
  host: 127.0.0.1
  port: {port}
  peers:
    - ae_title: STORESCU
    - ae_title: ARCHIVE
folders:
  state: {state}
arrivals:
  quiet_seconds: {quiet}
rules:
  paths: [{rules}]
destinations:
  archive:
    host: 127.0.0.1
    port: {archive_port}
    ae_title: ARCHIVE
    commitment: {commitment}
    commitment_timeout_seconds: 2
delivery:
  retry_minimum_seconds: 1
  retry_maximum_seconds: 2
{extra}
"""


def make_site(folder: Path, rules: str, *, quiet: float = 1, commitment: str = "auto", extra: str = "") -> Site:
    """Write a configuration and rules into `folder`."""
    archive = folder / "archive"
    archive.mkdir(parents=True)
    (folder / "rules.yaml").write_text(rules)
    port, archive_port = free_port(), free_port()
    config = folder / "config.yaml"
    config.write_text(
        CONFIGURATION.format(
            port=port,
            archive_port=archive_port,
            state=json.dumps(str(folder / "state")),
            rules=json.dumps(str(folder / "rules.yaml")),
            quiet=quiet,
            commitment=commitment,
            extra=extra,
        )
    )
    return Site(folder=folder, config=config, port=port, archive_port=archive_port, archive=archive)


@dataclass(kw_only=True)
class Running:
    """The service's process tree in a process group of its own."""

    process: subprocess.Popen[str]
    log: Path

    def kill_everything(self) -> None:
        """kill -9 the supervisor and every child at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Ask the service to stop and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(120)


@contextmanager
def serving(site: Site, **environment: str) -> Iterator[Running]:
    """The service, ready; ended by its process group when the block is left. `environment` is added to this process' own."""
    log = site.folder / "service.log"
    with log.open("a") as stream:
        process = subprocess.Popen(
            [*MEDSAM2D, "serve", "--config", str(site.config)],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready"), f"the service did not start:\n{log.read_text()}"
            yield Running(process=process, log=log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(120)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(30)
            process.stdout.close()


@contextmanager
def storescp(site: Site) -> Iterator[None]:
    """DCMTK's storescp as the archive: writes each object as it came, one association after the other."""
    command = ["storescp", "-aet", "ARCHIVE", "-uf", "-od", str(site.archive), "+B", str(site.archive_port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TCP_NODELAY": "1"})
    try:
        wait_until(lambda: _listens(site.archive_port), "storescp to listen", 20)
        yield
    finally:
        process.kill()
        process.wait(20)


def storescu(site: Site, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Send every file of a folder with DCMTK's storescu."""
    return run(["storescu", "-aec", "MEDSAM2D", *options, "127.0.0.1", str(site.port), "+sd", str(folder)], check=False)


def run(command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with a time limit."""
    return subprocess.run(list(command), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=check)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
