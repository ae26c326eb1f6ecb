"""The command line as a whole: every command that prints for people prints for programs too."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from daemon.cli import app
from daemon.completion import places_of

PRINTS_NOTHING = {"serve", "listener", "worker", "delivery", "web", "notifier"}
"""They run until they are told to stop, and log."""
SPEAKS_TO_PROGRAMS = {"audit show", "rules schema", "completion"}
"""What they print is JSON, or a script, anyway."""


def test_every_command_that_prints_for_people_takes_json() -> None:
    without = {place.path for place in places_of(app) if not place.commands and "--json" not in {option.name for option in place.options}}
    assert without == PRINTS_NOTHING | SPEAKS_TO_PROGRAMS


def test_the_version_is_told_as_json_too() -> None:
    said = json.loads(CliRunner().invoke(app, ["version", "--json"]).stdout)
    assert CliRunner().invoke(app, ["version"]).stdout == f"medsam2d {said['version']}\n"
