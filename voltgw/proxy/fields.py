"""Field lines that we write into heads ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from voltgw.values.head import Field, RequestHead

#: ``name: value`` of a field.
line: Final = b": ".join
#: Methods whose requests say that they have no body (RFC 9110 8.6).
SAY_EMPTY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
#: HTTP/2 is never reached by Upgrade (RFC 9113 3.1 has dropped it): the endpoint would be asked behind our back.
_NEVER: Final = frozenset((b"h2", b"h2c"))


def about_client(peer_address: str, scheme: bytes, theirs: Iterable[Field], append: bool) -> bytes:
    """The lines that tell an endpoint who asks, joined; never empty.

    Of `theirs`, the fields by which the client speaks of itself, only X-Forwarded-For survives; the address from which its
    bytes come stands behind it, unless `append` is False (``skip_xff_append``).
    """
    chain = [value for name, value in theirs if name == b"x-forwarded-for" and value]
    peer = peer_address.encode("ascii")
    if append:
        chain.append(peer)
    lines = [b"x-forwarded-for: " + b", ".join(chain)] if chain else []
    return b"\r\n".join([*lines, b"x-forwarded-proto: " + scheme, b"x-real-ip: " + peer])


def with_host(wire: bytes, authority: bytes) -> bytes:
    """A request with another Host, which stands in the line behind the request line, where we have put it."""
    name = wire.index(b"\r\n") + 2
    value = wire.index(b":", name) + 2
    return wire[:value] + authority + wire[wire.index(b"\r\n", value):]


def asked_upgrade(head: RequestHead, allowed: Collection[bytes]) -> bytes | None:
    """The protocol that the endpoint is asked to switch to: the one that the client asks for, if it is among `allowed`.

    Not for a request with a body: where that ends is for HTTP to say, and what comes behind it would no longer be HTTP.
    """
    upgrade = head.upgrade
    if upgrade is None or upgrade not in allowed or upgrade in _NEVER or head.length or not head.minor:
        return None
    return upgrade
