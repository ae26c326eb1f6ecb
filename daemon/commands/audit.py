"""`medsam2d audit`: is the trail whole, and what does it say?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from daemon.audit_chain import records, verify
from daemon.commands.common import ConfigOption, load_settings

app = typer.Typer(help="Verify and show the audit trail.", no_args_is_help=True)


@app.command(name="verify")
def verify_trail(config: ConfigOption = None) -> None:
    """Follow the chain of hashes; exit code 1 names the first record that was changed, removed, inserted or moved."""
    folder = load_settings(config).folders.audit
    broken = verify(folder)
    if broken is not None:
        typer.echo(f"{broken.path}:{broken.line}: {broken.reason}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder}: {sum(1 for _ in records(folder))} records, the chain is whole")


@app.command(name="show")
def show_trail(
    study: Annotated[str | None, typer.Argument(help="only records of this Study Instance UID")] = None, config: ConfigOption = None
) -> None:
    """Print the records, one line of JSON each, the oldest first."""
    for record in records(load_settings(config).folders.audit):
        if study is None or record.details.get("study_instance_uid") == study:
            typer.echo(json.dumps(vars(record), sort_keys=True))
