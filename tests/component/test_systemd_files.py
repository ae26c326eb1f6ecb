"""What IT installs: the units as systemd itself judges them, and the installer run below another root."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = sorted((REPOSITORY / "systemd").glob("*.service"))
INSTALLER = REPOSITORY / "systemd" / "install.sh"
MOST_EXPOSURE = 2.0
needs_systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_little_exposed(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(unit)).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found.group(1)) <= MOST_EXPOSURE


@needs_systemd_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_reads_every_line(unit: Path, tmp_path: Path) -> None:
    # The program is not installed here: an executable that is stands in for it, and nothing else may be complained of.
    copy = tmp_path / unit.name.replace("@.", "@1.")
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    assert analyze("verify", str(copy)).stderr == ""


def run_installer(root: Path, action: str) -> str:
    environment = {**os.environ, "DESTDIR": str(root)}
    done = subprocess.run([str(INSTALLER), action], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def root_with_release(tmp_path: Path) -> Path:
    """A root in which this release is built already: building one downloads torch, which this test is not about."""
    version = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    commit = subprocess.run(["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    name = version.group(1) + (f"-{commit.stdout.strip()}" if commit.returncode == 0 else "")
    release = tmp_path / "opt" / "medsam2d" / "releases" / name
    release.mkdir(parents=True)
    (release / ".complete").touch()
    return tmp_path


def test_installing_twice_and_upgrading_keep_what_the_site_wrote(root_with_release: Path) -> None:
    first = run_installer(root_with_release, "install")
    assert "edit them before the first start" in first
    config = root_with_release / "etc" / "medsam2d" / "config.yaml"
    text = config.read_text()
    assert "state: /var/lib/medsam2d" in text
    assert "paths: [/etc/medsam2d/rules]" in text
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    config.write_text("ae_title: SITE\n")
    (root_with_release / "etc" / "medsam2d" / "rules" / "ct_bone.yaml").unlink()
    current = root_with_release / "opt" / "medsam2d" / "current"
    current.unlink()
    current.symlink_to("releases/older")
    assert "kept as they are" in run_installer(root_with_release, "install")
    assert config.read_text() == "ae_title: SITE\n"
    assert not (root_with_release / "etc" / "medsam2d" / "rules" / "ct_bone.yaml").exists()
    assert current.resolve().name != "older"
    assert (current / ".complete").exists()


def test_uninstalling_keeps_configuration_and_data(root_with_release: Path) -> None:
    run_installer(root_with_release, "install")
    data = root_with_release / "var" / "lib" / "medsam2d" / "medsam2d.sqlite"
    data.write_text("rows")
    said = run_installer(root_with_release, "uninstall")
    assert "are kept" in said
    assert data.read_text() == "rows"
    assert (root_with_release / "etc" / "medsam2d" / "config.yaml").exists()
    assert not (root_with_release / "opt" / "medsam2d").exists()
    assert list((root_with_release / "etc" / "systemd" / "system").iterdir()) == []


def test_the_units_start_what_the_installer_places() -> None:
    for unit in UNITS:
        assert "ExecStart=/opt/medsam2d/current/.venv/bin/medsam2d " in unit.read_text()
