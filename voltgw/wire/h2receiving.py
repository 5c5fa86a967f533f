"""The receiving half of an HTTP/2 connection: frames, their order, and what a peer may not do (RFC 9113 4 to 6).

A peer that breaks a rule of one stream loses that stream, one that breaks a rule of the connection gets GOAWAY and nothing
else (5.4); every limit is one of `h2limits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PRIORITISED,
    ConnectionFault,
    StreamFault,
    read_header,
)
from voltgw.wire.h2heads import Malformed, MalformedAnswer, read_priority
from voltgw.wire.h2limits import Account
from voltgw.wire.h2sending import Sending
from voltgw.wire.hpack import BadBlock

if TYPE_CHECKING:
    from voltgw.errors import BadRequest
    from voltgw.wire.h2handler import Handler
    from voltgw.wire.h2heads import RequestReader, ResponseReader
    from voltgw.wire.h2limits import Http2Counters, Limits
    from voltgw.wire.h2streams import Stream
    from voltgw.wire.hpack import Decoder


class Receiving(Sending):
    """What both roles receive."""

    __slots__ = ("_accounts", "_block", "_block_bytes", "_block_flags", "_block_frames", "_block_stream", "_decoder", "_gaps",
                 "_heads_left", "_need", "_now", "_piece_bytes", "_pieces", "_settled", "heads_at_once", "more")

    def __init__(
        self, handler: Handler, limits: Limits, counters: Http2Counters | None, first_id: int, decoder: Decoder,
        announced: dict[int, int],
    ) -> None:
        super().__init__(handler, limits, counters, first_id)
        self._decoder = decoder
        self._now = 0.0
        self._pieces: list[bytes] = []              # the beginning of a frame that is not complete
        self._piece_bytes = 0
        self._need = 0                              # octets that make it complete, as far as is known
        self.heads_at_once = 1 << 30                # HEADERS that one call of `receive` takes
        self.more = False                           # it has left some for the next one, which may come without any data
        self._heads_left = 0
        self._settled = False                       # the peer's first SETTINGS are here
        self._block: list[bytes] | None = None      # a header block that CONTINUATION frames go on with
        self._block_bytes = self._block_frames = self._block_stream = self._block_flags = 0
        self._accounts: dict[str, Account] = {}
        self._gaps: list[tuple[int, int]] = []
        self.counters.connections += 1
        settings = {
            frames.MAX_HEADER_LIST_SIZE: limits.max_list_bytes, frames.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            **announced,
        }
        if limits.max_frame_bytes != frames.MIN_MAX_FRAME:
            settings[frames.MAX_FRAME_SIZE] = limits.max_frame_bytes
        self._out.append(frames.settings(settings))
        more = limits.window_bytes - self.recv_window
        if more > 0:
            self.recv_window += more
            self._out.append(frames.window_update(0, more))

    @property
    def within_head(self) -> bool:
        """Whether a header block has begun that is not complete."""
        return self._block is not None

    # -- bytes -------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take what the peer sent; `now` in monotonic seconds. Afterwards, write what `take` gives.

        With more HEADERS than `heads_at_once` the rest is kept, and `more` says so: call again, with b"", when others have had
        their turn.
        """
        if self.fault is not None:
            return
        self._now = now
        self._heads_left = self.heads_at_once
        self.more = False
        if self._pieces:
            self._pieces.append(data)
            self._piece_bytes += len(data)
            if self._piece_bytes < self._need:
                return
            data = b"".join(self._pieces)
            self._pieces = []
        try:
            self._read(data)
            if self._control > self.limits.max_queued_control:
                raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "the peer asks for more than it reads")
        except ConnectionFault as fault:
            self._fail(fault)

    def _read(self, data: bytes) -> None:
        self._read_frames(data, 0)

    def _read_frames(self, data: bytes, pos: int) -> None:
        size = len(data)
        most = self.limits.max_frame_bytes
        while size - pos >= 9:
            header: tuple[int, int, int, int, int] = read_header(data, pos)
            high, low, kind, flags, stream_id = header
            length = high << 8 | low
            begin = pos + 9
            end = begin + length
            if length > most:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a frame larger than SETTINGS_MAX_FRAME_SIZE (RFC 9113 4.2)")
            if end > size:
                self._hold(data, pos, 9 + length)
                return
            if kind == HEADERS:
                if not self._heads_left:
                    self._hold(data, pos, 0)
                    self.more = True
                    return
                self._heads_left -= 1
            pos = end
            if stream_id >> 31:
                stream_id &= frames.MAX_STREAM_ID           # 4.1: the reserved bit is ignored
            if not self._settled or self._block is not None:
                self._check_order(kind, flags, stream_id)
            try:
                if kind == HEADERS:
                    if flags & (PADDED | PRIORITISED):
                        block = self._stripped(data[begin:end], flags, stream_id)
                    else:
                        block = data[begin:end]
                    if not stream_id:
                        raise ConnectionFault(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
                    if flags & END_HEADERS:
                        self._on_block(stream_id, block, flags & END_STREAM != 0)
                    else:
                        self._begin_block(stream_id, block, flags)
                elif kind == DATA:
                    self._on_data(stream_id, data[begin:end], flags)
                elif kind == frames.WINDOW_UPDATE:
                    self._on_window_update(stream_id, data[begin:end])
                else:
                    self._on_other(kind, flags, stream_id, data[begin:end])
            except StreamFault as fault:
                self._stream_fault(stream_id, fault)
            if self.fault is not None:
                return                      # a handler has ended the connection
        if pos < size:
            self._hold(data, pos, 9)

    def _hold(self, data: bytes, pos: int, need: int) -> None:
        self._pieces = [data[pos:]]
        self._piece_bytes = len(data) - pos
        self._need = need

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        if not self._settled:
            if kind != frames.SETTINGS or flags & ACK:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS (RFC 9113 3.4)")
        elif kind != CONTINUATION or stream_id != self._block_stream:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "another frame within a header block (RFC 9113 6.10)")

    # -- header blocks -----------------------------------------------------------------------------------------------------

    def _stripped(self, payload: bytes, flags: int, stream_id: int) -> bytes:
        """The fragment of a HEADERS frame, without padding and the priority of RFC 7540, which nobody heeds any more."""
        end = len(payload)
        begin = 0
        if flags & PADDED:
            if not payload:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "HEADERS too short for its padding")
            begin = 1
            end -= payload[0]
        if flags & PRIORITISED:
            begin += 5
            if len(payload) < begin:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        if end < begin:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than frame (RFC 9113 6.2)")
        return payload[begin:end]

    def _begin_block(self, stream_id: int, fragment: bytes, flags: int) -> None:
        self._block = [fragment]
        self._block_bytes = len(fragment)
        self._block_frames = 0
        self._block_stream = stream_id
        self._block_flags = flags

    def _on_continuation(self, stream_id: int, fragment: bytes, flags: int) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "CONTINUATION without HEADERS (RFC 9113 6.10)")
        block.append(fragment)
        self._block_bytes += len(fragment)
        self._block_frames += 1
        if self._block_bytes > self.limits.max_block_bytes or self._block_frames > self.limits.max_continuations:
            raise self._flood("a header block in more octets or frames than allowed")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(stream_id, b"".join(block), self._block_flags & END_STREAM != 0)

    def _on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A header block is complete: a head or trailers."""
        raise NotImplementedError

    def _skip(self, block: bytes) -> None:
        """Read a block only for what it does to the table (RFC 9113 4.3)."""
        try:
            self._decoder.decode(block)
        except BadBlock as error:
            raise ConnectionFault(frames.COMPRESSION_ERROR, str(error)) from None
        except ValueError:
            pass                            # ListTooLarge: the table is as it should be

    def _on_trailers(self, stream: Stream, block: bytes, ended: bool, reader: RequestReader | ResponseReader) -> None:
        if stream.remote_ended:
            self._skip(block)
            raise StreamFault(frames.STREAM_CLOSED, "HEADERS behind END_STREAM (RFC 9113 5.1)")
        try:
            fields = reader.trailers(block)
            if not ended:
                raise Malformed("a second HEADERS that does not end the stream (RFC 9113 8.1)")
            if stream.left > 0:
                raise Malformed("a body shorter than its Content-Length (RFC 9113 8.1.1)")
        except BadBlock as error:
            raise ConnectionFault(frames.COMPRESSION_ERROR, str(error)) from None
        except (Malformed, MalformedAnswer) as malformed:
            self._malformed(stream.id, malformed)
            return
        stream.remote_ended = True
        if stream.local_ended:
            self._end(stream)
        if stream.ignored:
            self.handler.on_ended(stream)
        else:
            self.handler.on_trailers(stream, fields)

    # -- bodies ------------------------------------------------------------------------------------------------------------

    def _on_data(self, stream_id: int, data: bytes, flags: int) -> None:
        size = len(data)
        self.recv_window -= size
        if self.recv_window < 0:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "more DATA than the connection's window (RFC 9113 6.9.1)")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._credit(size)
            window = self._resets.get(stream_id, 0)
            if 0 < size <= window:          # it was on its way, and nobody's fault
                self._resets[stream_id] = window - size
            else:
                self._check_closed(stream_id, "DATA")
            return
        if stream.remote_ended:
            self._credit(size)
            raise StreamFault(frames.STREAM_CLOSED, "DATA behind END_STREAM (RFC 9113 5.1)")
        stream.recv_window -= size
        if stream.recv_window < 0:
            self._credit(size)
            raise StreamFault(frames.FLOW_CONTROL_ERROR, "more DATA than the stream's window (RFC 9113 6.9.1)")
        stream.unread += size
        if flags & PADDED:
            if not size or data[0] >= size:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than frame (RFC 9113 6.1)")
            data = data[1:size - data[0]]
            self.consumed(stream, size - len(data))
            size = len(data)
        ended = flags & END_STREAM != 0
        if not size and not ended:
            self._spend("empty_data")
        left = stream.left
        if left >= 0:
            stream.left = left = left - size
            if (left < 0 or (ended and left)) and not stream.ignored:
                self._malformed(stream_id, Malformed("a body of another length than its Content-Length (RFC 9113 8.1.1)"))
                return
        if ended:
            stream.remote_ended = True
            if stream.local_ended:
                self._end(stream)
        if stream.ignored:
            self.consumed(stream, size)
            if ended:
                if self._answers and stream.local_ended:
                    self._thank()
                self.handler.on_ended(stream)
        else:
            self.handler.on_data(stream, data, ended)

    # -- the other frames --------------------------------------------------------------------------------------------------

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a WINDOW_UPDATE that has not 4 octets (RFC 9113 6.9)")
        self._spend("window_updates")
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if not stream_id:
            if not increment:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "a WINDOW_UPDATE by 0 (RFC 9113 6.9)")
            self.send_window += increment
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a window above 2^31-1 (RFC 9113 6.9.1)")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._idle(stream_id):
                raise ConnectionFault(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream (RFC 9113 5.1)")
            return                          # 5.1: it may have been on its way when the stream ended
        if not increment:
            raise StreamFault(frames.PROTOCOL_ERROR, "a WINDOW_UPDATE by 0 (RFC 9113 6.9)")
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise StreamFault(frames.FLOW_CONTROL_ERROR, "a window above 2^31-1 (RFC 9113 6.9.1)")

    def _on_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.SETTINGS:
            self._on_settings(stream_id, payload, flags)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(stream_id, payload)
        elif kind == frames.PING:
            if stream_id:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "PING on a stream (RFC 9113 6.7)")
            if len(payload) != 8:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a PING that has not 8 octets (RFC 9113 6.7)")
            self._spend("pings")
            if flags & ACK:
                self.handler.on_pong(payload)
            else:
                self._put(frames.ping(payload, ACK))
        elif kind == CONTINUATION:
            self._on_continuation(stream_id, payload, flags)
        elif kind == frames.GOAWAY:
            self._on_goaway(stream_id, payload)
        elif kind == frames.PRIORITY:
            self._spend("priorities")
            if not stream_id:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "PRIORITY on stream 0 (RFC 9113 6.3)")
            if len(payload) != 5:
                raise StreamFault(frames.FRAME_SIZE_ERROR, "a PRIORITY that has not 5 octets (RFC 9113 6.3)")
        elif kind == frames.PRIORITY_UPDATE:
            self._spend("priorities")
            self._on_priority_update(stream_id, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "PUSH_PROMISE, which is not allowed (RFC 9113 8.4)")
        else:
            self._spend("strays")           # 5.5: ignored

    def _on_settings(self, stream_id: int, payload: bytes, flags: int) -> None:
        if stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "SETTINGS on a stream (RFC 9113 6.5)")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "SETTINGS of a wrong size (RFC 9113 6.5)")
        self._spend("settings")
        if flags & ACK:
            return
        values = frames.read_settings(payload)
        if values.get(frames.ENABLE_PUSH, 0) > self._most_push:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a wrong SETTINGS_ENABLE_PUSH (RFC 9113 6.5.2)")
        self.max_frame = values.get(frames.MAX_FRAME_SIZE, self.max_frame)
        if not frames.MIN_MAX_FRAME <= self.max_frame <= frames.MAX_MAX_FRAME:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a wrong SETTINGS_MAX_FRAME_SIZE (RFC 9113 6.5.2)")
        window = values.get(frames.INITIAL_WINDOW_SIZE, self.initial_window)
        if window > frames.MAX_WINDOW:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 (RFC 9113 6.5.2)")
        if window != self.initial_window:
            change = window - self.initial_window
            self.initial_window = window
            for stream in self.streams.values():        # 6.9.2; a window may become negative
                stream.send_window += change
                if stream.send_window > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a window above 2^31-1 (RFC 9113 6.9.2)")
        if frames.HEADER_TABLE_SIZE in values:
            self.encoder.resize(values[frames.HEADER_TABLE_SIZE])
        self.peer_max_streams = values.get(frames.MAX_CONCURRENT_STREAMS, self.peer_max_streams)
        self.peer_max_list_bytes = values.get(frames.MAX_HEADER_LIST_SIZE, self.peer_max_list_bytes)
        connect = values.get(frames.ENABLE_CONNECT_PROTOCOL)
        if connect is not None:
            if connect > 1 or (self.peer_extended_connect and not connect):
                raise ConnectionFault(frames.PROTOCOL_ERROR, "a wrong SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3)")
            self.peer_extended_connect = connect == 1
        self._settled = True
        self._put(frames.SETTINGS_ACK)
        self.handler.on_settings()

    _most_push = 1                          # what the peer may say of ENABLE_PUSH

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "RST_STREAM on stream 0 (RFC 9113 6.4)")
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "an RST_STREAM that has not 4 octets (RFC 9113 6.4)")
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._idle(stream_id):
                raise ConnectionFault(frames.PROTOCOL_ERROR, "RST_STREAM on an idle stream (RFC 9113 5.1)")
            self._spend("strays")
            return
        self.counters.resets_received += 1
        self._drop(stream)
        self.handler.on_reset(stream, int.from_bytes(payload, "big"), False)
        self._spend_on_reset()

    def _spend_on_reset(self) -> None:
        """A reset from the peer: whether that costs it anything."""

    def _on_goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "GOAWAY on a stream (RFC 9113 6.8)")
        if len(payload) < 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a GOAWAY of less than 8 octets (RFC 9113 6.8)")
        self._spend("strays")
        self.counters.goaways_received += 1
        self.peer_going_away = True
        last_id = int.from_bytes(payload[:4], "big") & frames.MAX_STREAM_ID
        self._left_out(last_id)
        self.handler.on_goaway(last_id, int.from_bytes(payload[4:8], "big"), payload[8:])

    def _left_out(self, last_id: int) -> None:
        """The peer takes no streams of ours above `last_id`."""

    def _on_priority_update(self, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 4:
            raise ConnectionFault(frames.PROTOCOL_ERROR if stream_id else frames.FRAME_SIZE_ERROR,
                                  "a PRIORITY_UPDATE on a stream, or too short (RFC 9218 7.1)")
        which = int.from_bytes(payload[:4], "big") & frames.MAX_STREAM_ID
        if not which:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a PRIORITY_UPDATE for stream 0 (RFC 9218 7.1)")
        stream = self.streams.get(which)
        if stream is not None:
            stream.urgency, stream.incremental = read_priority(payload[4:])

    # -- faults ------------------------------------------------------------------------------------------------------------

    def _idle(self, stream_id: int) -> bool:
        """Whether nobody has opened this stream, nor one after it."""
        if stream_id & 1 == self._next_id & 1:
            return stream_id >= self._next_id
        return stream_id > self.last_id

    def _check_closed(self, stream_id: int, what: str) -> None:
        """A frame on a stream that is not open: ignored only if it may have crossed our RST_STREAM (RFC 9113 5.1)."""
        if stream_id in self._resets or (self.going_away and stream_id > self.last_id):
            self._spend("strays")
            return
        if not stream_id or self._idle(stream_id):
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"{what} on an idle stream (RFC 9113 5.1)")
        if any(low <= stream_id <= high for low, high in self._gaps):
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"{what} on a stream that was left out (RFC 9113 5.1.1)")
        raise ConnectionFault(frames.STREAM_CLOSED, f"{what} on a closed stream (RFC 9113 5.1)")

    def _stream_fault(self, stream_id: int, fault: StreamFault) -> None:
        """Reset a stream for a fault of the peer's; it costs the peer (MadeYouReset, CVE-2025-8671)."""
        stream = self.streams.get(stream_id)
        self._reset(stream_id, fault.code)
        if stream is not None:
            self._drop(stream)
            self.handler.on_reset(stream, fault.code, True)
        self._spend("resets")

    def _malformed(self, stream_id: int, error: BadRequest | MalformedAnswer) -> None:
        self.counters.malformed += 1
        self.handler.on_malformed(stream_id, error)
        self._stream_fault(stream_id, StreamFault(frames.PROTOCOL_ERROR, str(error)))

    def _spend(self, kind: str) -> None:
        account = self._accounts.get(kind)
        if account is None:
            account = self._accounts[kind] = Account(getattr(self.limits, kind), self._now)
        if kind == "window_updates":
            account.earn(self._earned_updates)
            self._earned_updates = 0
        elif kind == "resets":
            account.earn(self.answered)
            self.answered = 0
        if not account.spend(self._now):
            self.counters.spent[kind] += 1
            raise self._flood(f"too many {kind.replace('_', ' ')}")

    def _flood(self, why: str) -> ConnectionFault:
        self.counters.floods += 1
        return ConnectionFault(frames.ENHANCE_YOUR_CALM, f"{why} (RFC 9113 10.5)")

    def _fail(self, fault: ConnectionFault) -> None:
        self.counters.faults += 1
        self.counters.goaways_sent += 1
        self.fault = fault
        self.going_away = True
        self._waiting.clear()
        self._pieces = []
        self.more = False
        self._block = None
        for stream in self.streams.values():
            stream.closed = True
            stream.held = None
        self._out.append(frames.goaway(self.last_id, fault.code, str(fault).encode("ascii", "replace")))
        self.handler.on_fault(fault)
