"""The machine in a support bundle: operating system, processor, GPU, packages, and what systemd says of the service."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from daemon.version import version

LOCK = Path(__file__).resolve().parent.parent / "constraints.txt"
ASK_SECONDS = 15.0
GPU_QUESTION = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used,temperature.gpu", "--format=csv")
UNITS = ("medsam2d.service", "medsam2d-worker@*.service")
UNIT_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,UnitFileState,NRestarts,ExecMainStatus,ActiveEnterTimestamp,MemoryCurrent,TasksCurrent,"
    "CPUUsageNSec,WatchdogUSec"
)
"""Not StatusText and Environment: whatever a person put there stays there."""


def described_machine() -> Mapping[str, object]:
    """Return what the software runs on; the machine's name is left out."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "not said")
    except OSError:
        system = "not said"
    return {
        "medsam2d": version(),
        "python": sys.version,
        "operating_system": system,
        "kernel": f"{platform.system()} {platform.release()} {platform.version()} {platform.machine()}",
        "processor": _field_of(Path("/proc/cpuinfo"), "model name"),
        "processors": os.cpu_count(),
        "processors_of_this_process": len(os.sched_getaffinity(0)),
        "memory": _field_of(Path("/proc/meminfo"), "MemTotal"),
        "memory_available": _field_of(Path("/proc/meminfo"), "MemAvailable"),
        "gpu": _said(*GPU_QUESTION).splitlines(),
    }


def installed_packages() -> str:
    """Return a line for every installed package; behind it the version of the lock where that is another."""
    locked = _locked(LOCK)
    found = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in distributions()}
    lines = [f"python {platform.python_version()}"]
    lines += [_line(name, found[name], locked.get(name)) for name in sorted(found)]
    lines += [f"{name} is not installed (the lock names {locked[name]})" for name in sorted(locked.keys() - found.keys())]
    return "\n".join(lines)


def systemd_state() -> str:
    """Return what systemd knows of the service and of further workers, where there is a systemd."""
    return _said("systemctl", "show", "--no-pager", f"--property={UNIT_PROPERTIES}", *UNITS)


def _line(name: str, installed: str, locked: str | None) -> str:
    same = locked in (None, installed, installed.partition("+")[0])  # torch says +cpu or +cu130 behind its version
    return f"{name} {installed}" + ("" if same else f" (the lock names {locked})")


def _locked(file: Path) -> Mapping[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.partition(" ")[0].partition("==") for line in lines)
    return {name.lower().replace("_", "-"): pinned for name, equals, pinned in pairs if equals}


def _field_of(file: Path, name: str) -> str:
    if not file.is_file():
        return "not said"
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "not said")


def _said(program: str, *arguments: str) -> str:
    """Return what a program prints; in its place why there is nothing."""
    path = shutil.which(program)
    if path is None:
        return f"{program} is not installed"
    try:
        done = subprocess.run(
            [path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{program} did not answer within {ASK_SECONDS:g} s"
    return done.stdout if done.returncode == 0 else f"{program} ended with {done.returncode}: {done.stderr.strip()}"
