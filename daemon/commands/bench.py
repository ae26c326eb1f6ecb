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
def reading(
    slices: Annotated[int, typer.Option(min=3, help="how many slices")] = 300,
    size: Annotated[int, typer.Option(min=8, help="rows and columns of a slice")] = 512,
    runs: Annotated[int, typer.Option(min=1, help="runs, of which the median counts")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Read an uncompressed CT series to a volume, beside pydicom's plain reading of the same files."""
    from daemon.benchmarks.reading import measure_reading

    times = measure_reading(slices, size, size, runs)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(times), "ratio": times.ratio}))
        return
    typer.echo(
        f"{times.slices} slices of {times.rows} x {times.columns}: {times.seconds:.2f} s, of which headers {times.header_seconds:.2f} s"
    )
    typer.echo(f"pydicom, pixels alone: {times.pydicom_seconds:.2f} s; ratio {times.ratio:.2f}")
    typer.echo(f"memory beside the array: {times.mebibytes_above_the_array:.0f} MiB")


@app.command()
def segmentation(
    slices: Annotated[int, typer.Option(min=3, help="slices of the CT")] = 300,
    size: Annotated[int, typer.Option(min=16, help="rows and columns")] = 512,
    targets: Annotated[int, typer.Option(min=1, max=100, help="how many segments")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="runs that the median is taken of")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Write a segmentation and check it, beside highdicom's construction and saving of the same masks."""
    from daemon.benchmarks.segmentation import measure_segmentation

    times = measure_segmentation(slices, size, targets, repeats)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(times), "seconds": times.seconds, "ratio": times.ratio}))
        return
    typer.echo(
        f"{times.targets} targets on {times.slices} slices of {times.size}x{times.size}: {times.frames} frames, {times.megabytes:.1f} MB"
    )
    typer.echo(f"written in {times.seconds_write:.2f} s, checked in {times.seconds_check:.2f} s, {times.seconds:.2f} s in all")
    typer.echo(f"highdicom alone, without a check: {times.seconds_highdicom:.2f} s; ratio {times.ratio:.2f}")
    typer.echo(f"memory above the arrays: {times.mebibytes_above_arrays:.0f} MiB")
