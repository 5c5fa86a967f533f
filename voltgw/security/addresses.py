"""Client addresses as numbers, and sets of prefixes that are asked in one look per length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

#: IP version (0: it is no address) and the address as a number.
Number: TypeAlias = tuple[int, int]

_NONE: Final[Number] = (0, 0)


@lru_cache(maxsize=4096)
def number_of(text: str) -> Number:
    """The number of an address as the data plane writes it. IPv4 mapped into IPv6 is IPv4; a zone (``%eth0``) does not count.

    The memo is bounded: clients beyond its size only cost their parsing again.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return _NONE
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return 4, int(address.ipv4_mapped)
    return address.version, int(address)


class Prefixes:
    """Some prefixes; `holds` says whether an address stands in one of them. Raises ValueError for what is no prefix."""

    __slots__ = ("_tables", "keys")

    def __init__(self, prefixes: Iterable[str]) -> None:
        #: (version, bits to the right of the prefix, the rest as a number)
        self.keys: frozenset[tuple[int, int, int]] = frozenset(_key(prefix) for prefix in prefixes)
        self._tables: dict[int, list[tuple[int, set[int]]]] = {4: [], 6: []}
        for version, shift in sorted({key[:2] for key in self.keys}):
            self._tables[version].append((shift, {top for one, bits, top in self.keys if (one, bits) == (version, shift)}))

    def holds(self, number: Number) -> bool:
        """Whether it is one of them."""
        version, value = number
        for shift, tops in self._tables.get(version, ()):   # noqa: SIM110  # a generator would cost a frame per request
            if value >> shift in tops:
                return True
        return False

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(self.keys)


def _key(prefix: str) -> tuple[int, int, int]:
    network = ip_network(prefix, strict=False)
    shift = network.max_prefixlen - network.prefixlen
    if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        # ::ffff:192.0.2.0/120 means the IPv4 addresses, for these are what such clients are taken for.
        return 4, shift, int(network.network_address.ipv4_mapped) >> shift
    return network.version, shift, int(network.network_address) >> shift
