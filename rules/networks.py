"""Networks in conditions: an address, or all addresses of a network in CIDR notation (RFC 4632), IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """Return the network that a text names; a single address is a network of one. Raises ValueError (expected, got)."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"expected an address or a network such as 10.2.0.0/16 or 2001:db8::/32, got {text!r} ({error})") from error
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) and found.prefixlen == 128 else None
    return found if mapped is None else ipaddress.ip_network(mapped)


def lies_in(text: str, outer: Network) -> bool:
    """Tell whether an address or a network lies wholly in another network; a text that is neither never does."""
    try:
        inner = network(text)
    except ValueError:
        return False
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def overlap(first: str, second: str) -> bool:
    """Tell whether some address lies in both networks: of two networks that meet, one lies in the other."""
    return lies_in(first, network(second)) or lies_in(second, network(first))
