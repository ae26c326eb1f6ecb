"""The completion scripts: bash runs the one for it; the others name everything, and are read by their shells where those are installed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.cli import PROGRAM, app
from daemon.completion import Place, Shell, completion_script, places_of

PLACES = tuple(places_of(app))
GROUPS = tuple(place for place in PLACES if place.commands)
COMMANDS = tuple(place for place in PLACES if not place.commands)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "medsam2d.bash"
    path.write_text(completion_script(app, Shell.BASH, PROGRAM))
    return path


def offered(script: Path, *lines: tuple[str, ...]) -> list[list[str]]:
    """What bash offers for the last word of each line, after the program."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    asks = [f"source {shlex.quote(str(script))}", "set -u"]
    for line in lines:
        words = " ".join(map(shlex.quote, (PROGRAM, *line)))
        asks += [f"COMP_WORDS=({words})", f"COMP_CWORD={len(line)}", f"_{PROGRAM}", 'echo "${COMPREPLY[*]-}"']
    done = subprocess.run(["bash", "--norc", "-c", "\n".join(asks)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line.split() for line in done.stdout.split("\n")[: len(lines)]]


def test_bash_calls_the_script_for_the_program_and_falls_back_to_file_names(script: Path) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {shlex.quote(str(script))}; complete -p {PROGRAM}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == f"complete -o default -F _{PROGRAM} {PROGRAM}"


def test_every_command_of_the_program_is_offered_where_it_stands(script: Path) -> None:
    assert {"send-test", "doctor", "jobs", "completion"} <= set(PLACES[0].commands)
    for place, words in zip(GROUPS, offered(script, *[(*place.words, "") for place in GROUPS]), strict=True):
        assert words == list(place.commands), place.path


def test_every_option_of_every_command_is_offered_and_no_hidden_one(script: Path) -> None:
    assert len(COMMANDS) > 40
    for place, words in zip(COMMANDS, offered(script, *[(*place.words, "--") for place in COMMANDS]), strict=True):
        assert words == [option.name for option in place.options], place.path
        assert "--help" in words
        assert "--supervised" not in words


def test_what_is_begun_is_completed_and_values_are_offered_where_they_are_few(script: Path) -> None:
    assert offered(
        script,
        ("jo",),
        ("jobs", "l"),
        ("jobs", "list", "--st"),
        ("jobs", "list", "--state", "QU"),
        ("jobs", "list", "--json", "--state", "SK"),
        ("completion", ""),
        ("jobs", "list", "--config", ""),
        ("send-test", "--timeout", ""),
        ("no-such-command", "x"),
        ("jobs", "show", "1"),
    ) == [
        ["jobs"],
        ["list"],
        ["--state", "--study"],
        ["QUEUED", "QUARANTINED"],
        ["SKIPPED"],
        ["bash", "zsh", "fish"],
        [],
        [],
        [],
        [],
    ]


def names(place: Place) -> set[str]:
    return {*place.commands, *(option.name.lstrip("-") for option in place.options)}


@pytest.mark.parametrize("shell", [Shell.ZSH, Shell.FISH])
def test_the_other_scripts_name_every_command_and_option_with_its_meaning(shell: Shell) -> None:
    text = completion_script(app, shell, PROGRAM)
    for place in PLACES:
        assert {name for name in names(place) if name not in text} == set()
        assert place.path in text
    assert "Send a phantom, marked as a test" in text
    assert "QUARANTINED" in text


@pytest.mark.parametrize(("shell", "check"), [(Shell.BASH, "-n"), (Shell.ZSH, "-n"), (Shell.FISH, "--no-execute")])
def test_each_shell_that_is_installed_reads_its_script(tmp_path: Path, shell: Shell, check: str) -> None:
    program = shutil.which(shell.value)
    if program is None:
        pytest.skip(f"{shell.value} is not installed")
    path = tmp_path / "script"
    path.write_text(completion_script(app, shell, PROGRAM))
    done = subprocess.run([program, check, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
