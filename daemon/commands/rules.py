"""`medsam2d rules`: are the rules right, which of them compete, and do they say of known headers what they should?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.atlases import atlas_faults
from daemon.commands.common import ConfigOption, JsonOption, find_config, load_settings
from daemon.errors import ConfigError
from daemon.explanation import Depth
from daemon.folder_study import Sender
from daemon.rules_in_use import checked_rules
from rules.cases import find_case_files, run_cases
from rules.errors import ConfigFaults
from rules.load import load_rules
from rules.reach import overlapping_rules, shadowed_rules
from rules.rule import RuleSet, json_schema

app = typer.Typer(help="Check, test and describe rules.", no_args_is_help=True)
PathsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH]...", help="rule files or folders (default: the configuration's rules.paths)")
]
EXIT_FAILED = 1


@app.command()
def check(paths: PathsArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read all rules: every fault at once, rules that can never apply, and rules that compete for the same series.

    Exit code 2 for faults, 1 for a rule that can never apply. Competing rules are legal (the first wins) and only said.
    """
    ruleset = _ruleset(paths, config)
    shadowed, overlaps = shadowed_rules(ruleset), overlapping_rules(ruleset)
    if as_json:
        report = {
            "rules": [rule.name for rule in ruleset.rules],
            "unreachable": [{"rule": found.rule.name, "by": found.by.name} for found in shadowed],
            "overlapping": [[found.first.name, found.second.name] for found in overlaps],
        }
        typer.echo(json.dumps(report))
    else:
        typer.echo(f"{len(ruleset.rules)} rule{'s' * (len(ruleset.rules) != 1)}, no fault")
        for found in shadowed:
            typer.echo(
                f"{_place(ruleset, found.rule.name)}: {found.rule.name!r} can never apply: {found.by.name!r} before it takes its series"
            )
        for pair in overlaps:
            typer.echo(f"note: {pair.first.name!r} and {pair.second.name!r} may match the same series; the first one wins")
    if shadowed:
        raise typer.Exit(EXIT_FAILED)


@app.command(name="test")
def run_tests(paths: PathsArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Match the headers in NAME.cases.yaml beside the rules, and say which get another rule than they should (exit code 1)."""
    places = _paths(paths, config)
    ruleset, files = load_rules(places), find_case_files(places)
    if not files:
        raise ConfigError(f"{', '.join(map(str, places))}: expected at least one file *.cases.yaml beside the rules, got none")
    outcomes = [outcome for file in files for outcome in run_cases(file, ruleset)]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        rows = [{"file": str(one.file), "case": one.case.name, "expected": one.case.expect, "got": one.got} for one in outcomes]
        typer.echo(json.dumps({"passed": len(outcomes) - len(failed), "failed": len(failed), "cases": rows}))
    else:
        for one in failed:
            typer.echo(f"FAIL {one.file}: {one.case.name}: expected {one.case.expect}, got {one.got} ({one.reason})")
        typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases as expected")
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def explain(
    place: Annotated[str, typer.Argument(metavar="DIR|STUDY", help="a folder of DICOM, or the Study Instance UID of a study in the store")],
    rules_path: Annotated[Path | None, typer.Option("--rules", help="rule file or folder (default: the configuration's)")] = None,
    sheet: Annotated[Path, typer.Option("--sheet", help="HTML file with the prompts drawn on the images; readable by you alone")] = Path(
        "explain.html"
    ),
    headers_only: Annotated[bool, typer.Option("--headers-only", help="match alone: read no pixels, make no prompts, no sheet")] = False,
    identify: Annotated[bool, typer.Option("--identify", help="also show values that may identify the patient")] = False,
    calling: Annotated[str, typer.Option(metavar="AE", help="as if sent by this AE title (a folder)")] = "",
    called: Annotated[str, typer.Option(metavar="AE", help="as if sent to this AE title (a folder)")] = "",
    address: Annotated[str, typer.Option(metavar="IP", help="as if sent from this address (a folder)")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of every series which rule it gets and why, condition by condition, and draw the prompts; no model is run."""
    from daemon.commands import explain as command

    settings = load_settings(config, missing_is_default=True)
    ruleset = _ruleset([rules_path] if rules_path else None, config)
    sender = Sender(calling_ae_title=calling, called_ae_title=called, source_address=address)
    found = command.run(command.read_place(place, settings, sender), ruleset, Depth(prompts=not headers_only, identify=identify))
    if not headers_only:
        command.write_sheet(found, sheet)
    if as_json:
        typer.echo(command.as_json(found))
        return
    command.show(found, Console())
    if not headers_only:
        typer.echo(f"{sheet}: holds patient images, readable by you alone")


@app.command()
def schema() -> None:
    """Print the JSON Schema of rule files, for completion in editors (yaml-language-server: $schema=FILE)."""
    typer.echo(json.dumps(json_schema(), indent=2))


def _ruleset(paths: list[Path] | None, config: Path | None) -> RuleSet:
    """Rules named on the command line stand alone; those of a configuration are checked against its destinations and weights too."""
    if not paths:
        return checked_rules(load_settings(config, missing_is_default=find_config(config) is None))
    ruleset = load_rules(paths)
    if faults := tuple(atlas_faults(ruleset)):
        raise ConfigFaults(faults)
    return ruleset


def _paths(paths: list[Path] | None, config: Path | None) -> tuple[Path, ...]:
    return tuple(paths) if paths else load_settings(config, missing_is_default=True).rules.paths


def _place(ruleset: RuleSet, name: str) -> str:
    source = ruleset.sources.get(name)
    return "rules" if source is None else f"{source.places.file}:{source.places.lines.get(('rules', source.index), '?')}"
