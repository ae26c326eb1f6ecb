"""`medsam2d bench`: how fast the parts are on this machine, as ratios measured side by side in one run."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from daemon.commands.common import JsonOption

app = typer.Typer(help="Measure the speed of the parts on this machine, as ratios within one run.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure the speed of the parts on this machine, as ratios within one run."""


@app.command()
def rules(
    series: Annotated[int, typer.Option(min=1, help="how many series")] = 10_000,
    rules: Annotated[int, typer.Option(min=1, help="how many rules")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Match made-up series against made-up rules, beside forming every reason in words."""
    from daemon.benchmarks.rules import measure_matching

    times = measure_matching(series, rules)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(times), "ratio": times.ratio}))
        return
    typer.echo(f"{times.series} series against {times.rules} rules: {times.seconds:.2f} s, {times.matched} matched")
    typer.echo(f"with every rule's reason in words: {times.seconds_with_words:.1f} s, {times.ratio:.0f} times as long")


@app.command()
def receiver(
    associations: Annotated[list[int] | None, typer.Option(min=1, max=64, help="how many at once; may be repeated (1, 4 and 8)")] = None,
    images: Annotated[int, typer.Option(min=8, help="CT slices of 0.5 MiB a run, over all associations")] = 400,
    repetitions: Annotated[int, typer.Option(min=1, help="of which the medians count")] = 5,
    memory: Annotated[bool, typer.Option(help="also measure memory at 64 associations and with large objects")] = True,
    fairness: Annotated[bool, typer.Option(help="also measure a peer's rate beside hung and hostile ones")] = True,
    as_json: JsonOption = False,
) -> None:
    """Send CT slices to this receiver, and to DCMTK's, Orthanc's and pynetdicom's, side by side."""
    from daemon.benchmarks.fairness import measure_fairness
    from daemon.benchmarks.receiver import measure_memory, measure_throughput, table
    from daemon.benchmarks.receivers import KINDS

    def say(line: str) -> None:
        typer.echo(line, err=True)

    rates = measure_throughput(associations or [1, 4, 8], images, repetitions, list(KINDS), say)
    sizes = measure_memory(64, (64, 512)) if memory else {}
    beside = measure_fairness(images, repetitions, say) if fairness else {}
    if as_json:
        typer.echo(json.dumps({"throughput": [dataclasses.asdict(rate) for rate in rates], "pss_mib": sizes, "fairness": dict(beside)}))
        return
    for line in table(rates):
        typer.echo(line)
    for what, mib in sizes.items():
        typer.echo(f"memory (PSS), {what}: {mib:.0f} MiB")
    for what, share in beside.items():
        typer.echo(f"rate of one peer beside {what}: {share:.2f} of its rate alone")
