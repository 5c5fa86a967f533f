"""Tests of HTTP/1.1 whose clients speak HTTP/2 instead: what they send and get is translated on the way.

`Translated` has the face of a `Wire` at which a test acts as a client of HTTP/1.1. The requests that are written to it are read by
h11 and sent as HTTP/2; answers are written down as HTTP/1.1. What only one version has (connection fields, chunks, pipelining,
closing) is lost on the way, so tests of those are not for this.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import h11
from twisted.internet.address import IPv4Address, IPv6Address

from tests.proxy.rig import PEER, ProxyCase, Wire
from tests.proxy.rig2 import Peer2, Seen
from voltgw.values.tls import Handshake

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
#: What the clients' TLS has agreed on.
HANDSHAKE = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", sni="shop")
_CONNECTION = frozenset((b"host", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"proxy-connection"))


class Translated:
    """A client's end of a connection of HTTP/2; what is not here is the wire's."""

    def __init__(self, case: ProxyCase, wire: Wire) -> None:
        self._case = case
        self._wire = wire
        self._peer = Peer2(wire, True)
        self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._stream = 0
        self._pending: list[int] = []       # streams whose answers nobody has asked for yet
        self._told: dict[int, int] = {}     # how many heads, and then octets, of them were
        self._text = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def send(self, data: bytes) -> None:
        """The client sends; whoever is asked speaks HTTP/2."""
        for entry in self._case.http.table.entries:
            entry.host.prior_knowledge = True
        self._reader.receive_data(data)
        while True:
            event = self._reader.next_event()
            if isinstance(event, h11.Request):
                fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                host = next((value for name, value in fields if name == b"host"), b"")
                head = [(b":method", bytes(event.method)), (b":scheme", b"http"), (b":authority", host),
                        (b":path", bytes(event.target)), *(each for each in fields if each[0] not in _CONNECTION)]
                empty = all(value == b"0" for name, value in fields if name == b"content-length")
                bodiless = empty and not any(name == b"transfer-encoding" for name, _ in fields)
                self._stream = self._peer.ask(head, ended=bodiless)
                self._ended = bodiless
                self._pending.append(self._stream)
            elif isinstance(event, h11.Data):
                self._peer.send(self._stream, bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                if not self._ended:
                    self._peer.send(self._stream, b"", ended=True)
                self._reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                self._reader.send(h11.EndOfMessage())
                self._reader.start_next_cycle()
            else:
                break
        self._case.turn()                   # in HTTP/1.1 a body goes on at once

    @property
    def written(self) -> bytes:
        """What has come since it was last asked with `got`, as HTTP/1.1."""
        self._case.turn()
        self._peer.read()
        self._case.turn()
        text = b""
        for stream in self._pending:
            seen = self._peer.seen[stream]
            heads, body = self._told.get(stream, (0, 0))    # type: ignore[misc]
            text += _as_text(seen, heads, body)
        return text

    def got(self) -> bytes:
        """The same, and forget it."""
        text = self.written
        for stream in self._pending:
            seen = self._peer.seen[stream]
            self._told[stream] = len(seen.heads), len(seen.body)    # type: ignore[assignment]
        return text

    def clear(self) -> None:
        """Forget what has come."""
        self.got()


def _as_text(seen: Seen, heads: int, body: int) -> bytes:
    """An answer, from its head number `heads` and octet `body` on."""
    lines = b""
    for head in seen.heads[heads:]:
        status = int(dict(head)[b":status"])
        lines += b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))
        lines += b"".join(b"%b: %b\r\n" % field for field in head[1:])
        if seen.ended and seen.body and b"content-length" not in dict(head):
            lines += b"content-length: %d\r\n" % len(seen.body)
        lines += b"\r\n"
    return lines + seen.body[body:]


class OverTls(ProxyCase):
    """Mixed into a test case before its own class: its clients have come by TLS, whose engine is not part of this."""

    def client(self, address: str = PEER, port: int = 50000) -> Any:
        """A client connects, and the handshake is done."""
        peer = (IPv6Address if ":" in address else IPv4Address)("TCP", address, port)
        protocol = self.factory.buildProtocol(peer)
        wire = Wire(self.hand, peer, protocol)
        vars(wire)["handshake"] = HANDSHAKE
        self.rig.clients.append(wire)
        protocol.makeConnection(wire)
        return wire


class Over2(ProxyCase):
    """Mixed into a test case before its own class: its clients speak HTTP/2."""

    def setUp(self) -> None:
        """HTTP/2 is spoken here."""
        super().setUp()
        self.http.prior_knowledge = True

    def client(self, address: str = "192.0.2.7", port: int = 50000) -> Any:
        """A client connects."""
        return Translated(self, super().client(address, port))
