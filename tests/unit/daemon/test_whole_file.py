"""Whole files: all of the bytes under a name, or no name; and what a killed writer left goes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.chaos_points import KILL_AT
from daemon.whole_file import FOR_US_ALONE, sweep_unfinished, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_appears_with_all_bytes_for_our_user_alone(tmp_path: Path) -> None:
    write_whole(tmp_path / "1.dcm", b"abc")
    assert (tmp_path / "1.dcm").read_bytes() == b"abc"
    assert (tmp_path / "1.dcm").stat().st_mode & 0o777 == FOR_US_ALONE
    assert names(tmp_path) == ["1.dcm"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "1.dcm", b"abc")
    assert names(tmp_path) == ["1.dcm"]


def test_the_file_of_a_killed_writer_is_swept_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    writer = "import sys; from pathlib import Path; from daemon.whole_file import write_whole; write_whole(Path(sys.argv[1]), b'abc')"
    command = [sys.executable, "-c", writer, str(tmp_path / "1.dcm")]
    killed = subprocess.run(command, env={**os.environ, KILL_AT: "file.bytes-durable"}, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"abc"
    living = tmp_path / ".living.part"
    with living.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert sweep_unfinished(tmp_path) == 1
        assert names(tmp_path) == [".living.part"]
    assert sweep_unfinished(tmp_path) == 1
