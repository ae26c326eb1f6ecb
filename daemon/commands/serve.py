"""`medsam2d serve` and its roles."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

from daemon.audit import open_audit
from daemon.child import Life
from daemon.commands.common import find_config, load_settings
from daemon.config import Config
from daemon.configured_store import store_of_service
from daemon.errors import ConfigError
from daemon.logs import configure_logging
from daemon.notifications.channels import channels_of
from daemon.process_record import write_processes
from daemon.roles import ROLES, SIDE_ROLES, roles_of
from daemon.rules_in_use import checked_rules
from daemon.supervisor import Supervisor
from daemon.web.token import read_token
from daemon.weights import book_of, verify


def run_service(config: Path | None) -> int:
    """Supervise listener, worker, delivery and status page until a signal asks to stop; return the exit code.

    What can be wrong with configuration, rules, weights and store is found before the first process starts.
    """
    settings = load_settings(config)
    configure_logging(settings.logging.level, "serve")
    checked_rules(settings)
    verify(book_of(settings).find(settings.worker.default_weights))
    _expect_side_roles(settings)
    _make_state(settings.folders.state)
    store_of_service(settings).close()
    audit = open_audit(settings.folders.audit)
    audit.application_started()
    for entry in book_of(settings).entries.values():
        if entry.sha256 is None:  # `trust: true` in the configuration: whose word is taken must be on record
            audit.weights_installed(name=entry.name, sha256=verify(entry), trusted=True)
    command = [sys.executable, "-m", "daemon.cli"]
    commands = {role: [*command, role, "--config", str(find_config(config)), "--supervised"] for role in roles_of(settings)}
    life = Life(supervised=False)
    life.begin()
    titles = ", ".join(settings.called_ae_titles)
    supervisor = Supervisor(
        commands=commands,
        stop=life.stop,
        side_roles=SIDE_ROLES,
        record=partial(write_processes, settings.folders.state),
        on_ready=lambda: life.ready(f"on {settings.listener.host}:{settings.listener.port} as {titles}"),
    )
    signal.signal(signal.SIGHUP, lambda number, _: supervisor.hang_up(number))
    code = supervisor.run()
    audit.application_stopped()
    return code


def run_role(role: str, config: Path | None, *, supervised: bool) -> None:
    """Run one role in this process until it is told to stop."""
    settings = load_settings(config)
    configure_logging(settings.logging.level, role)
    life = Life(supervised=supervised)
    life.begin()
    store = store_of_service(settings)
    try:
        ROLES[role](settings, store, open_audit(settings.folders.audit), life)
    finally:
        store.close()


def _expect_side_roles(settings: Config) -> None:
    """Find what is wrong with the files of page and notifications while somebody looks. Raises ConfigError.

    Later such a fault stops nothing: the role is tried again.
    """
    if settings.web is not None:
        read_token(settings.web.token_file)
    if settings.notifications is not None:
        channels_of(settings.notifications)


def _make_state(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made ({error.strerror}); set `folders.state` to a folder that this user may write"
        ) from error
