"""The other side of HTTP/2 in tests: a client and an origin that speak it by the `h2` library, on the wires of `tests.proxy.rig`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from tests.proxy.rig import ProxyCase, Wire

Fields = Sequence[tuple[bytes, bytes]]

#: Settings by the names that the tests use.
_CODES: Final = {"max_streams": SettingCodes.MAX_CONCURRENT_STREAMS, "window": SettingCodes.INITIAL_WINDOW_SIZE,
                 "connect": SettingCodes.ENABLE_CONNECT_PROTOCOL}
#: What every request of these tests begins with.
ASK: Final = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop"), (b":path", b"/"))


class Seen:
    """What the other side has of one stream."""

    def __init__(self) -> None:
        self.heads: list[list[tuple[bytes, bytes]]] = []    # interim ones first
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.ended = False
        self.reset: int | None = None

    @property
    def head(self) -> list[tuple[bytes, bytes]]:
        """The last head."""
        return self.heads[-1]

    def get(self, name: bytes) -> bytes | None:
        """The value of a field that stands at most once."""
        values = [value for key, value in self.head if key == name]
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def status(self) -> int:
        """The status of the last head."""
        return int(self.get(b":status") or b"0")


class Peer2:
    """One end of an HTTP/2 connection, by the `h2` library; windows are given back as data comes unless `greedy` is off."""

    def __init__(self, wire: Wire, client: bool, **settings: int) -> None:
        self.wire = wire
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding=None, validate_outbound_headers=False,
                                               normalize_outbound_headers=False))
        self.seen: dict[int, Seen] = {}
        self.greedy = True
        self.goaways: list[ConnectionTerminated] = []
        self.requests: list[int] = []       # streams that came, in order
        if settings:                        # in the first SETTINGS frame
            values = {SettingCodes(code): value for code, value in self.h2.local_settings.items()}
            values.update({_CODES[name]: value for name, value in settings.items()})
            self.h2.local_settings = Settings(client=client, initial_values=values)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the library has to say."""
        data = self.h2.data_to_send()
        if data and not self.wire.gone:
            self.wire.send(data)

    def read(self) -> None:
        """Take what has come."""
        data = self.wire.got()
        if data:
            for event in self.h2.receive_data(data):
                self._on(event)
        self.flush()

    def _on(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaways.append(event)
            return
        stream_id = getattr(event, "stream_id", None)
        if stream_id is None:
            return
        seen = self.seen.setdefault(stream_id, Seen())
        if isinstance(event, RequestReceived):
            self.requests.append(stream_id)
            seen.heads.append(list(event.headers))
        elif isinstance(event, (ResponseReceived, InformationalResponseReceived)):
            seen.heads.append(list(event.headers))
        elif isinstance(event, DataReceived):
            seen.body += event.data
            if self.greedy and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        elif isinstance(event, TrailersReceived):
            seen.trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            seen.ended = True
        elif isinstance(event, StreamReset):
            seen.reset = int(event.error_code)

    # -- sending -----------------------------------------------------------------------------------------------------------

    def ask(self, fields: Fields = ASK, ended: bool = True) -> int:
        """Send a request; its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.seen[stream_id] = Seen()
        self.h2.send_headers(stream_id, list(fields), end_stream=ended)
        self.flush()
        return stream_id

    def send(self, stream_id: int, data: bytes, ended: bool = False) -> None:
        """Part of a body."""
        self.h2.send_data(stream_id, data, end_stream=ended)
        self.flush()

    def answer(self, stream_id: int, status: int = 200, fields: Fields = (), body: bytes = b"", ended: bool = True) -> None:
        """Send an answer's head, and a body if there is one."""
        self.h2.send_headers(stream_id, [(b":status", b"%d" % status), *fields], end_stream=ended and not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=ended)
        self.flush()

    def trailers(self, stream_id: int, fields: Fields) -> None:
        """The end of a body, with fields behind it."""
        self.h2.send_headers(stream_id, list(fields), end_stream=True)
        self.flush()

    def reset(self, stream_id: int, code: int) -> None:
        """Give a stream up."""
        self.h2.reset_stream(stream_id, code)
        self.flush()


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame; for what stands behind a GOAWAY, where the library reads no more."""
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + size]))
        data = data[9 + size:]
    return found


class Proxy2Case(ProxyCase):
    """Clients that speak HTTP/2 (`client2`), and origins that do when `origin_2` is set."""

    origin_2 = False

    def setUp(self) -> None:
        """Let both versions be spoken."""
        super().setUp()
        self.host.prior_knowledge = True
        self.http.prior_knowledge = True
        self.cluster.http2 = self.origin_2

    def client2(self, **settings: int) -> Peer2:
        """A client of HTTP/2 connects."""
        peer = Peer2(self.client(), True, **settings)
        self.turn()
        peer.read()
        return peer

    def accept2(self, **settings: int) -> Peer2:
        """The endpoint accepts the one attempt that is under way, and speaks HTTP/2."""
        peer = Peer2(self.accept(), False, **settings)
        self.settle(peer)
        return peer

    def settle(self, *peers: Peer2) -> None:
        """Let everything that is on its way arrive."""
        for _ in range(20):
            self.turn()
            for peer in peers:
                peer.read()
