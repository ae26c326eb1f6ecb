"""What several commands share: the configuration option, JSON output and progress bars."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from daemon.config import Config, RulesSettings, load_config
from daemon.configured_store import store_beside_service
from daemon.errors import ConfigError
from daemon.store import Store

WIDER_THAN_ANY = 10_000
"""Columns of a pipe or file, which has no width: nothing is folded there."""
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="configuration file (default: $MEDSAM2D_CONFIG, ./config.yaml, /etc/medsam2d/config.yaml)"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one line of JSON")]

LIBRARY = Path(__file__).resolve().parent.parent.parent / "rules" / "library"
"""Example rules that ship with the software."""
SEARCH = (Path("config.yaml"), Path("/etc/medsam2d/config.yaml"))


def find_config(path: Path | None) -> Path | None:
    """Return the configuration file that is meant, or None where none of the usual places holds one."""
    if path is not None:
        return path
    if "MEDSAM2D_CONFIG" in os.environ:
        return Path(os.environ["MEDSAM2D_CONFIG"])
    return next((place for place in SEARCH if place.is_file()), None)


def load_settings(path: Path | None, *, missing_is_default: bool = False) -> Config:
    """Return the configuration; without any file, the defaults where `missing_is_default`.

    Raises `ConfigError` or `rules.errors.ConfigFaults`.
    """
    found = find_config(path)
    if found is None:
        if missing_is_default:
            return Config(rules=RulesSettings(paths=(LIBRARY,)))
        raise ConfigError(f"no configuration: looked for $MEDSAM2D_CONFIG, {' and '.join(map(str, SEARCH))}; give --config FILE")
    return load_config(found)


@contextmanager
def existing_store(settings: Config) -> Iterator[Store]:
    """The store of a service that has run before. Raises `ConfigError` where none has been made yet."""
    if settings.store.url is None and not settings.folders.state.exists():
        raise ConfigError(f"{settings.folders.state}: no store there yet; start the service once, or correct `folders.state`")
    with store_beside_service(settings) as store:
        yield store


def say(words: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Tell what a command did: `words` for people, `facts` as one line of JSON."""
    typer.echo(json.dumps(facts, default=str) if as_json else words)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose words are never cut off: as wide as the terminal, folded; as wide as it needs in a pipe or a file."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDER_THAN_ANY
    table = Table(*(Column(name, overflow="fold") for name in header), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


@contextmanager
def progress_bar(unit: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal's standard error; yields a callable that takes (done, in all)."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
