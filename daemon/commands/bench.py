"""`medsam2d bench`: how fast the parts are on this machine, as ratios measured side by side in one run."""

from __future__ import annotations

import typer

app = typer.Typer(help="Measure the speed of the parts on this machine, as ratios within one run.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure the speed of the parts on this machine, as ratios within one run."""
