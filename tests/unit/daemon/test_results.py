"""Results on disk: one name, one content."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.results import ResultConflict, Results


def test_the_same_bytes_can_be_written_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    path = results.write("2.25.1.dcm", b"abc")
    assert results.write("2.25.1.dcm", b"abc") == path
    assert path.read_bytes() == b"abc"
    assert [entry.name for entry in results.folder.iterdir()] == ["2.25.1.dcm"]


def test_other_bytes_under_the_same_name_are_refused(tmp_path: Path) -> None:
    results = Results(tmp_path)
    path = results.write("1.dcm", b"abc")
    with pytest.raises(ResultConflict, match="never reused"):
        results.write("1.dcm", b"abd")
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["../1.dcm", "a/b", "", ".hidden", "a\0b", "x" * 201])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        Results(tmp_path).write(name, b"")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    (results.folder / "1.dcm").symlink_to(tmp_path / "nowhere" / "at-all")
    results.folder.chmod(0o700)
    with pytest.raises(TypeError):
        results.write("2.dcm", "text")  # type: ignore[arg-type]
    assert [entry.name for entry in results.folder.iterdir()] == ["1.dcm"]
