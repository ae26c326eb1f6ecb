"""Who may associate and for what: the called AE title must be ours, the calling AE title and its address a known peer's."""

from __future__ import annotations

import dataclasses
import enum
import functools
import ipaddress
from collections.abc import Sequence


class Right(enum.StrEnum):
    """What a peer may ask of us."""

    ECHO = "echo"
    """Verification (C-ECHO)."""
    STORE = "store"
    """Storage (C-STORE)."""
    COMMIT = "commit"
    """Storage commitment: to ask for it (N-ACTION), and to report on ours (N-EVENT-REPORT)."""


EVERY_RIGHT = frozenset(Right)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A system that may associate with us.

    Raises ValueError for an AE title that PS3.5 section 6.2 does not allow, or a network that is no CIDR.
    """

    ae_title: str
    networks: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """The networks, in CIDR notation, that it may call from; by default any."""
    rights: frozenset[Right] = EVERY_RIGHT
    maximum_associations: int | None = None
    """At once; None: as many as any peer."""
    certificates: frozenset[str] = frozenset()
    """SHA-256 fingerprints, in lower-case hexadecimal, one of which its TLS certificate must have; empty: any trusted one."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.ae_title.strip()) <= 16 or not self.ae_title.isascii() or not self.ae_title.isprintable():
            raise ValueError(f"ae_title: expected 1 to 16 ASCII characters, got {self.ae_title!r}")
        for network in self.networks:
            _network(network)

    def calls_from(self, address: str) -> bool:
        """Say whether an IP address lies in one of this peer's networks."""
        try:
            source = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A socket that serves both families shows an IPv4 peer as ::ffff:a.b.c.d.
        source = getattr(source, "ipv4_mapped", None) or source
        return any(source in _network(network) for network in self.networks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Who asks for an association."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str


class Rejection(enum.Enum):
    """Why an association was rejected: (result, source, reason) of the A-ASSOCIATE-RJ (PS3.8 table 9-21) and our words for it."""

    CALLED_AE_TITLE = (0x01, 0x01, 0x07, "called AE title not recognised: it is none of ours")
    CALLING_AE_TITLE = (0x01, 0x01, 0x03, "calling AE title not recognised: it is no known peer's")
    # The standard has no reason for an address or a certificate: to this caller the name is as good as unknown.
    PEER_ADDRESS = (0x01, 0x01, 0x03, "calling AE title not recognised: its address is in none of the peer's networks")
    PEER_CERTIFICATE = (0x01, 0x01, 0x03, "calling AE title not recognised: its certificate is none of the peer's")
    TLS = (0x00, 0x00, 0x00, "no TLS handshake: the peer does not speak TLS, or showed no certificate that is trusted")  # never sent
    PROTOCOL_VERSION = (0x01, 0x02, 0x02, "protocol version not supported: it is not version 1")
    LOCAL_LIMIT = (0x02, 0x03, 0x02, "local limit exceeded: the maximum number of associations is active")
    PEER_LIMIT = (0x02, 0x03, 0x02, "local limit exceeded: the peer has its maximum number of associations")
    RATE = (0x02, 0x03, 0x01, "temporary congestion: the address asks for associations too often")
    NO_SPACE = (0x02, 0x03, 0x01, "temporary congestion: the disk is filled up to its reserve")

    def __init__(self, result: int, source: int, reason: int, text: str) -> None:
        self.result_source_reason = (result, source, reason)
        self.text = text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Admission:
    """What an admitted peer may do."""

    rights: frozenset[Right]
    maximum_associations: int | None
    """Of this calling AE title at once; None: as many as any peer."""


def judge_request(
    request: Request, ae_titles: Sequence[str], peers: Sequence[Peer], certificate: str | None = None
) -> Admission | Rejection:
    """Return what the peer may do, or why the association is rejected; AE titles are compared without surrounding spaces.

    A title that is listed several times (for several networks, say) has the rights of every entry that fits the caller.
    `certificate` is the SHA-256 fingerprint of the certificate that the peer proved to own, None without TLS.
    """
    if request.called_ae_title not in {title.strip() for title in ae_titles}:
        return Rejection.CALLED_AE_TITLE
    named = [peer for peer in peers if peer.ae_title.strip() == request.calling_ae_title]
    if not named:
        return Rejection.CALLING_AE_TITLE
    near = [peer for peer in named if peer.calls_from(request.peer_address)]
    if not near:
        return Rejection.PEER_ADDRESS
    proven = [peer for peer in near if not peer.certificates or certificate in peer.certificates]
    if not proven:
        return Rejection.PEER_CERTIFICATE
    limits = [peer.maximum_associations for peer in proven]
    return Admission(
        rights=frozenset().union(*(peer.rights for peer in proven)),
        maximum_associations=None if None in limits else max(limit for limit in limits if limit is not None),
    )


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)
