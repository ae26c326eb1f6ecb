"""The service as a site has it: installed where systemd expects it, started by its unit, between DCMTK and Orthanc.

Run by `tests.e2e.namespaces.in_a_clean_root`: `python -m tests.e2e.installed_service FOLDER WHEELHOUSE [PREVIOUS]`. Prints what was seen.
Without PREVIOUS the README's commands are carried out on a machine that has nothing; with it (a source folder of the previous commit) that
one is installed first, a study is queued there, and the upgrade must deliver it. systemd itself does not run here: what it does with a
unit is done by `unit_running`; there is one user, and no GPU.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.harness import wait_until
from tests.e2e.orthanc import ask, held_modalities, modality, orthanc
from tests.e2e.studies import CT_BOX, phantom_study

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX, CONFIG = Path("/opt/medsam2d"), Path("/etc/medsam2d/config.yaml")
MEDSAM2D = str(PREFIX / "current" / ".venv" / "bin" / "medsam2d")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}
"""What sudo and systemd leave of an environment: nothing that leads back to this repository, nor to packages outside the wheelhouse."""
HTTP = 8042
START_SECONDS, RESULT_SECONDS = 90.0, 120.0


def main(folder: Path, wheelhouse: Path, previous: Path | None) -> None:
    """Carry out one of the two journeys between the peers; print what was seen as JSON."""
    os.chdir(folder)
    phantom_study(folder / "study")
    # The archive that the first configuration names, so that only a site's own choices are edited.
    archive = {"DicomAet": "PACS", "DicomPort": 11113, "DicomModalities": {"sender": modality("MEDSAM2D", 11112)}}
    with orthanc(folder / "orthanc", HTTP, archive), ExitStack() as running:
        seen = first_installation(wheelhouse, running) if previous is None else upgrade(previous, wheelhouse, running)
        seen["archive"] = sorted(held_modalities(HTTP))
    sys.stdout.write(json.dumps(seen) + "\n")


def first_installation(wheelhouse: Path, running: ExitStack) -> dict[str, object]:
    """The README's commands in their order, each done as written but for sudo, the editor and systemd."""
    done: dict[str, int] = {}
    ways: dict[str, Callable[[re.Match[str]], int]] = {
        r"sudo make install": lambda _: make_install(REPOSITORY, wheelhouse).returncode,
        r"sudoedit (/etc/medsam2d/config.yaml)": lambda found: edit(Path(found[1])),
        r"sudo -u medsam2d (/opt/\S+ .+)": lambda found: told(found[1]).returncode,
        r"sudo systemctl enable --now (medsam2d)": lambda found: running.enter_context(unit_running(found[1])),
        r"(?:echoscu|storescu) .+": lambda found: told(found[0]).returncode,
    }
    for command in readme_commands("Run it as a service"):
        way, found = next((way, found) for pattern, way in ways.items() if (found := re.fullmatch(pattern, command)))
        done[command] = way(found)
    wait_for_results()
    return {"commands": done, "config_mode": oct(CONFIG.stat().st_mode & 0o777)}


def upgrade(previous: Path, wheelhouse: Path, running: ExitStack) -> dict[str, object]:
    """A study waits in the previous commit's installation; that of the working tree finds and delivers it."""
    assert make_install(previous, wheelhouse).returncode == 0
    edit(CONFIG)
    before = (PREFIX / "current").resolve().name
    with listener_alone() as log:
        assert told("storescu -aec MEDSAM2D +sd 127.0.0.1 11112 study").returncode == 0
        wait_until(lambda: "queued" in log.read_text(), "the job to be queued", START_SECONDS)
        refused = make_install(REPOSITORY, wheelhouse)
        while_running = (PREFIX / "current").resolve().name
    waiting = states()
    site = CONFIG.read_bytes()
    upgraded = [make_install(REPOSITORY, wheelhouse) for _ in range(2)]
    after = (PREFIX / "current").resolve().name
    running.enter_context(unit_running("medsam2d"))
    wait_for_results()
    wait_until(lambda: set(states()) == {"DELIVERED"}, "the job to be delivered", RESULT_SECONDS)
    return {
        "refused": [refused.returncode, refused.stderr.strip().replace(before, "BEFORE")],
        "kept while running": while_running == before,
        "waiting": waiting,
        "upgraded": [done.returncode for done in upgraded],
        "second time": upgraded[1].stdout.replace(after, "AFTER").splitlines()[:2],
        "another release": after != before,
        "configuration kept": CONFIG.read_bytes() == site,
        "ledger": json.loads(told(f"{MEDSAM2D} status --json --config {CONFIG}").stdout)["ledger"]["balanced"],
    }


