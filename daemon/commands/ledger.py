"""`medsam2d ledger`: is every acknowledged instance accounted for, and where is it?"""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from daemon.commands.common import existing_store, print_table
from daemon.config import Config
from daemon.ledger import Ledger, LedgerLine, ledger, ledger_by_day


def show_ledger(settings: Config, *, by_day: bool, as_json: bool) -> int:
    """Print the ledger; return 0 if every instance is accounted for, else 1. Raises `ConfigError` where there is no store yet."""
    with existing_store(settings) as store:
        whole = ledger(store)
        lines = ledger_by_day(store) if by_day else ()
    if as_json:
        typer.echo(json.dumps([_line(line) for line in lines] if by_day else asdict(whole)))
    else:
        _print(whole, lines)
    return 0 if whole.balanced else 1


def _line(line: LedgerLine) -> dict[str, object]:
    return {"day": line.day.isoformat(), "source": line.source, **asdict(line.ledger)}


def _print(whole: Ledger, lines: tuple[LedgerLine, ...]) -> None:
    names = [name.replace("_", " ") for name in asdict(whole)]
    rows = [(line.day.isoformat(), line.source, line.ledger) for line in lines]
    rows.append(("all", "all", whole))
    print_table(
        ("day (UTC)", "source", *names),
        ((day, source, *map(str, asdict(counts).values())) for day, source, counts in rows),
    )
    typer.echo("every acknowledged instance is accounted for" if whole.balanced else "NOT BALANCED: report this as a bug")
