"""`medsam2d doctor`: one file for whoever helps, with everything that they ask for and nothing of a patient."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from daemon.clock import system_clock
from daemon.commands.common import ConfigOption, JsonOption


def doctor(
    out: Annotated[Path, typer.Option(metavar="FILE.tar.gz", help="made for this user alone")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle for support: versions, settings, findings, counts and error codes; no patient data, no secrets."""
    from daemon.support_bundle import LEFT_OUT, write_bundle
    from daemon.support_parts import parts_of

    made = write_bundle(parts_of(config), out, system_clock())
    if as_json:
        typer.echo(json.dumps({"file": str(out), "parts": [asdict(one) for one in made]}))
        return
    for one in made:
        typer.echo(f"{'ok  ' if one.complete else 'none'} {one.name}: {one.holds}{'' if one.complete else ' (it says why not)'}")
    typer.echo(f"{out}: readable by your user alone. Look into it before you hand it on. {LEFT_OUT}")
