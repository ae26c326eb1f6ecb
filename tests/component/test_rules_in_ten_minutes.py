"""The newcomer's section of docs/rules.md: its files are written, its commands run, and every line that it promises is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli import main
from daemon.demo import SEED, affine_of
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from model.training.phantoms import demo_phantom

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
BLOCK = re.compile(r"^```(yaml file=(?P<file>\S+)|console)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
OUR_COMMAND = "medsam2d "


def section() -> str:
    """The text under "Rules in ten minutes"."""
    return DOCUMENT.read_text().split("## Rules in ten minutes\n")[1].split("\n## ")[0]


def steps(console: str) -> list[tuple[str, str]]:
    """Each command of a console block with the lines that it must print."""
    parts = re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def printed_by(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command where we stand; one of ours within this process, as its console script does."""
    if not command.startswith(OUR_COMMAND):
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit):
        main()
    out, err = capsys.readouterr()
    return out + err


def test_a_newcomer_who_types_what_the_section_says_sees_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    phantom = demo_phantom(SEED)
    write_ct_series(tmp_path / "demo-output" / "study", phantom.voxels_hu, affine_of(phantom), SyntheticStudy(seed=SEED))
    commands = []
    for block in BLOCK.finditer(section()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"])
            continue
        for command, promised in steps(block["text"]):
            commands.append(command)
            assert printed_by(command, monkeypatch, capsys) == promised, command
    assert [command.split()[2] for command in commands if command.startswith(OUR_COMMAND)] == ["check", "test", "explain", *["check"] * 4]
    assert (tmp_path / "explain.html").stat().st_mode & 0o777 == 0o600
