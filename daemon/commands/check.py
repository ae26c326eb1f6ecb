"""`medsam2d check`: is everything in place? One line a question, with the cure where the answer is no."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path

import typer

from daemon.clock import system_clock
from daemon.commands.common import find_config, load_settings
from daemon.config import Config, WebSettings
from daemon.configured_store import store_beside_service
from daemon.destination_probe import ask
from daemon.errors import FORESEEN, ConfigError, Fault, classify
from daemon.roles import tls_settings
from daemon.rules_in_use import checked_rules
from daemon.version import version
from daemon.weights import WeightsEntry, book_of, verify
from dicom_io.tls import server_context, valid_until

ROOMS = ("daemon", "dicom_io", "model", "rules")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question of the check, and what was found."""

    question: str
    good: bool
    found: str
    fault: str
    """config or transient where the answer is no, empty where it is yes."""


def check_installation(config: Path | None, *, as_json: bool) -> int:
    """Print the answers; return 0 if all are yes, 2 if the configuration must be mended, else 1."""
    found = list(answers(config))
    if as_json:
        typer.echo(json.dumps({"good": all(answer.good for answer in found), "answers": [vars(answer) for answer in found]}))
    else:
        for answer in found:
            typer.echo(f"{'ok  ' if answer.good else 'FAIL'} {answer.question}: {answer.found}")
    bad = {answer.fault for answer in found if not answer.good}
    return 2 if Fault.CONFIG.value in bad else 1 if bad else 0


def answers(config: Path | None) -> Iterator[Answer]:
    """Ask one question after the other; those about the configuration only where it can be read."""
    yield _ask("packages", _packages)
    loaded: list[Config] = []
    yield _ask("configuration", lambda: _configuration(config, loaded))
    for settings in loaded:
        for question, answer in _questions(settings):
            yield _ask(question, answer)


def _questions(settings: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "rules", lambda: f"{len(checked_rules(settings).rules)} rules, every destination and weights name known"
    for name, entry in book_of(settings).entries.items():
        yield f"weights {name}", partial(_weights, entry)
    yield "device", lambda: _device(settings)
    yield "folders", lambda: _folders(settings)
    yield "store", lambda: _store(settings)
    yield "port", lambda: _port(settings)
    if settings.web is not None:
        yield "status page", partial(_web, settings.web)
    if settings.listener.tls:
        yield "TLS certificate", lambda: certificate(settings, system_clock())
    for name in settings.destinations:
        yield f"destination {name}", partial(_destination, settings, name)


def _ask(question: str, answer: Callable[[], str]) -> Answer:
    try:
        return Answer(question=question, good=True, found=answer(), fault="")
    except FORESEEN as error:
        judged = classify(error)
        return Answer(question=question, good=False, found=f"[{judged.code}] {judged.message}", fault=judged.fault.value)


def _packages() -> str:
    owners = packages_distributions()
    shared = {room: sorted(set(owners.get(room, ())) - {"medsam2d"}) for room in ROOMS}
    taken = [f"{room} (also {', '.join(others)})" for room, others in shared.items() if others]
    if taken:
        raise ConfigError(f"another distribution owns {'; '.join(taken)}; give medsam2d a virtual environment of its own")
    return f"medsam2d {version()}, alone under its names"


def _configuration(config: Path | None, loaded: list[Config]) -> str:
    loaded.append(load_settings(config))
    return str(find_config(config))


def _weights(entry: WeightsEntry) -> str:
    return f"sha256 {verify(entry)[:16]}..., {entry.licence}"


def _device(settings: Config) -> str:
    from daemon.models import choose_device  # torch loads only for the commands that need it

    return f"{settings.worker.device}: {choose_device(settings.worker.device)}"


def _folders(settings: Config) -> str:
    for folder in (settings.folders.spool, settings.folders.results, settings.folders.audit):
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not os.access(place, os.W_OK):
            raise ConfigError(f"{folder}: {place} is not writable for this user; give it to the service's user or change `folders`")
    free_mib = shutil.disk_usage(place).free // 2**20
    if free_mib <= settings.spool.reserve_mib:
        raise ConfigError(
            f"{settings.folders.spool}: expected more than the reserve of {settings.spool.reserve_mib} MiB free, got {free_mib} MiB; "
            "free some space or lower `spool.reserve_mib`"
        )
    return f"{free_mib} MiB free, {settings.spool.reserve_mib} of them reserved"


def _store(settings: Config) -> str:
    if settings.store.url is None and not settings.folders.state.exists():
        return f"{settings.store_url} will be made at the first start"
    with store_beside_service(settings) as store:
        return store.database.place


def _port(settings: Config) -> str:
    place = f"{settings.listener.host}:{settings.listener.port}"
    with socket.socket() as probe:
        busy = probe.connect_ex((settings.listener.host, settings.listener.port)) == 0
    peers = ", ".join(peer.ae_title for peer in settings.listener.peers)
    admitted = f"admits {peers}" if peers else "admits nobody yet: name your scanners under `listener.peers`"
    return f"{place} {'answers (the service runs?)' if busy else 'is free'}; {admitted}"


def _web(own: WebSettings) -> str:
    from daemon.web.token import read_token

    with socket.socket() as probe:
        busy = probe.connect_ex((own.host, own.port)) == 0
    shown = "asks for a token" if read_token(own.token_file) else "shown to whoever reaches the port"
    return f"http://{own.host}:{own.port}/ {'answers (the service runs?)' if busy else 'is free'}; {shown}"


def certificate(settings: Config, now: datetime) -> str:
    """Say until when the listener's certificate is valid; raises ConfigError where that ends soon, or the files cannot be used."""
    tls = tls_settings(settings)
    if tls is None or settings.listener.tls is None:
        return "none: everything that is sent can be read on the network"
    server_context(tls)
    end = valid_until(tls.certificate)
    days = (end - now).days
    if days < settings.listener.tls.warn_days:
        when = f"expires in {days} days" if end > now else "has expired"
        raise ConfigError(
            f"{tls.certificate}: {when} (on {end:%Y-%m-%d}); put a renewed certificate in its place, which the service takes up by itself"
        )
    return f"valid until {end:%Y-%m-%d} ({days} days), TLS 1.2 or above, " + (
        "peers must prove themselves" if tls.requires_peer_certificate else "peers need not prove themselves"
    )


def _destination(settings: Config, name: str) -> str:
    return ask(settings, name).found