def readme_commands(heading: str) -> list[str]:
    """The commands of the shell blocks below a heading of the README, without their comments."""
    section = re.split(r"^## ", (REPOSITORY / "README.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    return [" ".join(shlex.split(line, comments=True)) for line in lines if shlex.split(line, comments=True)]


def make_install(source: Path, wheelhouse: Path) -> subprocess.CompletedProcess[str]:
    """`make install` of a source folder, without a network, with systemd and users left alone (DESTDIR=/)."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    command = ["make", "-s", "-C", str(source), "install", "DESTDIR=/", f"WHEELHOUSE={wheelhouse}", f"PYTHON={python}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    sys.stderr.write(done.stdout + done.stderr)
    return done


def edit(config: Path) -> int:
    """What a site writes into the first configuration: its own rule, and a shorter wait; peers and archive are those that stand there."""
    (config.parent / "rules" / "site.yaml").write_text(CT_BOX.replace("[archive]", "[pacs]"))
    text = config.read_text()
    edits = {"paths: [/etc/medsam2d/rules]": "paths: [/etc/medsam2d/rules/site.yaml]", "\n  quiet_seconds: 30": "\n  quiet_seconds: 1"}
    for was, becomes in edits.items():
        assert text.count(was) == 1, was
        text = text.replace(was, becomes)
    config.write_text(text)
    return 0


def told(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person at the terminal would; what it says goes on to our own log."""
    done = subprocess.run(shlex.split(command), env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    sys.stderr.write(done.stdout + done.stderr)
    return done


@contextmanager
def unit_running(name: str) -> Iterator[int]:
    """Start a unit's ExecStart as systemd does (its environment, umask and notify socket); 0 once it is READY, then stop it."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  # systemd's keys are told apart by case
    unit.read(Path("/etc/systemd/system") / f"{name}.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    state = Path("/var/lib") / service["StateDirectory"]
    assert state.stat().st_mode & 0o777 == int(service["StateDirectoryMode"], 8)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Path("service.log").open("a") as log:
        manager.settimeout(START_SECONDS)
        manager.bind("\0medsam2d-manager")
        environment = {**ENVIRONMENT, "NOTIFY_SOCKET": "@medsam2d-manager", "STATE_DIRECTORY": str(state)}
        command = shlex.split(service["ExecStart"])
        process = subprocess.Popen(command, env=environment, umask=int(service["UMask"], 8), stdout=log, stderr=log, cwd="/")
        try:
            assert manager.recv(4096).startswith(b"READY=1")
            yield 0
        finally:
            process.terminate()
            assert process.wait(90) == 0


@contextmanager
def listener_alone() -> Iterator[Path]:
    """The installed receiver without a worker; yields its log."""
    log = Path("listener.log")
    with log.open("w") as stream:
        process = subprocess.Popen([MEDSAM2D, "listener", "--config", str(CONFIG)], env=ENVIRONMENT, stdout=stream, stderr=stream)
        try:
            wait_until(lambda: log.read_text().startswith("ready") or "\nready" in log.read_text(), "the listener", START_SECONDS)
            yield log
        finally:
            process.terminate()
            process.wait(60)


def states() -> list[str]:
    """The state of every job, as the installed release tells it."""
    return [job["state"] for job in json.loads(told(f"{MEDSAM2D} jobs list --json --config {CONFIG}").stdout)]


def wait_for_results() -> None:
    """Wait until Orthanc holds the segmentation and its report."""
    wait_until(lambda: len(ask(HTTP, "/instances")) == 2, "SEG and SR in Orthanc", RESULT_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
