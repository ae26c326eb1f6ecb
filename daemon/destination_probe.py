"""Asking a destination what it is: does it answer, and what would it take from us? Nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.config import Config
from daemon.destination_settings import DicomDestination
from daemon.dicom_route import DicomRoute
from daemon.errors import ConfigError
from daemon.folder_route import FolderMissing, FolderRoute
from daemon.routes import route_of
from daemon.store import Store
from dicom_io.commitment import PUSH_MODEL
from dicom_io.probe import SEGMENTATION, Capability, probe
from dicom_io.proof import STUDY_ROOT_FIND
from dicom_io.sender import echo
from dicom_io.stow import open_stow

PROOF_NEEDS: Mapping[str, str] = {"same": PUSH_MODEL, "reverse": PUSH_MODEL, "query": STUDY_ROOT_FIND}
"""What each demand for a confirmation needs the archive to accept."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a destination answered."""

    name: str
    kind: str
    found: str
    """In one line."""
    accepted: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """(SOP Class UID, Transfer Syntax UID) -> whether it is accepted; empty where a destination of this kind cannot say."""


def ask(settings: Config, name: str) -> Found:
    """Ask one configured destination. Raises PeerError, ConfigError or FolderMissing where it would not take our results now."""
    own, route = settings.destinations[name], route_of(settings, name)
    if isinstance(route, DicomRoute):
        capability = probe(route.destination)
        _expect_useful(name, capability, own)
        hint = _unheard_reports(settings, capability, own)
        return Found(name=name, kind=own.kind, found=f"{route.destination} {capability}{hint}", accepted=capability.accepted)
    if isinstance(route, FolderRoute):
        if not route.folder.is_dir():
            raise FolderMissing(f"{name}: expected the folder {route.folder}, got none; mount the share or make the folder")
        if not os.access(route.folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{name}: the folder {route.folder} is not writable for this user; give it to the service's user")
        return Found(name=name, kind=own.kind, found=f"the folder {route.folder} is writable")
    with open_stow(route.server) as session:
        return Found(name=name, kind=own.kind, found=f"{route.server} {session.echo()}")


def is_there(settings: Config, name: str) -> str:
    """Ask one configured destination for a sign of life: C-ECHO, an HTTP answer, a folder. Raises as `ask` does."""
    route = route_of(settings, name)
    if isinstance(route, DicomRoute):
        echo(route.destination)
        return f"{route.destination} answers"
    return ask(settings, name).found


def remember(store: Store, found: Found) -> None:
    """Keep what a destination accepts, so that delivery offers it the right form at once."""
    if found.accepted:
        store.keep_capability(found.name, found.accepted)


def _unheard_reports(settings: Config, capability: Capability, own: object) -> str:
    """Say where commitment reports on an association of the archive's would be turned away; raises ConfigError where they must come so."""
    titles = {peer.ae_title for peer in settings.listener.peers}
    offers = any(answer for (sop_class, _syntax), answer in capability.accepted.items() if sop_class == PUSH_MODEL)
    if not isinstance(own, DicomDestination) or own.commitment not in ("auto", "reverse") or not offers or own.ae_title in titles:
        return ""
    words = f"our listener would turn its commitment reports away: name {own.ae_title} under `listener.peers`"
    if own.commitment == "reverse":
        raise ConfigError(words)
    return f"; unless it reports on the same association, {words}"


def _expect_useful(name: str, capability: Capability, own: object) -> None:
    classes = {sop_class for (sop_class, _syntax), answer in capability.accepted.items() if answer}
    if SEGMENTATION not in classes:
        raise ConfigError(f"{name}: expected it to accept SEG, got a refusal ({capability}); allow SEG for our AE title there")
    needed = PROOF_NEEDS.get(own.commitment) if isinstance(own, DicomDestination) else None
    if needed is not None and needed not in classes:
        cure = "allow it there, or choose another `commitment`"
        raise ConfigError(f"{name}: expected what its `commitment` setting needs, got a refusal ({capability}); {cure}")
