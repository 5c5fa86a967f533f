"""The sending half of an HTTP/2 connection: windows, and whose data goes next (RFC 9113 6.9; RFC 9218 10).

What is to be sent is collected until `Sending.take`, so that everything that happens in one turn leaves in one write. Data for
which there is no window, or that comes while much waits already, stays with its stream and leaves in the order of urgency,
in turns among equals. Its owner hears of it (`send_data` gives False), stops reading the source, and goes on at `on_drained`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from voltgw.wire.h2frames import (
    DATA,
    DEFAULT_WINDOW,
    END_STREAM,
    MAX_STREAM_ID,
    MIN_MAX_FRAME,
    NO_ERROR,
    goaway,
    header,
    header_of,
    headers,
    ping,
    rst_stream,
    window_update,
)
from voltgw.wire.h2limits import Http2Counters
from voltgw.wire.hpack import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltgw.values.head import Field
    from voltgw.wire.h2frames import ConnectionFault
    from voltgw.wire.h2handler import Handler
    from voltgw.wire.h2limits import Limits
    from voltgw.wire.h2streams import Stream

#: How much DATA waits in one `take` before more of it stays with its stream.
BURST_BYTES: Final = 64 * 1024
#: Streams that we reset and whose frames, on their way already, are ignored (RFC 9113 5.1); the oldest are forgotten.
REMEMBERED_RESETS: Final = 256
#: A DATA frame so large, or the last one, is progress; smaller ones may be what a peer with tiny windows asks for.
_PROGRESS_BYTES: Final = 1024
_EARNED_BY_DATA: Final = 20
#: To what windows grow at most for the rest of a request that is answered already, which is thrown away.
EARLY_BYTES: Final = 1 << 30


class Sending:
    """What both roles of a connection send."""

    __slots__ = (
        "_control", "_earned_updates", "_lent", "_next_id", "_out", "_out_data", "_resets", "_uncredited", "_waiting",
        "answered", "counters", "encoder", "fault", "going_away", "handler", "initial_window", "last_id", "limits", "max_frame",
        "peer_extended_connect", "peer_going_away", "peer_max_list_bytes", "peer_max_streams", "recv_window", "send_window",
        "streams",
    )

    #: Whether what ends here are answers, which may come before the requests are complete.
    _answers: ClassVar[bool] = False

    def __init__(self, handler: Handler, limits: Limits, counters: Http2Counters | None, first_id: int) -> None:
        self.handler = handler
        self.limits = limits
        self.counters = counters if counters is not None else Http2Counters()
        self.streams: dict[int, Stream] = {}
        self.encoder = Encoder()
        self.send_window = DEFAULT_WINDOW
        self.recv_window = DEFAULT_WINDOW
        self.max_frame = MIN_MAX_FRAME              # the largest that the peer takes
        self.initial_window = DEFAULT_WINDOW        # of each stream, towards the peer
        self.peer_max_streams = MAX_STREAM_ID       # unlimited until it says otherwise (RFC 9113 6.5.2)
        self.peer_max_list_bytes: int | None = None
        self.peer_extended_connect = False
        self.peer_going_away = False
        self.going_away = False                     # our GOAWAY has named the last stream that we take
        self.fault: ConnectionFault | None = None
        self.last_id = 0                            # the highest of the peer's streams so far
        self.answered = 0                           # streams that ended as they should, since `resets` was last drawn on
        self._next_id = first_id
        self._out: list[bytes | memoryview] = []
        self._out_data = 0                          # octets of DATA in it
        self._control = 0                           # frames in it that nobody asked for but the peer
        self._waiting: dict[Stream, None] = {}      # streams with something held, in turn
        self._uncredited = 0                        # consumed, but the peer has not heard of it yet
        self._lent = 0                              # what the connection's window has grown beyond its size, for early answers
        self._resets: dict[int, int] = {}           # with what may still come, as the peer has not heard of it
        self._earned_updates = 0                    # WINDOW_UPDATE frames that our data is worth

    # -- what is to be written ---------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What is to be written now, b"" for nothing; call it again until then, or until the transport has enough."""
        if self._waiting and self._out_data < BURST_BYTES:
            self._share_out()
        out = self._out
        if not out:
            return b""
        self._out = []
        self._out_data = self._control = 0
        return b"".join(out)

    @property
    def can_open(self) -> bool:
        """Whether `open` may be called now (client side)."""
        return (len(self.streams) < self.peer_max_streams and not self.peer_going_away and not self.going_away
                and self.fault is None and self._next_id <= MAX_STREAM_ID)

    # -- messages ----------------------------------------------------------------------------------------------------------

    def send_head(self, stream: Stream, fields: Iterable[Field], ended: bool, never: Sequence[bytes] = ()) -> int:
        """A head (`h2heads.response_fields`), or an interim one; returns its octets. Nothing happens on a closed stream."""
        if stream.closed or stream.local_ended:
            return 0
        if ended and self._answers and not stream.remote_ended:
            self._early(stream)
        block = self.encoder.encode(fields, never)
        frame = headers(stream.id, block, END_STREAM if ended else 0, self.max_frame)
        self._out.append(frame)
        if ended:
            stream.local_ended = True
            if stream.remote_ended:
                self._end(stream)
        return len(frame)

    def send_answer(self, stream: Stream, fields: Iterable[Field], body: bytes) -> int:
        """A head and its whole body: `send_head` and `send_data` in one, for the usual small answer; the octets of the head."""
        size = len(body)
        if (not size or stream.local_ended or stream.closed or not stream.remote_ended or size > stream.send_window
                or size > self.send_window or size > self.max_frame or self._out_data >= BURST_BYTES):
            sent = self.send_head(stream, fields, not size)
            if size:
                self.send_data(stream, body, True)
            return sent
        stream_id = stream.id
        head = headers(stream_id, self.encoder.encode(fields), 0, self.max_frame)
        self._out += (head, header_of(size >> 8, size & 0xFF, DATA, END_STREAM, stream_id), body)
        stream.send_window -= size
        self.send_window -= size
        self._out_data += size
        self._earned_updates += _EARNED_BY_DATA
        stream.local_ended = stream.closed = True
        del self.streams[stream_id]         # as `_end` does
        self.answered += 1
        return len(head)

    def send_data(self, stream: Stream, data: bytes, ended: bool = False) -> bool:
        """Part of a body, and perhaps its end. False: some of it is held, `on_drained` will be called."""
        if stream.closed or stream.local_ended or stream.end_held:
            return True
        if ended and self._answers and not stream.remote_ended:
            self._early(stream)
        size = len(data)
        if stream.held is None and (not size or (
            size <= stream.send_window and size <= self.send_window and size <= self.max_frame
            and self._out_data < BURST_BYTES
        )):
            if ended:
                self._out.append(header(size, DATA, END_STREAM, stream.id))
                stream.local_ended = True
                self._earned_updates += _EARNED_BY_DATA
            elif size:
                self._out.append(header(size, DATA, 0, stream.id))
                if size >= _PROGRESS_BYTES:
                    self._earned_updates += _EARNED_BY_DATA
            if size:
                stream.send_window -= size
                self.send_window -= size
                self._out_data += size
                self._out.append(data)
            if ended and stream.remote_ended:
                self._end(stream)
            return True
        if stream.held is None:
            stream.held = []
            self._waiting[stream] = None
        stream.held.append(data)
        stream.held_bytes += size
        stream.end_held = ended
        if len(self._waiting) == 1:         # nobody else's turn
            self._advance(stream, BURST_BYTES - self._out_data)
        return not stream.holds

    def send_trailers(self, stream: Stream, fields: list[Field], never: Sequence[bytes] = ()) -> bool:
        """The end of a body, with `fields` behind it. False: it is held, `on_drained` will be called."""
        if stream.closed or stream.local_ended or stream.end_held:
            return True
        if stream.held is None:
            self.send_head(stream, fields, True, never)
            return True
        if self._answers and not stream.remote_ended:
            self._early(stream)
        stream.end_held = True
        stream.trailers_held = fields, never
        return False

    def reset(self, stream: Stream, code: int) -> None:
        """Give the stream up, without `on_reset`. What still comes for it is ignored."""
        if not stream.closed:
            self._reset(stream.id, code, stream.recv_window)
            self._drop(stream)

    def ignore(self, stream: Stream) -> None:
        """What still comes of the peer's body is thrown away, and does not count against the windows."""
        stream.ignored = True
        self.consumed(stream, stream.unread)

    def consumed(self, stream: Stream, count: int) -> None:
        """`count` octets of what `on_data` gave have gone on: the peer may send as many again."""
        if count > stream.unread:
            count = stream.unread
        if count <= 0:
            return
        stream.unread -= count
        self._credit(count)
        if not stream.remote_ended and not stream.closed:
            stream.uncredited += count
            if (stream.uncredited * 2 >= self.limits.stream_window_bytes
                    and not (stream.ignored and 0 <= stream.left <= stream.recv_window)):
                stream.recv_window += stream.uncredited
                self._put(window_update(stream.id, stream.uncredited))
                stream.uncredited = 0

    # -- the connection ----------------------------------------------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Ask the peer for a sign of life; `payload` (eight octets) comes back by `on_pong`."""
        self._out.append(ping(payload))

    def announce_end(self) -> None:
        """The first of two GOAWAY (RFC 9113 6.8): no new streams, please; those on their way are still taken."""
        self.counters.goaways_sent += 1
        self._out.append(goaway(MAX_STREAM_ID, NO_ERROR))

    def go_away(self, code: int = NO_ERROR, debug: bytes = b"") -> None:
        """The last GOAWAY: streams that come now are ignored, the open ones go on."""
        if not self.going_away:
            self.going_away = True
            self.counters.goaways_sent += 1
            self._out.append(goaway(self.last_id, code, debug))

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _share_out(self) -> None:
        """Frame what is held, most urgent first, one frame each in turn."""
        waiting = self._waiting
        while waiting and self._out_data < BURST_BYTES:
            chosen: Stream | None = None
            for stream in waiting:
                if (chosen is None or stream.urgency < chosen.urgency) and (
                    not stream.held_bytes or (stream.send_window > 0 and self.send_window > 0)
                ):
                    chosen = stream
            if chosen is None:
                return
            self._advance(chosen, min(self.max_frame, BURST_BYTES - self._out_data))
            if chosen.held is None:
                self.handler.on_drained(chosen)
            elif chosen.incremental:
                del waiting[chosen]         # to the end of the row
                waiting[chosen] = None

    def _advance(self, stream: Stream, room: int) -> None:
        """Frame what windows and `room` allow of what `stream` holds."""
        held = stream.held
        assert held is not None
        total = stream.held_bytes
        most = min(room, total, stream.send_window, self.send_window)
        if most > 0:
            if len(held) > 1:
                held[:] = [b"".join(held)]
            data = memoryview(held[0])
            pos = 0
            out = self._out
            while pos < most:
                size = min(self.max_frame, most - pos)
                last = stream.end_held and pos + size == total and stream.trailers_held is None
                out.append(header(size, DATA, END_STREAM if last else 0, stream.id))
                out.append(data[pos:pos + size])
                pos += size
                if last:
                    stream.local_ended = True
                if last or size >= _PROGRESS_BYTES:
                    self._earned_updates += _EARNED_BY_DATA
            stream.send_window -= pos
            self.send_window -= pos
            self._out_data += pos
            stream.held_bytes = total = total - pos
            held[0] = data[pos:]
        if total:
            return
        stream.held = None
        del self._waiting[stream]
        if not stream.end_held:
            return
        stream.end_held = False
        if stream.trailers_held is not None:
            fields, never = stream.trailers_held
            stream.trailers_held = None
            self.send_head(stream, fields, True, never)
        elif not stream.local_ended:
            self._out.append(header(0, DATA, END_STREAM, stream.id))
            stream.local_ended = True
            if stream.remote_ended:
                self._end(stream)
        elif stream.remote_ended:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        """Both sides have ended: the stream is closed, as it should be. What is unread may still be consumed."""
        stream.closed = True
        del self.streams[stream.id]
        self.answered += 1

    def _drop(self, stream: Stream) -> None:
        """The stream is closed before its time."""
        stream.closed = True
        del self.streams[stream.id]
        self._waiting.pop(stream, None)
        stream.held = None
        stream.held_bytes = 0
        stream.trailers_held = None
        unread, stream.unread = stream.unread, 0
        self._credit(unread)

    def _early(self, stream: Stream) -> None:
        """An answer ends before its request: what is left of that, the peer may send in one go.

        It should stop when it sees the answer (RFC 9113 8.1), and many do. But there are clients, curl 7.88 among them, that
        send all they have and read nothing meanwhile: they never see the WINDOW_UPDATE that they wait for if it comes behind
        the answer, and lose the answer if the stream is reset. What comes is thrown away, so it takes no memory; the
        connection's window shrinks to its size again as data arrives.
        """
        if stream.protocol is not None or stream.end_held:
            return                          # a tunnel has two ways; or it is the second time
        rest = min(stream.left, EARLY_BYTES) if stream.left >= 0 else EARLY_BYTES
        more = rest - stream.recv_window
        if more <= 0:
            return
        stream.recv_window += more
        self._put(window_update(stream.id, more))
        more = rest - self.recv_window
        if more > 0:
            self.recv_window += more
            self._lent += more
            self._put(window_update(0, more))

    def _thank(self) -> None:
        """The rest of a request that was answered early is here: tell the peer of its credit now, however little it is.

        The clients of `_early` wait for a sign of life before they see that the stream is over.
        """
        count, self._uncredited = self._uncredited, 0
        if not count:
            count = 1
            self._lent += 1
        self.recv_window += count
        self._put(window_update(0, count))

    def _reset(self, stream_id: int, code: int, window: int = 0) -> None:
        self.counters.resets_sent += 1
        resets = self._resets
        if len(resets) >= REMEMBERED_RESETS:
            del resets[next(iter(resets))]
        resets[stream_id] = window
        self._put(rst_stream(stream_id, code))

    def _credit(self, count: int) -> None:
        """The peer may send `count` octets more on the connection."""
        if self._lent:
            kept = min(self._lent, count)
            self._lent -= kept
            count -= kept
        self._uncredited += count
        if self._uncredited * 2 >= self.limits.window_bytes:
            self.recv_window += self._uncredited
            self._put(window_update(0, self._uncredited))
            self._uncredited = 0

    def _put(self, frame: bytes) -> None:
        """A frame that the peer causes; `receive` sees to it that not too many wait when the peer does not read."""
        self._control += 1
        self._out.append(frame)
