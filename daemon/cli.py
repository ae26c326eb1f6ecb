"""The command line: `medsam2d COMMAND`. Exit codes: 0 done, 1 the data or a peer failed, 2 usage or configuration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.commands import atlas, audit, bench, deliveries, destinations, jobs, notifications, quarantine, rules, serve, weights
from daemon.commands.check import check_installation
from daemon.commands.common import ConfigOption, JsonOption, load_settings, progress_bar, say
from daemon.commands.doctor import doctor
from daemon.commands.ledger import show_ledger
from daemon.commands.send_test import send_test
from daemon.commands.status import show_status
from daemon.completion import Shell, completion_script
from daemon.errors import FORESEEN, ConfigError, Fault, classify
from daemon.version import version as software_version
from model.prompt import BoxPrompt

EXIT_FAILED, EXIT_USAGE = 1, 2

# Waiting OpenMP threads yield their core: spinning ones make a worker several times slower on a machine that does anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROGRAM = "medsam2d"

app = typer.Typer(
    name=PROGRAM,
    help="DICOM-native batch segmentation daemon around MedSAM2. Results are AI results, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,  # `medsam2d completion` writes a script that need not start Python at each press of the key
    pretty_exceptions_enable=False,
)
app.add_typer(weights.app, name="weights")
app.add_typer(jobs.app, name="jobs")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(audit.app, name="audit")
app.add_typer(bench.app, name="bench")
app.add_typer(rules.app, name="rules")
app.add_typer(atlas.app, name="atlas")
app.add_typer(destinations.app, name="destinations")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(notifications.app, name="notifications")
app.command(name="echo")(destinations.echo_destination)
app.command()(doctor)
app.command()(send_test)


def main() -> None:
    """Run the command line; every foreseen error becomes one message and an exit code."""
    try:
        app()
    except FORESEEN as error:
        judged = classify(error)
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"error [{judged.code}]: {judged.message}")
        sys.exit(EXIT_USAGE if judged.fault is Fault.CONFIG else EXIT_FAILED)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    say(f"{PROGRAM} {software_version()}", {"version": software_version()}, as_json=as_json)


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="which shell")]) -> None:
    """Print a script that completes commands and options: `source <(medsam2d completion bash)`."""
    typer.echo(completion_script(app, shell, PROGRAM), nl=False)


@app.command(name="serve")
def serve_command(config: ConfigOption = None) -> None:
    """Run listener, worker, delivery and status page until stopped (SIGTERM); SIGHUP reads the rules anew."""
    raise typer.Exit(serve.run_service(config))


Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


@app.command()
def listener(config: ConfigOption = None, supervised: Supervised = False) -> None:
    """Run the receiver alone (C-STORE, C-ECHO, and the watch for complete series)."""
    serve.run_role("listener", config, supervised=supervised)


@app.command()
def worker(config: ConfigOption = None, supervised: Supervised = False) -> None:
    """Run one worker alone: takes jobs from the store and segments them."""
    serve.run_role("worker", config, supervised=supervised)


@app.command()
def delivery(config: ConfigOption = None, supervised: Supervised = False) -> None:
    """Run the delivery alone: sends results to their destinations until they are accepted."""
    serve.run_role("delivery", config, supervised=supervised)


@app.command()
def web(config: ConfigOption = None, supervised: Supervised = False) -> None:
    """Run the status page, metrics and health checks alone."""
    serve.run_role("web", config, supervised=supervised)


@app.command()
def notifier(config: ConfigOption = None, supervised: Supervised = False) -> None:
    """Run the notifications alone: tell people over the configured channels what needs them."""
    serve.run_role("notifier", config, supervised=supervised)


@app.command()
def segment(
    source: Annotated[Path, typer.Argument(metavar="IN", help="a DICOM folder or file, or an .npz, NIfTI or NRRD file")],
    out: Annotated[Path, typer.Option(help="folder for SEGs; for research volumes an .npz, .nii.gz or .nrrd file")],
    rules_path: Annotated[Path | None, typer.Option("--rules", help="rule file or folder (DICOM input)")] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="K,LEFT,TOP,RIGHT,BOTTOM", help="a box instead of the rule's recipe; repeat")
    ] = None,
    window: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="intensity window of a NIfTI or NRRD volume")] = None,
    weights_name: Annotated[str | None, typer.Option("--weights", metavar="NAME|FILE", help="weights instead of the default")] = None,
    config: ConfigOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N")] = "auto",
    logits: Annotated[bool, typer.Option("--logits", help="keep mask logits of both directions in the .npz")] = False,
    no_stop: Annotated[bool, typer.Option("--no-stop", help="propagate to both ends of the volume")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="the published predictor's behaviour on a CPU, quirks included")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="also write a PNG with the outlines beside each SEG")] = False,
    as_json: JsonOption = False,
) -> None:
    """Segment a folder of DICOM by rules, or one research volume by its prompts, without the network."""
    if reference:
        # The reference's outputs were made with AVX2 kernels; others round differently in the last bit. Read when torch loads.
        os.environ |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    from daemon.commands import segment as command  # torch loads only for the commands that need it

    settings = load_settings(config, missing_is_default=True)
    models = command.models_for(settings, weights_name, device)
    with progress_bar("slices", quiet=as_json) as progress:
        request = command.SegmentRequest(
            source=source,
            out=out,
            boxes=tuple(parse_box(text, number) for number, text in enumerate(box or (), start=1)),
            window=parse_window(window) if window else None,
            options=command.options(reference=reference, no_stop=no_stop, logits=logits),
            overlay=overlay,
        )
        reports = command.run(request, rules_path, settings, models, progress)
    typer.echo(command.as_json(reports) if as_json else command.as_text(reports))
    if not any(report.outcome == "segmented" for report in reports):
        raise typer.Exit(EXIT_FAILED)


@app.command(name="train")
def train_command(
    data: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="labelled cases: one sub-folder a family (see docs/training.md)")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run: checkpoints, metrics, weights")] = Path("training"),
    start: Annotated[str, typer.Option("--from", metavar="NAME|FILE|scratch", help="weights to begin with")] = "starter",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out; its own settings hold")] = False,
    minutes: Annotated[float, typer.Option(help="stop after so long, resumable")] = 60.0,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps of the whole run")] = 2000,
    length: Annotated[int, typer.Option(min=1, help="slices of a clip (fine-tuning)")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="clips of a forward pass (fine-tuning)")] = 6,
    accumulate: Annotated[int, typer.Option(min=1, help="forward passes of a step (fine-tuning)")] = 1,
    rate: Annotated[float | None, typer.Option(help="peak learning rate (default: by the kind of start)")] = None,
    encoder_share: Annotated[float | None, typer.Option(help="rate of the image encoder relative to the rest")] = None,
    phantoms: Annotated[int, typer.Option(min=0, help="phantoms of our own in the mix")] = 0,
    family_weight: Annotated[list[str] | None, typer.Option(metavar="NAME=WEIGHT", help="how often a family is drawn; repeat")] = None,
    validate_on: Annotated[Path | None, typer.Option(help="cases to measure on (default: the val split of DIR)")] = None,
    validate: Annotated[int, typer.Option(min=0, help="cases of each family to measure at a checkpoint; 0 = none")] = 0,
    window: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="intensity window of images that are not windowed yet")] = None,
    region_scale: Annotated[float | None, typer.Option(help="look at squares of so many box sides; 0 = whole frames")] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="INDEX/COUNT", help="cross-validation: keep aside cases whose number mod COUNT is INDEX")
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="compute in bfloat16 where that is safe")] = False,
    seed: Annotated[int, typer.Option(help="of the clips and of weights from scratch")] = 0,
    config: ConfigOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train weights on labelled volumes and phantoms: from scratch, or from the starter's or an official checkpoint."""
    from daemon.commands import train as command
    from daemon.folds import parse_fold
    from daemon.models import choose_device
    from model.training.loop import Stage

    settings = load_settings(config, missing_is_default=True)
    place = choose_device(device)
    if resume:
        training, setup = command.resume_run(out, place)
    else:
        request = command.TrainRequest(
            data=data,
            out=out,
            start=start,
            steps=steps,
            stage=Stage(steps=steps, length=length, batch=batch, accumulate=accumulate),
            rate=rate,
            encoder_share=encoder_share,
            phantoms=phantoms,
            family_weights=command.parse_shares(tuple(family_weight or ())),
            validation=validate_on,
            window=parse_window(window) if window else None,
            region_scale=region_scale,
            fold=parse_fold(fold) if fold else None,
            bfloat16=amp,
            seed=seed,
        )
        training, setup = command.begin_run(request, settings, place)
    with progress_bar("steps", quiet=as_json) as progress:
        report = command.train(training, setup, out, minutes=minutes, validate=validate, progress=progress)
    typer.echo(json.dumps(vars(report)) if as_json else command.as_text(report))


