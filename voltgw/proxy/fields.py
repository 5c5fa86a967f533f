"""Field lines that we write into heads ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from voltgw.routing.route import Route
    from voltgw.values.head import Field, RequestHead

#: ``name: value`` of a field.
line: Final = b": ".join
#: Methods whose requests say that they have no body (RFC 9110 8.6).
SAY_EMPTY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
#: How we name ourselves to others (RFC 9110 7.6.3), by the minor version of what came; 2 stands for HTTP/2.
VIA: Final = (b"via: 1.0 voltgw", b"via: 1.1 voltgw", b"via: 2 voltgw")
#: HTTP/2 is never reached by Upgrade (RFC 9113 3.1 has dropped it): the endpoint would be asked behind our back.
_NEVER: Final = frozenset((b"h2", b"h2c"))


def with_host(wire: bytes, authority: bytes) -> bytes:
    """A request with another Host, which stands in the line behind the request line, where we have put it."""
    name = wire.index(b"\r\n") + 2
    value = wire.index(b":", name) + 2
    end = wire.index(b"\r\n", value)
    return wire[:value] + authority + wire[end:]


def with_host_suffix(wire: bytes, suffix: bytes) -> bytes:
    """A request whose Host has `suffix` behind its name, before the port. An IPv6 address stays as it is."""
    name = wire.index(b"\r\n") + 2
    value = wire.index(b":", name) + 2
    end = wire.index(b"\r\n", value)
    host = wire[value:end]
    if host.startswith(b"["):
        return wire
    host, colon, port = host.partition(b":")
    return with_host(wire, host + suffix + colon + port)


def asked_upgrade(head: RequestHead, allowed: Collection[bytes]) -> bytes | None:
    """The protocol that the endpoint is asked to switch to: the one that the client asks for, if it is among `allowed`.

    Not for a request with a body: where that ends is for HTTP to say, and what comes behind it would no longer be HTTP.
    """
    upgrade = head.upgrade
    if upgrade is None or upgrade not in allowed or upgrade in _NEVER or head.length or not head.minor:
        return None
    return upgrade


def own_left(trailers: list[Field] | None, route: Route | None) -> list[Field] | None:
    """What stands behind a request's body, without fields that tell endpoints who asks: some take these for the head's."""
    if not trailers or route is None or not route.owned:
        return trailers
    return [field for field in trailers if field[0] not in route.owned]
