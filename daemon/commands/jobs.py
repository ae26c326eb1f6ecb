"""`medsam2d jobs`: what waits, what was put aside and why, and letting it go on or giving it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from daemon.audit import open_audit
from daemon.commands.common import ConfigOption, JsonOption, existing_store, load_settings, print_table, say
from daemon.contest import standing_of
from daemon.errors import ConfigError
from daemon.person import at_the_command_line
from daemon.releases import release_job
from daemon.store import IllegalMove, InputsRemoved, Job, JobState, Store, UnknownJob

app = typer.Typer(help="List, show, retry and cancel jobs.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(help="the job's number, as `jobs list` shows it")]


@app.command(name="list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="only jobs in this state")] = None,
    study: Annotated[str | None, typer.Option(metavar="UID", help="only jobs of this Study Instance UID")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the jobs, the oldest first, with the reason of those that did not go on."""
    with existing_store(load_settings(config)) as store:
        found = [job for job in store.jobs_of_study(study) if state in (None, job.state)] if study else list(store.jobs(state))
    if as_json:
        typer.echo(json.dumps([_row(job) for job in found]))
        return
    print_table(
        ("job", "state", "priority", "attempt", "series", "queued at", "reason"),
        (
            (
                str(job.id),
                job.state.value,
                job.priority.name.lower(),
                str(job.attempt),
                job.series_instance_uid,
                f"{job.created_at:%Y-%m-%d %H:%M:%S}Z",
                f"[{job.error_code}] {job.error_message}" if job.error_code else "",
            )
            for job in found
        ),
    )


@app.command()
def show(job_id: JobId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one job: its instances, its results and where they are, and the jobs that it replaces."""
    with existing_store(load_settings(config)) as store, explained():
        job = store.job(job_id)
        found = {**_row(job), **_details(store, job)}
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines):
            typer.echo(f"{name.replace('_', ' ') if number == 0 else '':24} {'' if line is None else line}")


@app.command()
def retry(job_id: JobId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let a quarantined, refused, skipped or cancelled job be tried again, with all its attempts."""
    settings = load_settings(config)
    with existing_store(settings) as store, explained():
        job = release_job(store, open_audit(settings.folders.audit), job_id, at_the_command_line())
    say(f"job {job.id}: {job.state.value}", _row(job), as_json=as_json)


@app.command()
def cancel(job_id: JobId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give a job up: what is not yet delivered stays undelivered; the instances stay in the spool."""
    settings = load_settings(config)
    with existing_store(settings) as store, explained():
        job = store.cancel(job_id)
    open_audit(settings.folders.audit).job_cancelled(job)
    say(f"job {job.id}: {job.state.value}", _row(job), as_json=as_json)


@contextmanager
def explained() -> Iterator[None]:
    """What cannot be asked of a job ends a command with its own words and exit code 2."""
    try:
        yield
    except (UnknownJob, IllegalMove, InputsRemoved) as error:
        raise ConfigError(str(error)) from error


def _row(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state.value,
        "priority": job.priority.name.lower(),
        "attempt": job.attempt,
        "study_instance_uid": job.study_instance_uid,
        "series_instance_uid": job.series_instance_uid,
        "created_at": job.created_at.isoformat(),
        "error_code": job.error_code,
        "error_message": job.error_message,
    }


def _details(store: Store, job: Job) -> dict[str, object]:
    return {
        "updated_at": job.updated_at.isoformat(),
        "due_at": job.run_at.isoformat() if job.state is JobState.QUEUED else None,
        "failures": job.failures,
        "calling_ae_title": job.calling_ae_title,
        "called_ae_title": job.called_ae_title,
        "source_address": job.source_address,
        "off_peak": job.off_peak,
        "selection": _selection(job),
        "partial_reason": job.partial_reason,
        "superseded_by": job.superseded_by,
        "supersedes": [earlier.sop_instance_uid for earlier in store.predecessors(job)],
        "results": [f"{item.sop_instance_uid} to {item.destination}: {item.state.value}" for item in store.deliveries_of(job)],
        "instances": [str(path) for path in store.instance_paths(job)],
    }


def _selection(job: Job) -> str | None:
    standing = standing_of(job)
    return None if standing is None else f"rule {standing.rule}, {standing.words}"
