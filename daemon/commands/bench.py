"""`medsam2d bench`: how fast the parts are on this machine, as ratios measured side by side in one run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.common import ConfigOption, JsonOption, load_settings, progress_bar
from daemon.errors import ConfigError

if TYPE_CHECKING:
    from daemon.benchmarks.model import Row

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


@app.command()
def model(
    slices: Annotated[str, typer.Option(help="slices of a volume, several with commas")] = "24,96,300",
    objects: Annotated[str, typer.Option(help="objects in it, several with commas")] = "1,3,5",
    object_slices: Annotated[int | None, typer.Option(min=2, help="slices that each object is stated to lie on; absent: all")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16")] = "auto",
    weights: Annotated[
        str, typer.Option(metavar="NAME", help="weights by name; synthetic: random ones of the official size")
    ] = "synthetic",
    side: Annotated[int, typer.Option(min=32, help="rows and columns of a slice")] = 512,
    whole_up_to: Annotated[int, typer.Option(min=0, help="slices times objects up to which the reference runs to its end")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propagate boxes by the engine, beside the published script's way of doing it with the same network."""
    from daemon.benchmarks import model as benchmark
    from daemon.benchmarks.synthetic import synthetic_network
    from daemon.host_memory import keep_freed_tensors
    from daemon.models import choose_device
    from daemon.weights import book_of
    from model.checkpoint import load_model
    from model.precision import Precision, choose_precision

    if precision not in ("auto", *(one.value for one in Precision)):
        raise ConfigError(f"--precision {precision}: expected auto, float32, bfloat16 or float16")
    keep_freed_tensors()
    place = choose_device(device)
    in_precision = choose_precision(precision, place)
    if weights == "synthetic":
        network = synthetic_network()
    else:
        entry = book_of(load_settings(config, missing_is_default=True)).find(weights)
        network = load_model(entry.file, expected_sha256=entry.sha256).model
    cells = [
        benchmark.Cell(slices=many, objects=count, object_slices=min(object_slices or many, many))
        for many in _numbers("--slices", slices)
        for count in _numbers("--objects", objects)
    ]
    bench = benchmark.ModelBenchmark(network, place, in_precision, side=side, whole_up_to=whole_up_to)
    rows = []
    for row in bench.run(cells):
        rows.append(row)
        if not as_json:
            typer.echo(_line(row))
    plain_encode, plain_step, encode, step = (round(flops / 1e9, 1) for flops in bench.work)
    if as_json:
        head = {"device": benchmark.device_name(place), "precision": in_precision.value, "weights": weights}
        work = {"gflop_reference": [plain_encode, plain_step], "gflop_engine": [encode, step]}
        typer.echo(json.dumps({**head, **work, "rows": [dataclasses.asdict(row) for row in rows]}))
        return
    typer.echo(f"on {benchmark.device_name(place)} in {in_precision.value}, weights {weights}")
    typer.echo(f"GFLOP an encode and a steady step: as written {plain_encode} and {plain_step}, as run {encode} and {step}")


def _line(row: Row) -> str:
    summed = " (summed)" if row.reference_summed else ""
    verdict = "masks agree" if row.masks_agree else "MASKS DIFFER"
    return (
        f"{row.slices} slices, {row.objects} objects on {row.object_slices} each: "
        f"reference {row.seconds_reference:.1f} s{summed}, engine {row.seconds_engine:.1f} s, {row.ratio:.2f} times as fast "
        f"(by CPU seconds {row.cpu_ratio:.2f}); {row.slices_per_second:.2f} slices/s, "
        f"peak {row.peak_mib:.0f} MiB ({row.frames_mib:.0f} of them the frames), "
        f"{row.gflop_per_second:.0f} GFLOP/s = {row.share_of_peak:.0%} of a matrix product's speed; "
        f"{verdict} (worst Dice {row.worst_dice:.4f})"
    )


