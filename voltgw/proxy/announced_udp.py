"""Datagrams that begin with a PROXY header of version 2: a proxy before us says whose they are.

As DNS servers have it (dnsdist, unbound, BIND), each datagram begins with a header; or, where that is configured, the first
one of a session alone. Answers go to the proxy without one. Version 1 has no form for datagrams.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from voltgw.net.announced import Trusted, trusts
from voltgw.wire.proxyproto import (
    MAX_HEADER_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderRefused,
    address_bytes,
    read_header,
)

#: Addresses whose trust is remembered; those of proxies are few.
_MAX_KNOWN: Final = 1024
_HEAD_BYTES: Final = 16


class Heard(NamedTuple):
    """A datagram: `who` tells the clients of one proxy apart, `rest` is what it says."""

    who: bytes
    rest: memoryview


class Announcements:
    """The proxies that are heard by one listener, and how they speak."""

    __slots__ = ("_known", "_trusted", "first_only")

    def __init__(self, trusted: Trusted, first_only: bool) -> None:
        self.first_only = first_only        # a proxy sends a header with the first datagram of each of its ports alone
        self._trusted = trusted
        self._known: dict[str, bool] = {}

    def hear(self, data: memoryview, host: str) -> Heard | None:
        """A datagram of `host` without its header; None: it has none, or `host` may not say one."""
        known = self._known.get(host)
        if known is None:
            known = trusts(self._trusted, host.removeprefix("::ffff:"))
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()         # strangers, who are refused
            self._known[host] = known
        if not known or len(data) < _HEAD_BYTES or bytes(data[:12]) != SIGNATURE:
            return None
        size = _HEAD_BYTES + (data[14] << 8 | data[15])
        if size > len(data) or size > MAX_HEADER_BYTES:
            return None
        # TLVs may differ from datagram to datagram (a unique id); the addresses say whose it is
        addresses = data[_HEAD_BYTES:min(size, _HEAD_BYTES + address_bytes(data[13]))]
        return Heard(bytes(data[12:14]) + bytes(addresses), data[size:])


def header_of(data: memoryview) -> ProxyHeader | None:
    """The header with which a datagram that was heard begins; None: there is something wrong with it."""
    try:
        found = read_header(bytes(data[:MAX_HEADER_BYTES]))
    except ProxyHeaderRefused:
        return None
    return found if isinstance(found, ProxyHeader) else None
