"""The catalogue of framing attacks, through the gateway and through Envoy, over real sockets: what the origin has read of each.

h11 is the judge twice: of what the client's bytes mean, and, as the origin, of what came out. Nothing may come out that the client
has not said. Envoy is a second opinion: whatever it refuses, we refuse, but for the cases that are named here with the reason.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

import h11
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.envoy import start_envoy
from tests.integration.gateway import PATIENCE_S, Gateway, free_port, until
from tests.integration.threaded import ThreadedServer
from tests.wire.test_chunks import BAD, GOOD
from tests.wire.test_http1_request import FRAMING, HEADS

_CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
#: Six bytes that are a body of that length, and a chunked one.
_SIX: Final = b"1\r\nA\r\n0\r\n\r\n"
#: What must only be taken for a request where the one before it has ended.
_BEHIND: Final = b"GET /behind HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
#: How long nothing comes (seconds) before a client says that it has sent everything.
_QUIET_S: Final = 0.5

#: What Envoy refuses, and we forward.
LAXER: Final[dict[str, str]] = {}

CONFIG: Final = """
gateway: {{admin: {{port: ADMIN}}}}
objects:
- {{kind: virtual_host, metadata: {{name: h}}, spec: {{domains: ["*"], advertise_policies: [p], routes: [r]}}}}
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {port}}}}}
- {{kind: route, metadata: {{name: r}}, spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [c]}}]}}}}]}}}}
- {{kind: cluster, metadata: {{name: c}}, spec: {{endpoints: [e]}}}}
- {{kind: endpoint, metadata: {{name: e}}, spec: {{ip: 127.0.0.1, port: {origin}}}}}
"""


class Read(NamedTuple):
    """A whole request, as h11 reads it."""

    method: bytes
    target: bytes
    body: bytes


def cases() -> dict[str, tuple[bytes, list[Read]]]:
    """Everything that is sent, by name, and what it means."""
    found: dict[str, bytes] = {}
    for name, (lines, _) in FRAMING.items():
        head = b"\r\n".join([b"POST / HTTP/1.1", b"Host: shop", *lines, b"", b""])
        found[f"length: {name}"] = head + (_SIX if b"hunked" in head.lower() else b"GET / ")
    for name, (head, _) in HEADS.items():
        if not head.startswith(b"CONNECT"):
            found[f"head: {name}"] = head
    for name, body in BAD.items():
        found[f"bad chunk: {name}"] = _CHUNKED + body
    made = {name: (data + _BEHIND, meaning(data + _BEHIND)) for name, data in found.items()}
    for body, (_, data) in GOOD.items():        # the table knows: h11 takes no spaces around extensions (RFC 9112 7.1.1)
        made[f"good chunk: {body!r}"] = _CHUNKED + body + _BEHIND, [Read(b"POST", b"/", data), Read(b"GET", b"/behind", b"")]
    return made


def meaning(data: bytes) -> list[Read]:
    """The whole requests that h11 finds in what a client sends, up to what is none."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found: list[Read] = []
    while True:
        request, body = None, b""
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return found
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
        except h11.RemoteProtocolError:
            return found
        assert request is not None
        found.append(Read(request.method, request.target, body))
        connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return found
        connection.start_next_cycle()


class Origin(ThreadedServer):
    """Reads what comes by h11, notes whole requests in `seen` before it answers, and in `broken` what is not HTTP."""

    def __init__(self) -> None:
        self.seen: list[Read] = []
        self.broken: list[str] = []
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        request, body = None, b""
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                if request is None or "peer unexpectedly closed" not in str(error):
                    self.broken.append(str(error))
                break
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(sock.recv(65536))
                except OSError:
                    break                       # cut in the middle: nobody takes that for a whole request
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self.seen.append(Read(request.method, request.target, body))
                try:
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    break
                connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                request = None
                connection.start_next_cycle()
            else:
                break
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                                # the other side has closed it


def told(port: int, data: bytes) -> list[int]:
    """The statuses of the answers to `data` on a connection of its own."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.settimeout(_QUIET_S)
        ended = False
        try:
            sock.sendall(data)
            while True:
                try:
                    piece = sock.recv(65536)
                except TimeoutError:
                    if ended:
                        raise AssertionError(f"no end of the answers to {data!r}: {got!r}") from None
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(PATIENCE_S)
                    ended = True
                    continue
                if not piece:
                    break
                got += piece
                if not ended and b"\r\nconnection: close\r\n" in got.lower():
                    sock.shutdown(socket.SHUT_WR)       # it waits for that
                    ended = True
                    sock.settimeout(PATIENCE_S)
        except ConnectionError:
            pass                                # a refusal may cut what is behind it
    return [int(line[9:12]) for line in got.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


class PeersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origins = {}
        for name in ("voltgw", "envoy"):
            self.origins[name] = origin = Origin()
            self.addCleanup(origin.stop)
        self.ports = {name: free_port() for name in self.origins}

    def start(self) -> None:
        """Both proxies."""
        start_envoy(self, self.ports["envoy"], self.origins["envoy"].port,
                    {"codec_type": "HTTP1", "delayed_close_timeout": "0.05s"})
        Gateway(self, CONFIG.format(port=self.ports["voltgw"], origin=self.origins["voltgw"].port)).wait_ready()

        def answers() -> bool:
            try:
                return told(self.ports["envoy"], _BEHIND) == [200]
            except ConnectionError:
                return False

        until("Envoy answers", answers)

    def outcome(self, name: str, data: bytes) -> tuple[list[int], list[Read]]:
        """What the client was told by one of them, and what its origin has read."""
        origin = self.origins[name]
        origin.seen.clear()
        statuses = told(self.ports[name], data)
        return statuses, list(origin.seen)

    def test_the_catalogue(self) -> None:
        """The origin reads what the client said, or nothing; what Envoy refuses we refuse."""
        self.start()
        faults: list[str] = []
        laxer: list[str] = []
        forwarded = refused = 0
        for name, (data, said) in cases().items():
            statuses, seen = self.outcome("voltgw", data)
            if seen != said[:len(seen)]:
                faults.append(f"{name}: the origin has read {seen}, the client has said {said}")
            if len(seen) < len(said) and not any(status >= 400 for status in statuses):
                faults.append(f"{name}: {len(said)} requests, {len(seen)} forwarded, and no refusal: {statuses}")
            forwarded += len(seen) > 0
            refused += len(seen) == 0
            _, theirs = self.outcome("envoy", data)
            if seen and not theirs:
                laxer.append(name)
        self.assertEqual(faults, [])
        self.assertEqual(self.origins["voltgw"].broken, [])
        self.assertEqual(sorted(laxer), sorted(LAXER))
        self.assertGreater(forwarded, 10)
        self.assertGreater(refused, 60)
