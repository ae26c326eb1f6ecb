"""`medsam2d send-test`: a phantom, marked as a test, through the running service."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.common import ConfigOption, JsonOption, load_settings


def send_test(
    to: Annotated[list[str] | None, typer.Option("--to", metavar="DESTINATION", help="may get a result marked as a test; repeat")] = None,
    calling_ae_title: Annotated[str, typer.Option(help="who seems to send it; rules can ask for it")] = "MEDSAM2D_TEST",
    called_ae_title: Annotated[str | None, typer.Option(help="which of our titles is called (default: the first)")] = None,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="follow it for so long")] = 600.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a phantom, marked as a test, to the running service and follow it; exit code 1 where it does not arrive."""
    from daemon.live_test import run  # arrays and the network load only for the commands that need them

    named = tuple(to or ())
    asked = run.SendTestRequest(calling_ae_title=calling_ae_title, called_ae_title=called_ae_title, named=named, timeout_seconds=timeout)
    raise typer.Exit(run.send_test(load_settings(config), asked, as_json=as_json))
