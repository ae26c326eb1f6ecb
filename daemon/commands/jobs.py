"""`medsam2d jobs`: what waits, what was put aside and why, and letting it go on or giving it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from daemon.audit import open_audit
from daemon.clock import system_clock
from daemon.commands.common import ConfigOption, JsonOption, load_settings
from daemon.errors import ConfigError
from daemon.store import IllegalMove, Job, JobState, Store, UnknownJob, open_store

app = typer.Typer(help="List, release and cancel jobs.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(help="the job's number, as `jobs list` shows it")]


@app.command(name="list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="only jobs in this state")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the jobs, the oldest first, with the reason of those that did not go on."""
    with _store(config) as store:
        found = store.jobs(state)
    if as_json:
        typer.echo(json.dumps([_row(job) for job in found]))
        return
    table = Table("job", "state", "attempt", "series", "queued at", "reason")
    for job in found:
        reason = f"[{job.error_code}] {job.error_message}" if job.error_code else ""
        table.add_row(
            str(job.id), job.state.value, str(job.attempt), job.series_instance_uid, f"{job.created_at:%Y-%m-%d %H:%M:%S}Z", reason
        )
    Console(markup=False).print(table)


@app.command()
def release(job_id: JobId, config: ConfigOption = None) -> None:
    """Let a quarantined, refused, skipped or cancelled job be tried again."""
    with _store(config) as store, _illegal_moves_explained():
        job = store.release(job_id)
    open_audit(load_settings(config).folders.audit).job_released(job)
    typer.echo(f"job {job.id}: {job.state.value}")


@app.command()
def cancel(job_id: JobId, config: ConfigOption = None) -> None:
    """Give a job up: what is not yet delivered stays undelivered; the instances stay in the spool."""
    with _store(config) as store, _illegal_moves_explained():
        job = store.cancel(job_id)
    open_audit(load_settings(config).folders.audit).job_cancelled(job)
    typer.echo(f"job {job.id}: {job.state.value}")


@contextmanager
def _store(config: Path | None) -> Iterator[Store]:
    store = open_store(load_settings(config).store_url, system_clock)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _illegal_moves_explained() -> Iterator[None]:
    try:
        yield
    except (UnknownJob, IllegalMove) as error:
        raise ConfigError(str(error)) from error


def _row(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state.value,
        "attempt": job.attempt,
        "study_instance_uid": job.study_instance_uid,
        "series_instance_uid": job.series_instance_uid,
        "created_at": job.created_at.isoformat(),
        "error_code": job.error_code,
        "error_message": job.error_message,
    }
