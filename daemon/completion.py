"""Shell completion: the tree of commands written out as a script for bash, zsh or fish, which then asks nobody.

A script that called the program at each press of the key would wait a second or more for Python to load; the tree changes with the
version alone.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import typer
import typer.main


class Shell(enum.StrEnum):
    """The shells that a script is written for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command."""

    name: str
    """With its dashes."""
    meaning: str
    takes_value: bool = False
    choices: tuple[str, ...] = ()
    takes_file: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """One command, or a group of them."""

    words: tuple[str, ...]
    """What has been typed to come here, without the program."""
    commands: Mapping[str, str]
    """Of a group: name -> what it does."""
    options: tuple[Option, ...]
    choices: tuple[str, ...] = ()
    """Of a command: the words that its arguments may be, where they are known."""

    @property
    def path(self) -> str:
        """The words, joined."""
        return " ".join(self.words)


HELP = Option(name="--help", meaning="show what it takes, and exit")


def completion_script(app: typer.Typer, shell: Shell, program: str) -> str:
    """Return the script that completes `program` in `shell`."""
    return SCRIPTS[shell](tuple(places_of(app)), program)


def places_of(app: typer.Typer) -> Iterator[Place]:
    """Yield every command and group, the program itself first."""
    command: Any = typer.main.get_command(app)
    yield from _below(command, ())


def _below(command: Any, words: tuple[str, ...]) -> Iterator[Place]:
    children = {name: child for name, child in getattr(command, "commands", {}).items() if not child.hidden}
    options = tuple(_option(one, name) for one in command.params for name in one.opts if name.startswith("-") and not one.hidden)
    arguments = [one for one in command.params if not any(name.startswith("-") for name in one.opts)]
    yield Place(
        words=words,
        commands={name: _meaning(child.help or "") for name, child in children.items()},
        options=(*options, HELP),
        choices=tuple(word for one in arguments for word in _choices(one)),
    )
    for name, child in children.items():
        yield from _below(child, (*words, name))


def _option(parameter: Any, name: str) -> Option:
    annotation = _annotation(parameter)
    return Option(
        name=name,
        meaning=_meaning(parameter.help or ""),
        takes_value=not parameter.is_flag,
        choices=_choices(parameter),
        takes_file=annotation is Path or Path in get_args(annotation),
    )


def _choices(parameter: Any) -> tuple[str, ...]:
    annotation = _annotation(parameter)
    is_enumeration = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    return tuple(str(one.value) for one in annotation) if is_enumeration else ()


def _annotation(parameter: Any) -> Any:
    return getattr(getattr(parameter, "type_descriptor", None), "annotation", None)


def _meaning(text: str) -> str:
    """The first part of a help text; a colon separates word and meaning in zsh, and fish reads a backslash within quotes."""
    first = text.strip().split("\n")[0].partition("; ")[0].removesuffix(".")
    return first.replace("\\", "").replace("`", "").replace(":", ",")


BASH = """\
# bash completion of {program}: source it, or put it into /etc/bash_completion.d/ under that name.
_{function}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" place="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$place $word" in
            {places}) place="$place $word" ;;
        esac
    done
    COMPREPLY=()
    case "$place $previous" in
        {values})
            case "$place $previous" in
{choices}
            esac
            [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "$current"))
            return 0 ;;
    esac
    if [[ "$current" == -* ]]; then
        case "$place" in
{options}
        esac
    else
        case "$place" in
{commands}
        esac
    fi
    [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "$current"))
    return 0
}}
complete -o default -F _{function} {program}
"""


def _bash(places: Sequence[Place], program: str) -> str:
    return BASH.format(
        program=program,
        function=_function(program),
        places=_cases(places),
        values=_value_cases(places),
        choices="\n".join(
            f"                {_pattern(place, option.name)}) words={shlex.quote(' '.join(option.choices))} ;;"
            for place in places
            for option in place.options
            if option.choices
        ),
        options="\n".join(
            f"            {_pattern(place)}) words={shlex.quote(' '.join(option.name for option in place.options))} ;;" for place in places
        ),
        commands="\n".join(
            f"            {_pattern(place)}) words={shlex.quote(' '.join((*place.commands, *place.choices)))} ;;"
            for place in places
            if place.commands or place.choices
        ),
    )


ZSH = """\
#compdef {program}
# zsh completion of {program}: put it into a folder of $fpath as _{program}, or source it after compinit.
_{function}() {{
    local place="" word
    local -a candidates
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$place $word" in
            {places}) place="$place $word" ;;
        esac
    done
    case "$place ${{words[CURRENT-1]}}" in
{values}
    esac
    if [[ "${{words[CURRENT]}}" == -* ]]; then
        case "$place" in
{options}
        esac
        _describe -o option candidates
        return
    fi
    case "$place" in
{commands}
        *) _files; return ;;
    esac
    _describe command candidates
}}
# As a file of $fpath it is run where the function is called for the first time; sourced, it is told to whom it belongs.
if [[ "${{funcstack[1]}}" == _{function} ]]; then _{function} "$@"; else compdef _{function} {program}; fi
"""


def _zsh(places: Sequence[Place], program: str) -> str:
    def value(option: Option) -> str:
        return f"compadd -- {' '.join(option.choices)}" if option.choices else "_files" if option.takes_file else "_message value"

    def described(pairs: Mapping[str, str]) -> str:
        return " ".join(shlex.quote(f"{name}:{meaning}") for name, meaning in pairs.items())

    return ZSH.format(
        program=program,
        function=_function(program),
        places=_cases(places),
        values="\n".join(
            f"        {_pattern(place, option.name)}) {value(option)}; return ;;"
            for place in places
            for option in place.options
            if option.takes_value
        ),
        options="\n".join(
            f"            {_pattern(place)}) candidates=({described({option.name: option.meaning for option in place.options})}) ;;"
            for place in places
        ),
        commands="\n".join(
            f"        {_pattern(place)}) candidates=({described({**place.commands, **dict.fromkeys(place.choices, '')})}) ;;"
            for place in places
            if place.commands or place.choices
        ),
    )


FISH = """\
# fish completion of {program}: put it into ~/.config/fish/completions/{program}.fish, or source it.
function __{function}_at
    set -l place
    for word in (commandline -opc)[2..-1]
        if contains -- (string join ' ' $place $word) {places}
            set -a place $word
        end
    end
    test "$place" = "$argv"
