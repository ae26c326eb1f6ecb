"""The configuration as it may be shown to others: numbers and switches, and those texts that are named here; every other text is hidden.

Shown is what `medsam2d check` shows: our own names and addresses, the AE titles of peers, where results go, paths. Hidden are the
networks of peers, mail addresses, URLs of notifications (many hold a secret), names of sites and people, and whatever is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from daemon.config import Config

HIDDEN = "(hidden)"
ANY = "*"
"""Any name or number in this place of a path."""
SHOWN = tuple(
    tuple(path.split("."))
    for path in (
        "ae_title",
        "listener.host",
        "listener.called_ae_titles.*",
        "listener.data_path",
        "listener.tls.*",
        "listener.peers.*.ae_title",
        "listener.peers.*.rights.*",
        "folders.*",
        "inbox.*",
        "arrivals.incomplete",
        "rules.paths.*",
        "weights.*.*",
        "worker.*",
        "destinations.*.kind",
        "destinations.*.host",
        "destinations.*.ae_title",
        "destinations.*.calling_ae_title",
        "destinations.*.commitment",
        "destinations.*.objects.*",
        "destinations.*.url",
        "destinations.*.path",
        "destinations.*.credentials_file",
        "destinations.*.tls.*",
        "result.uid_root",
        "audit.syslog.tls.*",
        "web.host",
        "web.token_file",
        "notifications.kinds.*",
        "notifications.channels.*.kind",
        "notifications.channels.*.security",
        "notifications.channels.*.credentials_file",
        "notifications.channels.*.tls.*",
        "logging.level",
    )
)
"""Dotted paths of the texts that are shown; `*` stands for a name, or a place in a list."""


def shown_settings(settings: Config) -> Mapping[str, Any]:
    """Return every setting in effect, defaults included, with `HIDDEN` in the place of what others need not know."""
    whole: dict[str, Any] = _shown(settings.model_dump(mode="json"), ())
    return {**whole, "store": {"url": shown_url(settings.store_url)}}


def shown_url(url: str) -> str:
    """Return a database URL without password and parameters, among which a password may be too."""
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except ArgumentError:
        return HIDDEN


def _shown(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {name: _shown(item, (*path, str(name))) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item, (*path, str(number))) for number, item in enumerate(value)]
    return HIDDEN if isinstance(value, str) and not _may_be_shown(path) else value


def _may_be_shown(path: tuple[str, ...]) -> bool:
    return any(len(known) == len(path) and all(one in (ANY, part) for one, part in zip(known, path, strict=True)) for known in SHOWN)
