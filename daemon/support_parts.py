"""The parts of a support bundle: versions, settings, what `check` finds, and counts; what each may hold is decided here."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.audit_chain import records, verify
from daemon.clock import system_clock
from daemon.commands.check import answers
from daemon.commands.common import existing_store, load_settings
from daemon.config import Config
from daemon.database.migrations import KNOWN, applied
from daemon.errors import FORESEEN, ConfigError
from daemon.ledger import ledger
from daemon.metrics import StoreMetrics, exposition
from daemon.process_record import read_processes
from daemon.rule_names import RuleNames
from daemon.shown_settings import shown_settings
from daemon.store import Store
from daemon.summary import summary
from daemon.support_bundle import Part
from daemon.support_machine import described_machine, installed_packages, systemd_state
from daemon.weights import sha256_of
from rules.load import rule_files

LATEST_ERRORS = 200
MOST_ENTRIES = 1_000_000
"""Of one folder; a larger one is counted so far, and says so."""


def parts_of(config: Path | None) -> tuple[Part, ...]:
    """Return every part; nothing is looked at before a part is made."""

    def settings() -> Config:
        try:
            return load_settings(config)
        except FORESEEN as error:
            raise ConfigError("the configuration cannot be used; check.json says why") from error

    def from_settings(make: Callable[[Config], Any]) -> Callable[[], str]:
        return lambda: _json(make(settings()))

    def from_store(make: Callable[[Config, Store], str]) -> Callable[[], str]:
        def text() -> str:
            own = settings()
            with existing_store(own) as store:
                return make(own, store)

        return text

    return (
        Part(name="machine.json", holds="operating system, kernel, processor, memory, GPU", make=lambda: _json(described_machine())),
        Part(name="packages.txt", holds="Python and every installed package with its version", make=installed_packages),
        Part(name="configuration.json", holds="the settings in effect, without secrets", make=from_settings(shown_settings)),
        Part(name="rules.json", holds="names and SHA-256 of the rule files", make=from_settings(_rule_hashes)),
        Part(name="check.json", holds="what `medsam2d check` finds", make=lambda: _json([vars(answer) for answer in answers(config)])),
        Part(name="store.json", holds="version of the store, jobs, outbox and ledger in numbers", make=from_store(_store)),
        Part(name="errors.json", holds=f"codes of the latest {LATEST_ERRORS} errors, and how often", make=from_store(_error_codes)),
        Part(name="metrics.txt", holds="what /metrics says", make=from_store(_metrics)),
        Part(name="disk.json", holds="free space, and how much each folder holds", make=from_settings(_disk)),
        Part(name="audit.json", holds="number of audit records, and whether their chain is whole", make=from_settings(_audit)),
        Part(name="service.txt", holds="what systemd says of the service", make=systemd_state),
        Part(name="processes.json", holds="which processes of the service are up, and when one ended", make=from_settings(_processes)),
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)


def _rule_hashes(settings: Config) -> Mapping[str, str]:
    return {str(file): sha256_of(file) if file.is_file() else "no such file" for file in rule_files(settings.rules.paths)}


def _store(_settings: Config, store: Store) -> str:
    seen, accounts = summary(store, errors=0), ledger(store)
    with store.database.reading() as connection:
        migrations = applied(connection)
    return _json(
        {
            "kind": store.database.url.get_backend_name(),
            "schema_version": max(migrations),
            "newest_schema_version_known": max(KNOWN),
            "jobs": dict(seen.jobs),
            "oldest_open_job_since": seen.oldest_waiting,
            "series_waiting": seen.series_waiting,
            "series_held": sum(seen.series_held.values()),  # the reasons quote, so they stay here
            "drained_since": seen.drained_since,
            "outbox": {name: dict(states) for name, states in store.waiting_by_destination().items()},
            "shadow": seen.shadow,
            "ledger": {**asdict(accounts), "balanced": accounts.balanced},
        }
    )


def _error_codes(_settings: Config, store: Store) -> str:
    found = summary(store, errors=LATEST_ERRORS).last_errors
    counts = Counter((error.code, error.destination) for error in found)
    latest = {(error.code, error.destination): error.at for error in reversed(found)}
    rows = [
        {"code": code, "destination": destination, "count": count, "latest": latest[code, destination]}
        for (code, destination), count in counts.most_common()
    ]
    return _json(rows)


def _metrics(settings: Config, store: Store) -> str:
    own = settings.folders
    folders = {"spool": own.spool, "state": own.state, "results": own.results}
    return exposition(StoreMetrics(store, system_clock, folders, RuleNames(settings.rules.paths))).decode()


def _disk(settings: Config) -> Mapping[str, object]:
    return {name: _use_of(folder) for name, folder in settings.folders}


def _use_of(folder: Path) -> Mapping[str, object]:
    if not folder.is_dir():
        return {"folder": str(folder), "found": "no such folder"}
    status = os.statvfs(folder)
    files, size, whole = _content(folder)
    return {
        "folder": str(folder),
        "free_bytes": status.f_bavail * status.f_frsize,
        "size_bytes": status.f_blocks * status.f_frsize,
        "free_inodes": status.f_favail,
        "files": files,
        "bytes": size,
        "counted_to_the_end": whole,
    }


def _content(folder: Path) -> tuple[int, int, bool]:
    """Return number and bytes of the files below a folder, and whether all were counted; what vanishes meanwhile counts for nothing."""
    files = size = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            if files >= MOST_ENTRIES:
                return files, size, False
            try:
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - a million of them
            except FileNotFoundError:
                continue
            files += 1
    return files, size, True


def _audit(settings: Config) -> Mapping[str, object]:
    folder = settings.folders.audit
    broken = verify(folder)
    if broken is not None:
        return {"whole": False, "file": broken.path.name, "line": broken.line, "reason": broken.reason}
    return {"whole": True, "records": _counts(record.event for record in records(folder))}


def _counts(events: Iterable[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(events).items()))


def _processes(settings: Config) -> Mapping[str, object]:
    roles = read_processes(settings.folders.state)
    return {role: {"ready": one.ready, "ended_by_itself": [moment.isoformat() for moment in one.ended]} for role, one in roles.items()} or {
        "found": "no supervisor of this machine runs"
    }
