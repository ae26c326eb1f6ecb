"""`medsam2d quarantine`: jobs that failed too often, and other images under a SOP Instance UID that was taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from daemon.audit import open_audit
from daemon.commands.common import ConfigOption, JsonOption, existing_store, load_settings, print_table, say
from daemon.commands.jobs import explained
from daemon.errors import ConfigError
from daemon.person import at_the_command_line
from daemon.releases import quarantined_instance, quarantined_job, release_instances, release_job
from daemon.store import Conflict, Job, JobState, Store

app = typer.Typer(help="List, release and export what was put aside.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="job:N|instance:N", help="as `quarantine list` shows it")]
Released = Annotated[
    str, typer.Argument(metavar="job:N|instance:N|series:UID", help="as `quarantine list` shows it; series: all its quarantined instances")
]


@app.command(name="list")
def list_quarantine(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List quarantined jobs and instances, and why."""
    with existing_store(load_settings(config)) as store:
        rows = [*map(_job_row, store.jobs(JobState.QUARANTINED)), *map(_instance_row, store.conflicts())]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    print_table(
        ("name", "since", "series", "reason"), ((row["name"], row["since"], row["series_instance_uid"], row["reason"]) for row in rows)
    )


@app.command()
def release(name: Released, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try a job again, or let instances take the place of those that came first under their UIDs."""
    settings = load_settings(config)
    audit = open_audit(settings.folders.audit)
    with existing_store(settings) as store:
        if name.startswith("job:"):
            with explained():
                release_job(store, audit, quarantined_job(store, _parsed(name)[1]).id, at_the_command_line())
            say(f"{name}: released", {"name": name, "jobs": 1, "instances": 0}, as_json=as_json)
            return
        count = release_instances(store, audit, _conflicts(store, name), at_the_command_line())
    say(f"{name}: {count} instances released", {"name": name, "jobs": 0, "instances": count}, as_json=as_json)


@app.command()
def export(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="made for this user alone; it will hold patient data")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy what was put aside, as it was received, with its reason; nothing changes in the store."""
    settings = load_settings(config)
    with existing_store(settings) as store:
        kind, number = _parsed(name)
        if kind == "job":
            with explained():
                job = quarantined_job(store, number)
            paths, row = store.instance_paths(job), _job_row(job)
        else:
            conflict = quarantined_instance(store, number)
            paths, row = (conflict.standing_path, conflict.path), _instance_row(conflict)
    with _new_folder(folder):
        _copy(paths, folder)
        (folder / "reason.json").write_text(json.dumps(row, indent=2) + "\n")
    open_audit(settings.folders.audit).quarantine_exported(name, row["study_instance_uid"])
    facts = {"folder": folder, "instances": len(paths), **row}
    say(f"{folder}: {len(paths)} instances and reason.json", facts, as_json=as_json)


def _parsed(name: str) -> tuple[str, int]:
    kind, _, number = name.partition(":")
    if kind not in ("job", "instance") or not number.isdecimal():
        raise ConfigError(f"expected job:N or instance:N, got {name!r}; `medsam2d quarantine list` shows the names")
    return kind, int(number)


def _conflicts(store: Store, name: str) -> tuple[Conflict, ...]:
    if not name.startswith("series:"):
        return (quarantined_instance(store, _parsed(name)[1]),)
    found = tuple(conflict for conflict in store.conflicts() if conflict.series_instance_uid == name.removeprefix("series:"))
    if not found:
        raise ConfigError(f"{name}: no instance of this series is quarantined; `medsam2d quarantine list` shows them")
    return found


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise ConfigError(f"{folder}: expected a folder that does not exist yet, so that nothing is overwritten") from error
    yield


def _copy(paths: Sequence[Path], folder: Path) -> None:
    for number, path in enumerate(paths, start=1):
        shutil.copyfile(path, folder / f"{number:05d}.dcm")


def _job_row(job: Job) -> dict[str, str]:
    return {
        "name": f"job:{job.id}",
        "since": f"{job.updated_at:%Y-%m-%d %H:%M:%S}Z",
        "study_instance_uid": job.study_instance_uid,
        "series_instance_uid": job.series_instance_uid,
        "reason": f"[{job.error_code}] {(job.error_message or '').strip().splitlines()[-1:]}",
    }


def _instance_row(conflict: Conflict) -> dict[str, str]:
    return {
        "name": f"instance:{conflict.id}",
        "since": f"{conflict.received_at:%Y-%m-%d %H:%M:%S}Z",
        "study_instance_uid": conflict.study_instance_uid,
        "series_instance_uid": conflict.series_instance_uid,
        "reason": f"[{conflict.verdict.value if conflict.verdict else 'not-examined-yet'}] other bytes under {conflict.sop_instance_uid}",
    }
