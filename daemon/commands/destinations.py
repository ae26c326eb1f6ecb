"""`medsam2d destinations` and `medsam2d echo`: are they there, and what do they take?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from daemon.commands.common import ConfigOption, JsonOption, load_settings
from daemon.config import Config
from daemon.configured_store import store_beside_service
from daemon.destination_probe import Found, ask, is_there, remember
from daemon.errors import FORESEEN, ConfigError, classify
from dicom_io.probe import Capability

app = typer.Typer(help="List and probe the systems that results are sent to.", no_args_is_help=True)
EVER = timedelta(days=36_500)


@app.command(name="list")
def list_destinations(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every destination, what waits for it, and what it was last seen to accept."""
    settings = load_settings(config)
    with store_beside_service(settings) as store:
        waiting = store.waiting_by_destination()
        seen = {name: store.capability(name, EVER) for name in settings.destinations}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": own.kind,
            "waiting": waiting.get(name, {}),
            "accepts": list(Capability(accepted=seen[name]).names(accepted=True)) if seen[name] else None,
        }
        for name, own in settings.destinations.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        states = ", ".join(f"{count} {state}" for state, count in row["waiting"].items()) or "nothing waits"
        accepts = "never probed" if row["accepts"] is None else f"accepted {', '.join(row['accepts']) or 'nothing'}"
        typer.echo(f"{row['name']} ({row['kind']}): {states}; {accepts}")


@app.command(name="probe")
def probe_destinations(
    names: Annotated[list[str] | None, typer.Argument(help="only these; absent: all")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what they would take from us (SEG, LABELMAP, SR, storage commitment ...), and remember it; nothing is sent."""
    settings = load_settings(config)
    with store_beside_service(settings) as store:
        found: list[Found] = []

        def probe(name: str) -> str:
            found.append(ask(settings, name))
            remember(store, found[-1])
            return found[-1].found

        _ask_each(settings, names, probe, as_json=as_json)


def echo_destination(
    name: Annotated[str, typer.Argument(metavar="DESTINATION", help="its name in the configuration")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a destination for a sign of life: C-ECHO, an HTTP answer, or its folder."""
    settings = load_settings(config)
    _ask_each(settings, [name], lambda asked: is_there(settings, asked), as_json=as_json)


def _ask_each(settings: Config, names: list[str] | None, question: Callable[[str], str], *, as_json: bool) -> None:
    """Print one answer a destination; exit code 1 where one is not as it should be."""
    chosen = names or list(settings.destinations)
    unknown = [name for name in chosen if name not in settings.destinations]
    if unknown:
        known = ", ".join(settings.destinations) or "there is none"
        raise ConfigError(f"expected the name of a destination ({known}), got {', '.join(unknown)}")
    answers = [(name, *_answer(question, name)) for name in chosen]
    if as_json:
        typer.echo(json.dumps([{"name": name, "good": good, "found": text} for name, good, text in answers]))
    else:
        for name, good, text in answers:
            typer.echo(f"{'ok  ' if good else 'FAIL'} {name}: {text}")
    if not all(good for _, good, _ in answers):
        raise typer.Exit(1)


def _answer(question: Callable[[str], str], name: str) -> tuple[bool, str]:
    try:
        return True, question(name)
    except FORESEEN as error:
        judged = classify(error)
        return False, f"[{judged.code}] {judged.message}"
