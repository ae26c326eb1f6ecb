"""Where we listen, under which names, for whom and within which limits."""

from __future__ import annotations

import dataclasses
import errno

from dicom_io.admission import Peer
from dicom_io.door import DoorSettings
from dicom_io.errors import PortUnavailable
from dicom_io.tls import TlsSettings

WAITING_CONNECTIONS = 128
"""How many connections the kernel holds for us while we are busy accepting others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """Where we listen, under which names, for whom and within which limits."""

    host: str = "127.0.0.1"
    port: int
    """0 picks a free one; `start` returns it."""
    ae_titles: tuple[str, ...]
    """The called AE titles that we answer to."""
    peers: tuple[Peer, ...]
    """Who may associate; nobody else may, and an empty tuple admits nobody."""
    tls: TlsSettings | None = None
    """None: the bytes travel in the clear."""
    maximum_pdu_size: int = 131072
    """Bytes of one PDU that we accept; 0: unlimited. DCMTK sends no larger ones than this default."""
    door: DoorSettings = dataclasses.field(default_factory=DoorSettings)
    network_timeout_seconds: float = 60.0
    """How long an association may be silent."""
    acse_timeout_seconds: float = 30.0
    """How long a connection may take to request an association, and for its TLS handshake (the ARTIM timer of PS3.8)."""
    dimse_timeout_seconds: float = 30.0
    """How long a command set may take to be complete."""


def port_unavailable(settings: ListenerSettings, error: OSError) -> PortUnavailable:
    """Return the error for a port that cannot be had, with its cure."""
    cures = {
        errno.EADDRINUSE: "another process listens there: end it (`ss -ltnp` names it) or choose another port",
        errno.EACCES: "ports below 1024 need a privilege: choose another, or give the service CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "this machine has no such address: correct the host",
    }
    cure = cures.get(error.errno or 0, "correct the host and the port")
    return PortUnavailable(f"listener: expected to listen on {settings.host}:{settings.port}, got {error.strerror or error}; {cure}")
