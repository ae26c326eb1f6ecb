"""The listener in the configuration: its port, its limits, and who may send."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from daemon.setting_types import AeTitle, FilePath, Host, Networks, Port, Seconds, Sha256
from rules.scalars import Flag, Integer, Section


class Peer(Section):
    """A system that may send to us."""

    ae_title: AeTitle
    """Its calling AE title."""
    networks: Networks = ("127.0.0.1/32",)
    """Where it may call from: addresses or CIDR networks."""
    rights: tuple[Literal["echo", "store", "commit"], ...] = ("echo", "store", "commit")
    """What it may ask: verification, storage, storage commitment."""
    maximum_associations: Annotated[Integer, Field(ge=1, le=1000)] | None = None
    """At once; absent: `maximum_associations_per_peer` of the listener."""
    certificate_sha256: tuple[Sha256, ...] = ()
    """Fingerprints, one of which its TLS certificate must have; absent: any certificate that is trusted."""


class TlsSection(Section):
    """TLS for the listener; every peer must use it then."""

    certificate: FilePath
    """PEM: our certificate, then those of intermediate authorities. A renewed file is taken up by itself."""
    private_key: FilePath
    """PEM, readable for the service's user alone."""
    trusted_certificates: FilePath
    """PEM: the authorities that vouch for peers."""
    require_peer_certificate: Flag = True
    """false: peers need not prove who they are."""
    warn_days: Annotated[Integer, Field(ge=0, le=3650)] = 30
    """`medsam2d check` warns so many days before the certificate expires."""


class ListenerSettings(Section):
    """The port that instances arrive at."""

    host: Host = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all interfaces."""
    port: Port = 11112
    """0 picks a free one."""
    called_ae_titles: tuple[AeTitle, ...] = ()
    """AE titles that we answer to; absent: `ae_title` alone. Rules can tell them apart."""
    data_path: Literal["direct", "pynetdicom"] = "direct"
    """direct: fast, and flat in memory; pynetdicom: the plain path that it is tested against, without TLS."""
    tls: TlsSection | None = None
    """Absent: everything that is sent can be read on the network."""
    maximum_associations: Annotated[Integer, Field(ge=1, le=1000)] = 64
    """At once, in all."""
    maximum_associations_per_peer: Annotated[Integer, Field(ge=1, le=1000)] = 16
    """At once, of one calling AE title."""
    associations_per_minute: Annotated[Integer, Field(ge=1, le=100_000)] = 600
    """That one address may ask for."""
    maximum_pdu_bytes: Annotated[Integer, Field(ge=4096, le=16_777_216)] = 131_072
    """The largest PDU that we accept; DCMTK sends no larger ones than the default."""
    network_timeout_seconds: Seconds = 60.0
    """A peer that is silent for so long is disconnected."""
    acse_timeout_seconds: Seconds = 30.0
    """A connection that has not asked for an association after so long is closed (TLS handshake included)."""
    peers: tuple[Peer, ...] = ()
    """Who may send; nobody else may, so an empty list refuses everybody."""
