"""`medsam2d status`: jobs by state, the outbox, the ledger and the last errors, from the store alone."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from daemon.commands.common import existing_store
from daemon.config import Config
from daemon.ledger import Ledger, ledger
from daemon.summary import Summary, summary


def show_status(settings: Config, *, as_json: bool) -> None:
    """Print the state of the store. Raises `ConfigError` where none has been made yet."""
    seen, accounts = read_status(settings)
    typer.echo(as_one_line(seen, accounts) if as_json else _text(seen, accounts))


def read_status(settings: Config) -> tuple[Summary, Ledger]:
    """Return the store's summary and ledger. Raises `ConfigError` where none has been made yet."""
    with existing_store(settings) as store:
        return summary(store), ledger(store)


def as_one_line(seen: Summary, accounts: Ledger) -> str:
    """Return what `medsam2d status --json` prints."""
    errors = [{**asdict(error), "at": error.at.isoformat()} for error in seen.last_errors]
    return json.dumps(
        {
            "jobs": dict(seen.jobs),
            "series_waiting": seen.series_waiting,
            "series_held": dict(seen.series_held),
            "drained_since": seen.drained_since.isoformat() if seen.drained_since else None,
            "oldest_waiting": seen.oldest_waiting.isoformat() if seen.oldest_waiting else None,
            "outbox": dict(seen.outbox),
            "shadow": seen.shadow,
            "last_errors": errors,
            "ledger": {**asdict(accounts), "balanced": accounts.balanced},
        }
    )


def _text(seen: Summary, accounts: Ledger) -> str:
    jobs = ", ".join(f"{count} {state}" for state, count in seen.jobs.items()) or "none"
    outbox = ", ".join(f"{count} for {name}" for name, count in seen.outbox.items()) or "empty"
    lines = [
        *([f"DRAINED since {seen.drained_since:%Y-%m-%d %H:%M:%S}Z: no job begins"] if seen.drained_since else []),
        f"series still arriving: {seen.series_waiting}",
        *(f"series held: {count} ({reason})" for reason, count in seen.series_held.items()),
        f"jobs: {jobs}" + (f" (oldest open since {seen.oldest_waiting:%Y-%m-%d %H:%M:%S}Z)" if seen.oldest_waiting else ""),
        f"outbox: {outbox}",
        *([f"shadow: {seen.shadow} jobs with results that are kept and sent to nobody"] if seen.shadow else []),
        "instances: " + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in asdict(accounts).items()),
        "ledger: "
        + ("balanced, every acknowledged instance is accounted for" if accounts.balanced else "NOT BALANCED: report this as a bug"),
    ]
    for error in seen.last_errors:
        place = f" to {error.destination}" if error.destination else ""
        lines.append(f"{error.at:%Y-%m-%d %H:%M:%S}Z job {error.job_id}{place}: [{error.code}] {error.message}")
    return "\n".join(lines)