@app.command(name="evaluate")
def evaluate_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="labelled cases: one sub-folder a family (see docs/training.md)")],
    weights_names: Annotated[list[str] | None, typer.Option("--weights", metavar="NAME|FILE", help="weights to measure; repeat")] = None,
    prompt: Annotated[str, typer.Option(help="box, point or mask")] = "box",
    jitter: Annotated[float, typer.Option(help="each side of the box moves by up to this share of the box")] = 0.05,
    which_slice: Annotated[str, typer.Option("--slice", help="middle or largest: the slice that is prompted")] = "middle",
    family: Annotated[list[str] | None, typer.Option(help="only this family; repeat")] = None,
    split: Annotated[str, typer.Option(help="val, train or all; cases without a split are always measured")] = "val",
    fold: Annotated[
        str | None, typer.Option(metavar="INDEX/COUNT", help="cross-validation: the fold that the weights were trained with")
    ] = None,
    window: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="intensity window of images that are not windowed yet")] = None,
    seed: Annotated[int, typer.Option(help="of the simulated prompts")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for scores.csv, summary.json and picture sheets")] = None,
    config: ConfigOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure weights on labelled cases, beside other weights and simple baselines."""
    from daemon import evaluation_report as report
    from daemon.commands import evaluate as command
    from daemon.folds import parse_fold

    request = command.EvaluateRequest(
        folder=folder,
        weights=tuple(weights_names or ()),
        protocol=command.protocol_of(prompt, which_slice, jitter, seed),
        reading=command.reading_of(split, parse_window(window) if window else None, parse_fold(fold) if fold else None),
        families=tuple(family or ()),
        device=device,
    )
    with progress_bar("objects", quiet=as_json) as progress:
        evaluated = command.run(request, load_settings(config, missing_is_default=True), progress)
    if out is not None:
        report.write_report(out, evaluated)
    typer.echo(report.as_json(evaluated) if as_json else report.as_text(evaluated))


@app.command()
def inspect(
    place: Annotated[Path, typer.Argument(metavar="DIR", help="a folder of DICOM, or one file")],
    pixels: Annotated[bool, typer.Option("--pixels", help="also decode every image, as a job would")] = False,
    identify: Annotated[bool, typer.Option("--identify", help="also show patient, date and descriptions")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a folder holds: series, volumes, geometry, oddities, and what is refused and why."""
    from daemon.commands import inspect as command

    found = command.inspect_folder(place, pixels=pixels)
    if as_json:
        typer.echo(command.as_json(found, identify=identify))
        return
    command.show(found, Console(), identify=identify)


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the installation, the configuration, the rules, the weights and the destinations."""
    raise typer.Exit(check_installation(config, as_json=as_json))


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show jobs by state, the outbox, the ledger and the last errors."""
    show_status(load_settings(config), as_json=as_json)


@app.command()
def ledger(
    by_day: Annotated[bool, typer.Option("--by-day", help="a line a day and source")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Account for every acknowledged instance; exit code 1 if one is unexplained."""
    raise typer.Exit(show_ledger(load_settings(config), by_day=by_day, as_json=as_json))


@app.command()
def drain(
    off: Annotated[bool, typer.Option("--off", help="let jobs begin again")] = False,
    wait_seconds: Annotated[float, typer.Option(help="wait so long for the running jobs")] = 600.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the running jobs end and begin no other; reception and delivery go on."""
    from daemon.commands import drain as command

    settings = load_settings(config)
    raise typer.Exit(command.end_drain(settings, as_json=as_json) if off else command.drain(settings, wait_seconds, as_json=as_json))


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="made for this user alone; it will hold patient data")],
    database_only: Annotated[bool, typer.Option("--database-only", help="without the instances and results that still wait")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store, the audit trail and everything that is not delivered yet, while the service runs."""
    from daemon.commands.backup import back_up

    made = back_up(load_settings(config), folder.resolve(), database_only=database_only)
    say(f"{made.folder}: {made.files} files, {made.bytes / 2**20:.1f} MiB", vars(made), as_json=as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="made anew; holds the study, the SEG, the picture and the log")] = Path("demo-output"),
    as_json: JsonOption = False,
) -> None:
    """Send a phantom study through the daemon on loopback and score what comes back."""
    from daemon.demo import as_text, run_demo

    say = (lambda text: None) if as_json else typer.echo
    report = run_demo(folder.resolve(), say)
    typer.echo(json.dumps(vars(report)) if as_json else as_text(report))


def parse_box(text: str, object_id: int) -> BoxPrompt:
    """Return the box of `k,left,top,right,bottom`. Raises `ConfigError`."""
    parts = text.split(",")
    try:
        frame, left, top, right, bottom = int(parts[0]), *(float(part) for part in parts[1:])
        return BoxPrompt(frame=frame, left=left, top=top, right=right, bottom=bottom, object_id=object_id)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"--box {text}: expected five numbers k,left,top,right,bottom ({error})") from error


def parse_window(text: str) -> tuple[float, float]:
    """Return (low, high) of `low,high`. Raises `ConfigError`."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--window {text}: expected two numbers low,high ({error})") from error
    if not low < high:
        raise ConfigError(f"--window {text}: expected low < high")
    return low, high


if __name__ == "__main__":
    main()
