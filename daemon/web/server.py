"""The web role: the application over a store, served on its own port until the process is told to stop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping

import uvicorn

from daemon.audit import Audit
from daemon.child import Life, repeat
from daemon.clock import Clock, system_clock
from daemon.config import Config, WebSettings
from daemon.disk import Reserve
from daemon.health import Check, Readiness, port_is_open, reserve_is_kept, store_can_be_written
from daemon.metrics import StoreMetrics, exposition
from daemon.result_pictures import ResultPictures
from daemon.rule_names import RuleNames
from daemon.store import Store
from daemon.web.actions import Action, actions_of
from daemon.web.app import Views, application
from daemon.web.pages import LATEST_JOBS, job_page, latest_jobs, overview
from daemon.web.punctual import Punctual
from daemon.web.quarantine import destination_lines, quarantine
from daemon.web.token import read_token
from dicom_io.errors import PortUnavailable

LOG = logging.getLogger("medsam2d.web")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WATCH_SECONDS = 0.5
ANSWER_SECONDS = 5.0
"""How long an answer that is on its way is waited for when the process stops."""


def serve_pages(settings: Config, own: WebSettings, store: Store, audit: Audit, life: Life) -> None:
    """Serve until told to stop. Raises ConfigError or PortUnavailable."""
    actions = actions_of(settings, store, audit) if own.actions else {}
    app = application(views_of(settings, store, actions=actions), (*LOOPBACK, own.host, *own.hosts), read_token(own.token_file))
    with _listening(own) as listening:
        patience = int(ANSWER_SECONDS)
        quiet = uvicorn.Config(
            app,
            http=Punctual,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=patience,
        )
        server = uvicorn.Server(quiet)
        # Off the main thread uvicorn takes no signals: `life` hears them.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
        thread.start()
        life.ready(f"on http://{own.host}:{listening.getsockname()[1]}/")

        def watch() -> bool:
            if not thread.is_alive():
                raise RuntimeError("the web server has ended; this process must be started again")
            return False

        try:
            repeat(life, WATCH_SECONDS, watch)
        finally:
            server.should_exit = True
            thread.join(ANSWER_SECONDS)


def views_of(settings: Config, store: Store, clock: Clock = system_clock, actions: Mapping[str, Action] | None = None) -> Views:
    """Return what the application shows of a configuration and its store, and what its buttons do."""
    folders = {"spool": settings.folders.spool, "state": settings.folders.state, "results": settings.folders.results}
    rules = RuleNames(settings.rules.paths)
    metrics = StoreMetrics(store, clock, folders, rules)
    pictures = None if settings.web is not None and not settings.web.pictures else ResultPictures(settings.folders.pictures)
    check = Readiness(checks_of(settings, store)).failing
    return Views(
        overview=lambda: overview(store, clock(), tuple(settings.destinations), folders, rules(), check()),
        jobs=lambda state: latest_jobs(store, clock(), LATEST_JOBS, state),
        job=lambda job_id: job_page(store, job_id, clock(), pictures),
        picture=lambda job_id, number: None if pictures is None else pictures.read(job_id, number),
        destinations=lambda: destination_lines(settings, store),
        quarantine=lambda: quarantine(store),
        metrics=lambda: exposition(metrics),
        failing=check,
        now=clock,
        actions=actions or {},
    )


def checks_of(settings: Config, store: Store) -> dict[str, Check]:
    """Return the readiness checks by name."""

    def write() -> None:
        with store.database.writing():
            pass

    def is_kept() -> bool:
        folders = [folder for folder in (settings.folders.spool, settings.folders.state) if folder.is_dir()]
        return Reserve(settings.spool.reserve_mib * 2**20, folders).is_kept()

    return {
        "listener": port_is_open(settings.listener.host, settings.listener.port),
        "store": store_can_be_written(write),
        "disk": reserve_is_kept(is_kept),
    }


def _listening(own: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in own.host else socket.AF_INET
    try:
        return socket.create_server((own.host, own.port), family=family)
    except OSError as error:
        raise PortUnavailable(
            f"web: expected to listen on {own.host}:{own.port}, got {error.strerror}; choose another web.port, or stop what listens there"
        ) from error
