"""The routes of a configuration: each destination's settings become the route that reaches it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path

from daemon.config import Config
from daemon.destination_settings import DestinationTls, DicomDestination, StowDestination
from daemon.dicom_route import DicomRoute
from daemon.errors import ConfigError
from daemon.folder_route import FolderRoute
from daemon.route import Route
from daemon.stow_route import StowRoute
from dicom_io.peer import Destination
from dicom_io.stow import StowServer


def routes_of(settings: Config) -> Mapping[str, Route]:
    """Return the route to every configured destination. Raises ConfigError for certificates or credentials that cannot be used."""
    return {name: route_of(settings, name) for name in settings.destinations}


def route_of(settings: Config, name: str) -> DicomRoute | StowRoute | FolderRoute:
    """Return the route to one configured destination. Raises ConfigError."""
    own = settings.destinations[name]
    if isinstance(own, DicomDestination):
        return DicomRoute(destination=dicom_destination(settings, name, own), settings=own)
    if isinstance(own, StowDestination):
        return StowRoute(server=stow_server(name, own))
    return FolderRoute(name=name, folder=own.path)


def dicom_destination(settings: Config, name: str, own: DicomDestination) -> Destination:
    """Return a configured archive as `dicom_io` knows it. Raises ConfigError."""
    return Destination(
        name=name,
        host=own.host,
        port=own.port,
        ae_title=own.ae_title,
        calling_ae_title=own.calling_ae_title or settings.ae_title,
        connection_timeout_seconds=own.timeout_seconds,
        tls=tls_context(f"destinations.{name}.tls", own.tls) if own.tls else None,
    )


def stow_server(name: str, own: StowDestination) -> StowServer:
    """Return a configured DICOMweb server as `dicom_io` knows it. Raises ConfigError."""
    return StowServer(
        name=name,
        url=own.url,
        timeout_seconds=own.timeout_seconds,
        authorization=lambda: authorization(own.credentials_file) if own.credentials_file else None,
        tls=tls_context(f"destinations.{name}.tls", own.tls or DestinationTls()) if own.url.startswith("https:") else None,
    )


def tls_context(setting: str, own: DestinationTls) -> ssl.SSLContext:
    """Return how we speak TLS towards a peer: 1.2 or newer, its certificate and name verified. Raises ConfigError, naming `setting`."""
    try:
        context = ssl.create_default_context(cafile=own.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if own.certificate_file is not None:
            context.load_cert_chain(own.certificate_file, own.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{setting}: the certificates cannot be used ({error}); check the files and their rights") from error
    return context


def authorization(path: Path) -> str:
    """Return the Authorization header that a credentials file asks for; read anew each time, since tokens are renewed."""
    scheme, secret = credentials(path)
    return f"Bearer {secret}" if scheme == "bearer" else f"Basic {base64.b64encode(secret.encode()).decode()}"


def credentials(path: Path) -> tuple[str, str]:
    """Return (`bearer`, TOKEN) or (`basic`, USER:PASSWORD), as a credentials file says. Raises ConfigError."""
    try:
        scheme, _, secret = path.read_text(encoding="utf-8").strip().partition(" ")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}); give it to the service's user") from error
    if "\n" in secret or not secret or scheme not in ("bearer", "basic") or (scheme == "basic" and ":" not in secret):
        raise ConfigError(f"{path}: expected one line, `bearer TOKEN` or `basic USER:PASSWORD`, got another")
    return scheme, secret
