"""`medsam2d weights`: which weights there are, their licence and intended use, and whether their files are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from daemon.audit import open_audit
from daemon.commands.common import ConfigOption, JsonOption, load_settings
from daemon.errors import UntrustedWeights
from daemon.weights import InstallRequest, book_of, install, verify

app = typer.Typer(help="List, install and verify weights.", no_args_is_help=True)


@app.command(name="list")
def list_weights(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the weights by name with licence, intended use and SHA-256."""
    entries = book_of(load_settings(config, missing_is_default=True)).entries.values()
    if as_json:
        typer.echo(json.dumps([{**vars(entry), "file": str(entry.file)} for entry in entries]))
        return
    for entry in entries:
        typer.echo(f"{entry.name} ({entry.source})")
        typer.echo(f"  licence       {entry.licence}")
        typer.echo(f"  intended use  {entry.intended_use}")
        typer.echo(f"  sha256        {entry.sha256 or 'none recorded: the file is trusted as it is'}")
        typer.echo(f"  file          {entry.file}")


@app.command(name="verify")
def verify_weights(name: Annotated[str | None, typer.Argument()] = None, config: ConfigOption = None) -> None:
    """Compare the weights files with their recorded SHA-256; exit code 1 if one differs."""
    book = book_of(load_settings(config, missing_is_default=True))
    entries = [book.find(name)] if name else list(book.entries.values())
    faults = 0
    for entry in entries:
        try:
            typer.echo(f"{entry.name}: sha256 {verify(entry)} {'as recorded' if entry.sha256 else 'trusted without a recorded hash'}")
        except UntrustedWeights as error:
            faults += 1
            typer.echo(f"{entry.name}: {error}", err=True)
    raise typer.Exit(1 if faults else 0)


@app.command(name="install")
def install_weights(
    file: Annotated[Path, typer.Argument(help="a .pt or .safetensors file")],
    name: Annotated[str, typer.Option(help="the name that rules will use")],
    sha256: Annotated[str | None, typer.Option(help="the publisher's SHA-256 of the file")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="vouch for the file yourself; this is audited")] = False,
    licence: Annotated[str, typer.Option(help="the licence the weights come under")] = "unknown",
    intended_use: Annotated[str, typer.Option(help="what the weights are meant for")] = "unknown",
    config: ConfigOption = None,
) -> None:
    """Copy a weights file into the daemon's folder under a name, after its hash has been vouched for and its keys checked."""
    from model.checkpoint import load_model  # torch loads only here

    settings = load_settings(config, missing_is_default=True)
    request = InstallRequest(file=file, name=name, sha256=sha256, trust=trust, licence=licence, intended_use=intended_use)
    load_model(file, expected_sha256=sha256)
    entry = install(request, settings.folders.weights)
    open_audit(settings.folders.audit).weights_installed(name=name, sha256=entry.sha256 or "", trusted=sha256 is None)
    typer.echo(f"{name}: installed as {entry.file} (sha256 {entry.sha256})")
