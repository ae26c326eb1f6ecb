"""What README and docs/ tell people to follow is there: links lead somewhere, commands parse, targets of make exist."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main
from typer.core import TyperGroup
from typer.exceptions import TyperException

from daemon.cli import app
from daemon.configuration_reference import anchor

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "model" / "weights" / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FIRST_WORDS = ("medsam2d", "make", "sudo", "git")
COMMAND = typer.main.get_command(app)
MENTIONED = "a group of commands"
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z][A-Z|_]*")
"""A word for the reader to replace, as in `medsam2d jobs show N`; the number 1 fits wherever one may stand."""


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings; the second of two alike gets -1."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        own = anchor(re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading))
        found.add(f"{own}-{seen[own]}" if seen[own] else own)
        seen[own] += 1
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links, but those that lead out of the repository."""
    inline_code_removed = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", inline_code_removed):
        if not re.match(r"[a-z]+:", target):
            yield target


def shell_lines(page: Path) -> Iterator[str]:
    """The command lines in a page's blocks, fenced or indented, those that are continued joined; what commands print is left out."""
    blocks = [block for _, block in FENCE.findall(page.read_text(encoding="utf-8"))]
    indented = re.findall(r"^ {4}(.*\S)", prose(page), re.MULTILINE)
    for line in "\n".join([*blocks, *indented]).replace("\\\n", " ").splitlines():
        plain = line.removeprefix("$ ")
        if plain.split(" ")[0] in FIRST_WORDS:
            yield plain


def inline_commands(page: Path) -> Iterator[str]:
    """The command lines in backticks, without the brackets about what may be left out."""
    for line in re.findall(r"`([a-z0-9]+ [^`\n]+)`", prose(page)):
        if line.split(" ")[0] in FIRST_WORDS:
            yield line.replace("[", "").replace("]", "")


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without comment, variables, and sudo with the user that it names."""
    command: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word not in ("|", "&&", ";", ">"):
            command.append(word)
            continue
        plain = list(itertools.dropwhile(lambda one: re.match(r"[A-Z_]+=", one) is not None, command))
        if plain[:1] == ["sudo"]:
            plain = plain[3:] if plain[1:2] == ["-u"] else plain[1:]
        if plain:
            yield plain
        command = []


def calls(line: str, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in a line."""
    yield from (command[1:] for command in commands(line) if Path(command[0]).name == program)


def fault(given: list[str]) -> str | None:
    """What the program's own parser says against arguments, None where it takes them; nothing runs."""
    command = COMMAND
    context = command.context_class(command, info_name="medsam2d")
    rest = list(given)
    while isinstance(command, TyperGroup):
        if not rest:
            return f"{MENTIONED}: {', '.join(command.list_commands(context))}"
        found = command.get_command(context, rest.pop(0))
        if found is None:
            return f"no such command; there are {', '.join(command.list_commands(context))}"
        command = found
    try:
        command.make_context(command.name, rest)
    except TyperException as error:
        return str(error)
    return None


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, heading = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        if not file.exists() or (heading and heading not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_command_line_in_the_shell_blocks_is_one_that_the_program_takes() -> None:
    given = [(name_of(page), line, call) for page in PAGES for line in shell_lines(page) for call in calls(line, "medsam2d")]
    assert len(given) > 15
    assert [(page, line, said) for page, line, call in given if (said := fault(call))] == []


def test_every_command_in_the_text_is_one_that_the_program_takes() -> None:
    """A command may be mentioned by its name alone, without what it cannot do without."""
    given = [(name_of(page), line, call) for page in PAGES for line in inline_commands(page) for call in calls(line, "medsam2d")]
    assert len(given) > 30
    wrong = []
    for page, line, call in given:
        filled = ["1" if PLACEHOLDER.fullmatch(word) else word for word in call]
        if fault(call) and (said := fault(filled)) and not said.startswith(("Missing parameter", MENTIONED)):
            wrong.append((page, line, said))
    assert wrong == []


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = [(name_of(page), line) for page in PAGES for line in (*shell_lines(page), *inline_commands(page))]
    named = [(page, line, call[0]) for page, line in lines for call in calls(line, "make") if call]
    assert len(named) > 5
    assert [(page, line, target) for page, line, target in named if target not in targets] == []


def test_a_command_or_option_that_does_not_exist_is_noticed() -> None:
    assert fault(["jobs", "list", "--no-such-option"]) is not None
    assert fault(["no-such-command"]) is not None
    assert fault(["jobs", "show"]) is not None
