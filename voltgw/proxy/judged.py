"""Connections and sessions as the gates of a virtual host see them: an exchange that has a client and no request.

Its host is the name in the client's TLS hello, if there is one. Gates of such hosts answer at once, and what they answer is
told to nobody: who is refused is reset, or gets a TLS alert where no TLS has begun (`voltgw.app.tls_table`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead
from voltgw.values.reply import Reply
from voltgw.values.tls import Handshake
from voltgw.wire.fingerprints import ja3, ja4

if TYPE_CHECKING:
    from voltgw.routing.route import Route
    from voltgw.values.exchange import ClientSide
    from voltgw.wire.clienthello import ClientHello

#: Alert for who may not connect (RFC 8446 section 6.2).
ACCESS_DENIED = 49


class Seen:
    """As much of a `ClientSide` as gates look at. With `hello`, its TLS is not ended here, but its fingerprints are known."""

    __slots__ = ("handshake", "local_port", "peer_address", "peer_port", "scheme", "sni")

    def __init__(self, peer: tuple[str, int], local_port: int, sni: str, hello: ClientHello | None) -> None:
        self.peer_address, self.peer_port = peer
        self.local_port = local_port
        self.scheme = b""
        self.sni = sni
        self.handshake = None if hello is None else Handshake("", "", sni=sni, ja3=ja3(hello), ja4=ja4(hello))


def arrival(client: ClientSide | Seen, now: float) -> Exchange:
    """What gates judge when `client` has come; `now` is monotonic seconds."""
    head = RequestHead(b"", b"", b"", None, 1, b"", client.sni.encode("ascii", "replace"), None, [], 0, False)
    return Exchange(client, head, b"", now, 0)      # type: ignore[arg-type]  # gates look at nothing else of it


def refusal(route: Route, exchange: Exchange) -> Reply | None:
    """What the first gate says that refuses; None = it may go on."""
    for gate in route.gates:
        reply = gate.judge(exchange)
        if isinstance(reply, Reply):
            return reply
    return None


def verdict_of(exchange: Exchange, reply: Reply) -> str:
    """The rule or limit that has refused, for the log."""
    return exchange.limit if exchange.limit and not exchange.policy else exchange.policy or reply.detail
