"""A wheelhouse that an installer can work from in seconds: its packages are names and versions, and a link to the running environment.

Copying torch and its kin into each installation would take minutes and gigabytes. Everything else is as a site has it: the installer
makes its own virtual environment, builds our package with the setuptools of this wheelhouse, and pip resolves every version that the
constraints ask for, without a network.
"""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_linked_wheelhouse(folder: Path) -> Path:
    """Write a wheel of each installed package into `folder`: setuptools whole, torch as a link to all, the others as their names."""
    folder.mkdir(parents=True)
    homes = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    link = {"linked_environment.pth": "".join(f"{home}\n" for home in homes).encode()}
    for found in distributions():
        if found.metadata["Name"] not in ("medsam2d", "setuptools"):
            _write(folder, found, link if found.metadata["Name"] == "torch" else {})
    setuptools = distribution("setuptools")
    files = [file for file in setuptools.files or () if ".dist-info" not in str(file) and file.suffix != ".pyc" and file.parts[0] != ".."]
    content = {str(file): Path(str(setuptools.locate_file(file))).read_bytes() for file in files}
    _write(folder, setuptools, content)
    return folder


def _write(folder: Path, found: Distribution, content: dict[str, bytes]) -> None:
    name = found.metadata["Name"].replace("-", "_")
    information = f"{name}-{found.version}.dist-info"
    metadata = {f"{information}/METADATA": (found.read_text("METADATA") or "").encode(), f"{information}/WHEEL": WHEEL.encode()}
    entry_points = found.read_text("entry_points.txt")
    if entry_points:
        metadata[f"{information}/entry_points.txt"] = entry_points.encode()
    everything = {**content, **metadata}
    record = "".join(f"{path},,\n" for path in (*everything, f"{information}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{found.version}-py3-none-any.whl", "w", zipfile.ZIP_STORED) as wheel:
        for path, payload in everything.items():
            wheel.writestr(path, payload)
        wheel.writestr(f"{information}/RECORD", record)
