"""Who may associate: the called AE title must be ours, the calling AE title and its address must be a known peer's."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A system that may associate with us.

    Raises ValueError for an AE title that PS3.5 section 6.2 does not allow, or a network that is no CIDR.
    """

    ae_title: str
    networks: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """The networks, in CIDR notation, that it may call from; by default any."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.ae_title.strip()) <= 16 or not self.ae_title.isascii() or not self.ae_title.isprintable():
            raise ValueError(f"ae_title: expected 1 to 16 ASCII characters, got {self.ae_title!r}")
        for network in self.networks:
            ipaddress.ip_network(network)

    def calls_from(self, address: str) -> bool:
        """Say whether an IP address lies in one of this peer's networks."""
        try:
            source = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A socket that serves both families shows an IPv4 peer as ::ffff:a.b.c.d.
        source = getattr(source, "ipv4_mapped", None) or source
        return any(source in ipaddress.ip_network(network) for network in self.networks)


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
    # The standard has no reason for an address: to this address the name is as good as unknown.
    PEER_ADDRESS = (0x01, 0x01, 0x03, "calling AE title not recognised: its address is in none of the peer's networks")
    LOCAL_LIMIT = (0x02, 0x03, 0x02, "local limit exceeded: the maximum number of associations is active")

    def __init__(self, result: int, source: int, reason: int, text: str) -> None:
        self.result_source_reason = (result, source, reason)
        self.text = text


ADMITTED = None
"""The verdict on a request that nothing speaks against."""


def judge_request(request: Request, ae_titles: Sequence[str], peers: Sequence[Peer]) -> Rejection | None:
    """Return ADMITTED, or why the association is rejected; AE titles are compared without surrounding spaces."""
    if request.called_ae_title not in {title.strip() for title in ae_titles}:
        return Rejection.CALLED_AE_TITLE
    named = [peer for peer in peers if peer.ae_title.strip() == request.calling_ae_title]
    if not named:
        return Rejection.CALLING_AE_TITLE
    return ADMITTED if any(peer.calls_from(request.peer_address) for peer in named) else Rejection.PEER_ADDRESS
