"""Namespaces that a test may make without asking: a network with loopback alone, and a root that nothing was installed in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import need, run

OVERLAID = ("/etc", "/opt", "/usr/lib", "/var/lib")
"""Where an installation writes. What is written there lands in a folder of the test's own; the machine's files show through."""


def in_a_network_of_its_own(command: str) -> dict[str, object]:
    """Run a module where there is no interface but loopback (Orthanc's DICOM port listens on every one); return the JSON it prints."""
    need("Orthanc", "storescu", "unshare", "ip")
    return _unshared(["unshare", "-rn"], f"ip link set lo up && exec {sys.executable} -m {command}")


def in_a_clean_root(command: str, written: Path) -> dict[str, object]:
    """The same with places of its own for what is installed: below `written`; every process in it ends with the module."""
    need("Orthanc", "storescu", "echoscu", "unshare", "ip", "make")
    steps = ["ip link set lo up"]
    for place in OVERLAID:
        upper, work = written / place.strip("/"), written / f"work-{place.strip('/').replace('/', '-')}"
        for folder in (upper, work):
            folder.mkdir(parents=True)
        steps.append(f"mount -t overlay overlay -o lowerdir={place},upperdir={upper},workdir={work} {place}")
    return _unshared(["unshare", "-rmnpf", "--mount-proc"], " && ".join([*steps, f"exec {sys.executable} -m {command}"]))


def _unshared(prefix: list[str], inside: str) -> dict[str, object]:
    if run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("this kernel does not let users make namespaces of their own (sysctl kernel.unprivileged_userns_clone)")
    done = subprocess.run([*prefix, "sh", "-c", inside], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found
