"""Client addresses of which only the network is written, for whoever may not keep whole ones."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

#: Bits that are kept: of the last octet of IPv4, and of what a site usually has in IPv6, nothing is left.
KEPT_4: Final = 24
KEPT_6: Final = 48


@lru_cache(4096)
def network_of(address: str) -> str:
    """The address with its last bits cleared (``203.0.113.0``, ``2001:db8:1::``); "" for what is no address."""
    try:
        parsed = ip_address(address.strip().strip("[]"))
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(IPv6Address(int(parsed) >> (128 - KEPT_6) << (128 - KEPT_6)))
        parsed = parsed.ipv4_mapped
    return str(type(parsed)(int(parsed) >> (32 - KEPT_4) << (32 - KEPT_4)))


def networks_of(said: str) -> str:
    """A list of addresses, as X-Forwarded-For has it, each as `network_of` does; what is no address is left out."""
    return ", ".join(filter(None, (network_of(each) for each in said.split(",")))) if said else ""


def last_word(said: str) -> str:
    """A name and, behind a space, an address: that as `network_of` does; anything else as it is."""
    name, space, address = said.rpartition(" ")
    network = network_of(address) if space else ""
    return f"{name} {network}" if network else said