def _numbers(option: str, text: str) -> list[int]:
    """The whole numbers from 1 of a list with commas. Raises `ConfigError`."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected whole numbers with commas ({error})") from error
    if min(numbers) < 1:
        raise ConfigError(f"{option} {text}: expected numbers of at least 1")
    return numbers


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


@app.command()
def verdicts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="labelled cases: one sub-folder a family (see docs/training.md)")],
    weights: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="weights to measure; the default ones if absent")] = None,
    cases: Annotated[int, typer.Option(min=1, help="at most so many cases a family")] = 20,
    second_look: Annotated[bool, typer.Option(help="segment each object twice, and let the agreement count")] = True,
    minimum_score: Annotated[float, typer.Option(min=0, max=1, help="the limit whose effect is told")] = 0.8,
    split: Annotated[str, typer.Option(help="val, train or all; cases without a split are always measured")] = "val",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well the quality score tells good masks from bad ones, and what it withholds where there is no target."""
    from daemon.benchmarks.verdicts import figures_of, judge_cases
    from daemon.commands.evaluate import reading_of
    from daemon.commands.segment import models_for
    from daemon.datasets import read_families

    segmenter = models_for(load_settings(config, missing_is_default=True), weights, "cpu").segmenter(None)
    families = read_families(folder, reading_of(split, None))
    with progress_bar("cases", quiet=as_json) as progress:
        judged = list(judge_cases(families, segmenter, cases, second_look=second_look, progress=progress))
    figures = figures_of(judged, minimum_score)
    if as_json:
        rows = [dataclasses.asdict(one) for one in judged]
        typer.echo(json.dumps({**dataclasses.asdict(figures), "rows": rows}))
        return
    known = {name: "-" if value is None else f"{value:.2f}" for name, value in dataclasses.asdict(figures).items()}
    typer.echo(f"{figures.objects} objects, median Dice {known['median_dice']}: {figures.bad} below 0.5, {figures.good} from 0.8")
    typer.echo(f"AUROC of the score: {known['auroc']}")
    typer.echo(f"withheld by minimum_score {minimum_score:g}: {known['bad_withheld']} of the bad, {known['good_withheld']} of the good")
    typer.echo(f"and of {figures.empty_places} places without a label: {known['empty_withheld']}")


@app.command()
def chain(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="DICOM images with the SEG or RTSTRUCT that outlines them; or labelled .npz cases of CT and MR"),
    ],
    rules: Annotated[Path, typer.Option(metavar="PATH", help="rule file or folder, as in service")],
    structure: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="count only this structure; may be repeated")] = None,
    called_ae_title: Annotated[str, typer.Option(help="as if the series had been sent to this title")] = "MEDSAM2D",
    weights: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="weights to measure; the default ones if absent")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let rules prompt real series, segment them, and compare with what people drew: the Dice of the whole chain, and from the true box."""
    from statistics import median

    from daemon.benchmarks.chain import measure_cases, measure_chain
    from daemon.commands.segment import models_for
    from daemon.stages import Stages
    from daemon.tools import Tools
    from model.options import PropagationOptions
    from rules.load import load_rules

    settings = load_settings(config, missing_is_default=True)
    with progress_bar("slices", quiet=as_json) as progress:
        tools = Tools(
            ruleset=load_rules([rules]),
            models=models_for(settings, weights, "cpu"),
            result=settings.result,
            stage=Stages(),
            progress=progress,
            options=PropagationOptions(stop_after_empty_frames=3),
        )
        cases = sorted(folder.glob("*.npz"))
        wanted = (called_ae_title, structure or (), tools)
        scores = list(measure_cases(cases, *wanted) if cases else measure_chain(folder, *wanted))
    if as_json:
        typer.echo(json.dumps({"rows": [dataclasses.asdict(score) for score in scores]}))
        return
    for score in scores:
        typer.echo(
            f"{score.rule}, {score.modality}, {score.structure}: {score.prompted} prompted, Dice {score.dice:.2f}, "
            f"from the true box {score.dice_from_true_box:.2f}"
        )
    if scores:
        chained, boxed = median(one.dice for one in scores), median(one.dice_from_true_box for one in scores)
        typer.echo(f"{len(scores)} structures: median Dice {chained:.2f}, from the true box {boxed:.2f}")
