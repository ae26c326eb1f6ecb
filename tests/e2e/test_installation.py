"""Nothing, then the README's commands, then a service between real peers; and an upgrade that loses nothing that waits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.linked_wheelhouse import make_linked_wheelhouse
from tests.e2e.namespaces import in_a_clean_root

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_linked_wheelhouse(tmp_path_factory.mktemp("packages") / "wheelhouse")


@pytest.fixture
def previous_commit(tmp_path: Path, wheelhouse: Path) -> Path:
    """The source of the commit before this one, to be installed with the versions that this one is tested with."""
    source = tmp_path / "previous"
    source.mkdir()
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", "HEAD~1"], capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip("there is no previous commit here: this is no clone, or one without history")
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
    # Other versions than those of the running environment could only come from the network.
    (source / "constraints.txt").write_bytes((REPOSITORY / "constraints.txt").read_bytes())
    return source


def test_the_readmes_commands_lead_from_nothing_to_a_seg_in_orthanc(tmp_path: Path, wheelhouse: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    seen = in_a_clean_root(f"tests.e2e.installed_service {work} {wheelhouse}", tmp_path / "root")
    commands = seen["commands"]
    assert isinstance(commands, dict)
    assert set(commands.values()) == {0}
    assert [name for name in ("install", "systemctl", "echoscu", "storescu") if not any(name in command for command in commands)] == []
    assert seen["config_mode"] == "0o640"
    assert seen["archive"] == ["SEG", "SR"]
    assert (tmp_path / "root" / "opt" / "medsam2d" / "current" / ".complete").exists()


def test_an_upgrade_refuses_to_run_beside_the_old_release_and_keeps_a_queued_study(
    tmp_path: Path, wheelhouse: Path, previous_commit: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    seen = in_a_clean_root(f"tests.e2e.installed_service {work} {wheelhouse} {previous_commit}", tmp_path / "root")
    refused = seen.pop("refused")
    assert isinstance(refused, list)
    assert refused[0] != 0
    assert "release BEFORE still runs" in refused[1]
    assert seen == {
        "kept while running": True,
        "waiting": ["QUEUED"],
        "upgraded": [0, 0],
        "second time": [
            "medsam2d: release AFTER is here already",
            "medsam2d: configuration and rules in /etc/medsam2d are kept as they are",
        ],
        "another release": True,
        "configuration kept": True,
        "ledger": True,
        "archive": ["SEG", "SR"],
    }
