"""`medsam2d notifications`: does a notice reach people?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from daemon.clock import system_clock
from daemon.commands.common import ConfigOption, JsonOption, load_settings
from daemon.errors import ConfigError, Transient
from daemon.notifications.channels import Message, channels_of
from daemon.notifications.notifier import source_of_notices
from daemon.notifications.told import News, Notice

app = typer.Typer(help="Try the channels over which people are told what needs them.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep `test` a command of its own."""


@app.command(name="test")
def try_channels(
    names: Annotated[list[str] | None, typer.Argument(help="only these channels; absent: all")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a notice over each channel that says that it is a test; exit code 1 where one does not take it."""
    settings = load_settings(config)
    own = settings.notifications
    known = ", ".join(own.channels) if own is not None else "there is none"
    if own is None or (names and not set(names) <= set(own.channels)):
        raise ConfigError(f"expected names of configured channels ({known}), got {', '.join(names or ()) or 'none'}; see notifications")
    now = system_clock()
    notice = Notice(key=("test", ""), news=News.RAISED, since=now, count=0, text="this is a test, nothing needs a person", cure="")
    message = Message(source=source_of_notices(settings), at=now, notices=(notice,))
    answers: list[tuple[str, str | None]] = []
    for name, channel in channels_of(own).items():
        if names and name not in names:
            continue
        try:
            channel.send(message)
            answers.append((name, None))
        except (Transient, ConfigError) as error:
            answers.append((name, f"[{error.code}] {error}"))
    if as_json:
        typer.echo(json.dumps([{"name": name, "good": fault is None, "found": fault or "taken"} for name, fault in answers]))
    else:
        for name, fault in answers:
            typer.echo(f"{'ok  ' if fault is None else 'FAIL'} {name}: {fault or 'taken'}")
    if any(fault for _, fault in answers):
        raise typer.Exit(1)
