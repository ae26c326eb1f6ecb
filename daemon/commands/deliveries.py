"""`medsam2d deliveries`: what has not reached its destination, why, and letting it go on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from daemon.audit import open_audit
from daemon.commands.common import ConfigOption, JsonOption, load_settings, say
from daemon.configured_store import store_beside_service
from daemon.person import at_the_command_line
from daemon.releases import release_results
from daemon.store import OutboxState

app = typer.Typer(help="Show what waits for destinations, and release what was refused.", no_args_is_help=True)


@app.command(name="list")
def list_deliveries(
    state: Annotated[OutboxState | None, typer.Option(help="only those in this state; absent: all that are not settled")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every delivery that is not settled, the oldest first, with its reason."""
    settings = load_settings(config)
    with store_beside_service(settings) as store:
        rows = store.open_deliveries(state)
    if as_json:
        typer.echo(json.dumps([{**vars(row), "due_at": row.due_at.isoformat()} for row in rows]))
        return
    for row in rows:
        why = f" [{row.error_code}] {row.error_message}" if row.error_code else ""
        typer.echo(f"{row.id} job {row.job_id} to {row.destination}: {row.state}, {row.attempt} failed tries, due {row.due_at:%F %T}Z{why}")


@app.command(name="release")
def release_deliveries(
    destination: Annotated[str | None, typer.Argument(help="only those for this destination; absent: all")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send again what destinations refused for good, now that the cause is mended."""
    settings = load_settings(config)
    with store_beside_service(settings) as store:
        count = release_results(store, open_audit(settings.folders.audit), destination, at_the_command_line())
    say(f"released: {count}", {"destination": destination, "released": count}, as_json=as_json)
