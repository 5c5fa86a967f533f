"""Host and port as a request names them: in Host, in the target of HTTP/1.1, in HTTP/2's ``:authority`` (RFC 3986 3.2)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from voltgw.errors import BadRequest

_AUTHORITY: Final = re.compile(
    rb"(?:(?P<name>[A-Za-z0-9\-._~!$&'()*+,;=%]+)|(?P<v6>\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9\-._~]+)?\]))"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)
#: How many authorities are remembered before the table starts again, and how long a remembered one may be.
MAX_KNOWN: Final = 4096
MAX_KNOWN_BYTES: Final = 512

#: What `read_authority` found, so that the hot path can look here first.
known_authorities: Final[dict[bytes, tuple[bytes, int | None]]] = {}


def read_authority(authority: bytes) -> tuple[bytes, int | None]:
    """Host (lower case, no trailing dot) and port of a Host field or of a target; the port is None when not written.

    Raises `BadRequest`.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise BadRequest("Host is not a host name or address with an optional port")
    digits = match["port"]
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65536:
        raise BadRequest("the port in Host is not between 1 and 65535")
    host = (match["name"] or match["v6"]).lower()
    if host.startswith(b"["):
        try:
            IPv6Address(host[1:-1].partition(b"%25")[0].decode("ascii"))
        except ValueError:
            raise BadRequest("what stands in brackets in Host is no IPv6 address (RFC 3986 3.2.2)") from None
    if host.endswith(b".") and host != b".":
        host = host[:-1]
    if len(known_authorities) >= MAX_KNOWN:
        known_authorities.clear()
    if len(authority) <= MAX_KNOWN_BYTES:
        known_authorities[authority] = host, port
    return host, port
