"""An HTTP/2 connection without its socket (RFC 9113): bytes in, calls to a `Handler` out, bytes to write from `take`.

`Server` is the side that gets requests, `Client` the one that sends them. The usual request is one HEADERS frame that ends
its stream, and goes from `receive` to `on_request` in four calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.errors import BadRequest
from voltgw.values.head import CHUNKED
from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import PREFACE, ConnectionFault
from voltgw.wire.h2heads import Malformed, MalformedAnswer, RequestReader, ResponseReader, read_priority, request_fields
from voltgw.wire.h2receiving import Receiving
from voltgw.wire.h2streams import Stream
from voltgw.wire.hpack import BadBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltgw.values.head import Field
    from voltgw.wire.h2handler import Handler
    from voltgw.wire.h2limits import Http2Counters, Limits

#: Ranges of stream numbers that a client has left out, which make an older number an error of another kind.
_REMEMBERED_GAPS: Final = 32


class Server(Receiving):
    """The side that gets requests. The first `take` gives our SETTINGS, which may be sent at once.

    With `normalised` false paths are passed on as written (``disable_path_normalize``).
    """

    __slots__ = ("_preface", "_reader")

    _answers = True

    def __init__(
        self, handler: Handler, limits: Limits, counters: Http2Counters | None = None, *, normalised: bool = True,
    ) -> None:
        self._reader = RequestReader(
            limits.max_list_bytes, limits.max_fields, normalised=normalised, extended_connect=limits.extended_connect)
        announced = {frames.MAX_CONCURRENT_STREAMS: limits.max_streams, frames.NO_RFC7540_PRIORITIES: 1}
        if limits.extended_connect:
            announced[frames.ENABLE_CONNECT_PROTOCOL] = 1
        super().__init__(handler, limits, counters, 2, self._reader.decoder, announced)
        self._preface = True                # it is still to come

    def _read(self, data: bytes) -> None:
        if not self._preface:
            self._read_frames(data, 0)
        elif data.startswith(PREFACE):
            self._preface = False
            self._read_frames(data, len(PREFACE))
        elif PREFACE.startswith(data):
            self._hold(data, 0, len(PREFACE))
        else:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "no connection preface (RFC 9113 3.4)")

    def _on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, block, ended, self._reader)
            return
        last_id = self.last_id
        if stream_id <= last_id or not stream_id & 1:
            self._skip(block)
            self._check_closed(stream_id, "HEADERS")
            return
        limits = self.limits
        if self.going_away:
            self._skip(block)
            self._spend("strays")
            return
        if stream_id > last_id + 2:
            self._gaps = [*self._gaps[1 - _REMEMBERED_GAPS:], (last_id + 1, stream_id - 1)]
        self.last_id = stream_id
        counters = self.counters
        counters.streams += 1
        self._earned_updates += 2
        if len(self.streams) >= limits.max_streams:
            counters.refused_streams += 1
            self._skip(block)
            self._reset(stream_id, frames.REFUSED_STREAM)
            self._spend("resets")
            return
        reader = self._reader
        error: BadRequest | None = None
        try:
            head = reader.read(block, ended)
        except BadBlock as problem:
            raise ConnectionFault(frames.COMPRESSION_ERROR, str(problem)) from None
        except Malformed as malformed:
            self._malformed(stream_id, malformed)
            return
        except BadRequest as refusal:
            error = refusal
        stream = self.streams[stream_id] = Stream(stream_id, self.initial_window, limits.stream_window_bytes)
        stream.remote_ended = ended
        stream.head_bytes = frames.HEADER_BYTES + len(block)
        if error is not None:
            stream.ignored = True
            if error.answer == 431:         # reading it has cost more than any other; an answer earns nothing here
                self.answered -= 1
                self._spend("resets")
            self.handler.on_bad_request(stream, error)
            return
        if reader.priority is not None:
            stream.urgency, stream.incremental = read_priority(reader.priority)
        if reader.decoder.never_indexed:
            stream.never = reader.decoder.never_indexed
        if reader.protocol is not None:
            stream.protocol = reader.protocol
        elif head.length != CHUNKED:
            stream.left = head.length
        self.handler.on_request(stream, head, ended)

    def _spend_on_reset(self) -> None:
        self._spend("resets")               # rapid reset (CVE-2023-44487)


class Client(Receiving):
    """The side that sends requests. The first `take` gives the preface and our SETTINGS."""

    __slots__ = ("_reader",)

    _most_push = 0                          # 6.5.2: a server may not say 1

    def __init__(self, handler: Handler, limits: Limits, counters: Http2Counters | None = None) -> None:
        self._reader = ResponseReader(limits.max_list_bytes, limits.max_fields)
        super().__init__(handler, limits, counters, 1, self._reader.decoder, {frames.ENABLE_PUSH: 0})
        self._out.insert(0, PREFACE)

    def open(
        self, method: bytes, scheme: bytes, authority: bytes, path: bytes, fields: list[Field], ended: bool,
        never: Sequence[bytes] = (),
    ) -> Stream:
        """Send a request's head, only while `can_open`; the body follows by `send_data` unless `ended`."""
        stream = self._open(request_fields(method, scheme, authority, path, fields), ended, never)
        stream.bodiless = method == b"HEAD"
        return stream

    def connect(self, fields: list[Field], never: Sequence[bytes] = ()) -> Stream:
        """Send an extended CONNECT (`h2heads.connect_fields`), only if `peer_extended_connect` and `can_open`."""
        return self._open(fields, False, never)

    def _open(self, fields: list[Field], ended: bool, never: Sequence[bytes]) -> Stream:
        stream_id = self._next_id
        self._next_id = stream_id + 2
        stream = self.streams[stream_id] = Stream(stream_id, self.initial_window, self.limits.stream_window_bytes)
        self.counters.streams += 1
        self._earned_updates += 2
        self.send_head(stream, fields, ended, never)
        return stream

    def _on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._skip(block)
            self._check_closed(stream_id, "HEADERS")
            return
        if stream.received_head:
            self._on_trailers(stream, block, ended, self._reader)
            return
        reader = self._reader
        try:
            head = reader.read(block, ended, stream.bodiless)
        except BadBlock as problem:
            raise ConnectionFault(frames.COMPRESSION_ERROR, str(problem)) from None
        except MalformedAnswer as malformed:
            self._malformed(stream_id, malformed)
            return
        if reader.decoder.never_indexed:
            stream.never = reader.decoder.never_indexed
        if head.status >= 200:
            stream.received_head = True
            if head.length != CHUNKED:
                stream.left = head.length
            if ended:
                stream.remote_ended = True
                if stream.local_ended:
                    self._end(stream)
        self.handler.on_response(stream, head, ended)

    def _on_data(self, stream_id: int, data: bytes, flags: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None and not stream.received_head:
            self._credit(len(data))
            self.recv_window -= len(data)
            self._malformed(stream_id, MalformedAnswer("DATA before the head (RFC 9113 8.1)"))
            return
        super()._on_data(stream_id, data, flags)

    def _left_out(self, last_id: int) -> None:
        for stream in [stream for stream in self.streams.values() if stream.id > last_id]:
            self._drop(stream)
            self.handler.on_reset(stream, frames.REFUSED_STREAM, False)

    def _on_priority_update(self, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "PRIORITY_UPDATE from a server (RFC 9218 7.1)")