end
"""


def _fish(places: Sequence[Place], program: str) -> str:
    function = _function(program)
    known = " ".join(shlex.quote(place.path) for place in places if place.words)
    lines = [FISH.format(program=program, function=function, places=known).rstrip("\n")]
    for place in places:
        begin = f"complete -c {program} -n {shlex.quote(f'__{function}_at {place.path}'.rstrip())}"
        lines += [f"{begin} -f -a {name} -d {shlex.quote(meaning)}" for name, meaning in place.commands.items()]
        lines += [f"{begin} -a {shlex.quote(' '.join(place.choices))}"] if place.choices else []
        lines += [f"{begin} -l {option.name.lstrip('-')}{_fish_value(option)} -d {shlex.quote(option.meaning)}" for option in place.options]
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    if option.choices:
        return f" -x -a {shlex.quote(' '.join(option.choices))}"
    return " -r" if option.takes_file else " -x" if option.takes_value else ""


def _function(program: str) -> str:
    return program.replace("-", "_")


def _pattern(place: Place, *more: str) -> str:
    """A place as a case of bash and zsh: its words, each after a space; nothing for the program itself."""
    return f'"{"".join(f" {word}" for word in (*place.words, *more))}"'


def _cases(places: Sequence[Place]) -> str:
    return "|".join(_pattern(place) for place in places if place.words)


def _value_cases(places: Sequence[Place]) -> str:
    return "|".join(_pattern(place, option.name) for place in places for option in place.options if option.takes_value)


SCRIPTS: Mapping[Shell, Callable[[Sequence[Place], str], str]] = {Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}
