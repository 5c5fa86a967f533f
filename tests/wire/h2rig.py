"""What the tests of the HTTP/2 codec share: a handler that writes down what it hears, and frames made by hand."""

from __future__ import annotations

from typing import Any

from voltgw.errors import BadRequest, BadResponse
from voltgw.values.head import Field, RequestHead, ResponseHead
from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import PREFACE, ConnectionFault, header, headers, settings
from voltgw.wire.h2handler import Bystander
from voltgw.wire.h2limits import Http2Counters, Limits
from voltgw.wire.h2streams import Stream
from voltgw.wire.hpack import Encoder
from voltgw.wire.http2 import Client, Server

GET: list[Field] = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/x?y=1")]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]


class Record(Bystander):
    """Writes down what it hears; `eager` says that bodies go on at once."""

    def __init__(self, eager: bool = True) -> None:
        self.eager = eager
        self.log: list[tuple[Any, ...]] = []
        self.streams: dict[int, Stream] = {}
        self.heads: list[RequestHead | ResponseHead] = []
        self.connection: Server | Client | None = None

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """A request."""
        self.streams[stream.id] = stream
        self.heads.append(head)
        self.log.append(("request", stream.id, head.method, head.forward, head.authority, tuple(head.fields), head.length, ended))

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """A request to be answered with an error."""
        self.streams[stream.id] = stream
        self.log.append(("bad", stream.id, error.answer))

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """A message that is none."""
        self.log.append(("malformed", stream_id))

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """An answer."""
        self.heads.append(head)
        self.log.append(("response", stream.id, head.status, tuple(head.fields), head.length, ended))

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of a body; parts that follow one another count as one, however they were cut."""
        last = self.log[-1] if self.log else ()
        if last[:2] == ("data", stream.id):
            self.log[-1] = ("data", stream.id, last[2] + data, ended)
        else:
            self.log.append(("data", stream.id, data, ended))
        if self.eager and self.connection is not None:
            self.connection.consumed(stream, len(data))

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """Trailers."""
        self.log.append(("trailers", stream.id, tuple(fields)))

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The end of a stream."""
        self.log.append(("reset", stream.id, code, ours))

    def on_drained(self, stream: Stream) -> None:
        """What was held has gone."""
        self.log.append(("drained", stream.id))

    def on_settings(self) -> None:
        """Settings."""
        self.log.append(("settings",))

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """The peer goes."""
        self.log.append(("goaway", last_id, code))

    def on_pong(self, payload: bytes) -> None:
        """An answer to a ping."""
        self.log.append(("pong", payload))

    def on_fault(self, fault: ConnectionFault) -> None:
        """The end."""
        self.log.append(("fault", fault.code))


class Bench:
    """A server or client of ours, settled, whose peer is the test; `sent` are its frames since the last look."""

    def __init__(
        self, limits: Limits | None = None, *, client: bool = False, eager: bool = True, peer: dict[int, int] | None = None,
    ) -> None:
        self.handler = Record(eager)
        self.counters = Http2Counters()
        make = Client if client else Server
        self.connection: Any = make(self.handler, limits or Limits(), self.counters)
        self.handler.connection = self.connection
        self.encoder = Encoder()
        self.now = 100.0
        self.receive((b"" if client else PREFACE) + settings(peer or {}) + frames.SETTINGS_ACK)
        self.first = self.connection.take()
        self.log.clear()

    @property
    def log(self) -> list[tuple[Any, ...]]:
        """What the handler has heard."""
        return self.handler.log

    def receive(self, *data: bytes) -> None:
        """Bytes of the peer."""
        self.connection.receive(b"".join(data), self.now)

    def block(self, fields: list[Field]) -> bytes:
        """A header block of the peer."""
        return self.encoder.encode(fields)

    def head(self, stream_id: int, fields: list[Field] = GET, ended: bool = True) -> bytes:
        """HEADERS of the peer."""
        return headers(stream_id, self.block(fields), frames.END_STREAM if ended else 0, 1 << 14)

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Type, flags, stream and payload of each frame that goes to the peer."""
        out = b""
        while more := self.connection.take():
            out += more
        return split(out.removeprefix(PREFACE))

    def codes(self) -> list[tuple[int, int]]:
        """(stream, code) of each RST_STREAM, (0, code) of GOAWAY, in what goes to the peer."""
        found = []
        for kind, _, stream_id, payload in self.sent():
            if kind == frames.RST_STREAM:
                found.append((stream_id, int.from_bytes(payload, "big")))
            elif kind == frames.GOAWAY:
                found.append((0, int.from_bytes(payload[4:8], "big")))
        return found


def data(stream_id: int, payload: bytes, ended: bool = False, padding: int | None = None) -> bytes:
    """A DATA frame."""
    flags = frames.END_STREAM if ended else 0
    if padding is not None:
        payload = bytes((padding,)) + payload + bytes(padding)
        flags |= frames.PADDED
    return header(len(payload), frames.DATA, flags, stream_id) + payload


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Any frame."""
    return header(len(payload), kind, flags, stream_id) + payload


def split(out: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each of these frames, which are whole."""
    found = []
    while out:
        high, low, kind, flags, stream_id = frames.read_header(out, 0)
        length = high << 8 | low
        found.append((kind, flags, stream_id, out[9:9 + length]))
        out = out[9 + length:]
    return found
