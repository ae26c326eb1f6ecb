"""`medsam2d audit`: is the trail whole, and what does it say?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from daemon.atna import message_of
from daemon.audit import open_audit
from daemon.audit_chain import records, verify
from daemon.audit_forwarding import patients_in
from daemon.commands.common import ConfigOption, JsonOption, load_settings, say
from daemon.roles import source_of

app = typer.Typer(help="Verify and show the audit trail.", no_args_is_help=True)


@app.command(name="verify")
def verify_trail(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Follow the chain of hashes; exit code 1 names the first record that was changed, removed, inserted or moved."""
    folder = load_settings(config).folders.audit
    broken = verify(folder)
    if broken is not None:
        if as_json:
            typer.echo(json.dumps({"whole": False, "file": str(broken.path), "line": broken.line, "reason": broken.reason}))
        else:
            typer.echo(f"{broken.path}:{broken.line}: {broken.reason}", err=True)
        raise typer.Exit(1)
    count = sum(1 for _ in records(folder))
    say(f"{folder}: {count} records, the chain is whole", {"whole": True, "folder": folder, "records": count}, as_json=as_json)


@app.command(name="export")
def export_trail(
    out: Annotated[Path, typer.Argument(help="folder for the messages, made anew; they name patients: keep it to yourself")],
    study: Annotated[str | None, typer.Option(help="only messages about this Study Instance UID")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the trail as audit messages of PS3.15 section A.5, a file each; exporting is an event of the trail itself."""
    settings = load_settings(config)
    folder, source, patient_of = settings.folders.audit, source_of(settings), patients_in(settings.folders.spool)
    out.mkdir(mode=0o700, parents=True)
    open_audit(folder).log_read(folder)
    count = 0
    for record in records(folder):
        message = message_of(record, source, patient_of)
        if message is not None and study in (None, record.details.get("study_instance_uid")):
            count += 1
            path = out / f"{count:08d}-{record.event}.xml"
            path.touch(mode=0o600)
            path.write_bytes(message)
    say(f"{out}: {count} messages", {"folder": out, "messages": count}, as_json=as_json)


@app.command(name="show")
def show_trail(
    study: Annotated[str | None, typer.Argument(help="only records of this Study Instance UID")] = None, config: ConfigOption = None
) -> None:
    """Print the records, one line of JSON each, the oldest first."""
    for record in records(load_settings(config).folders.audit):
        if study is None or record.details.get("study_instance_uid") == study:
            typer.echo(json.dumps(vars(record), sort_keys=True))
