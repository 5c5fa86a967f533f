"""An HTTP/2 connection on its transport, whichever side it is: what the codec has to write leaves once a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.net.deadlines import NO_SLOT, TICK_S

if TYPE_CHECKING:
    from voltgw.errors import BadRequest, BadResponse
    from voltgw.interfaces import StreamTransport
    from voltgw.proxy.plane import Plane
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.wire.h2frames import ConnectionFault
    from voltgw.wire.h2receiving import Receiving
    from voltgw.wire.h2streams import Stream

_TICKS: Final = 1 / TICK_S


class Link:
    """What both sides have in common. It is its own `Deadline`, the `Handler` of its codec, and the producer of
    its transport.

    The owner of each stream is a `Pipe`. A callback of the codec must not raise: what does is a bug of that stream alone.
    """

    __slots__ = ("_in_turn", "choked", "codec", "deadline", "deadline_slot", "flushing", "plane", "transport")

    transport: StreamTransport
    codec: Receiving

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.choked = False                 # the peer does not read what we write
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._in_turn = False               # inside `_receive`, which flushes
        self.flushing = False               # a flush is due at the end of this turn

    # -- bytes -------------------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, now: float) -> None:
        self._in_turn = True
        self.codec.receive(data, now)
        self._in_turn = False
        self.flush()

    def flush_soon(self) -> None:
        """Something is to be written: all of it leaves together, at the end of the turn."""
        if not self._in_turn and not self.flushing:
            self.flushing = True
            self.plane.soon(self._flush_now)

    def _flush_now(self) -> None:
        self.flushing = False
        self.flush()

    def flush(self) -> None:
        """Write, until there is nothing or the peer has enough."""
        take, transport = self.codec.take, self.transport
        while not self.choked:
            data = take()
            if not data:
                return
            transport.write(data)

    # -- IPushProducer, for the transport --------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The peer does not keep up. It is not read from either: whatever it asks for would have to be kept."""
        self.choked = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer keeps up again."""
        self.choked = False
        self.transport.resumeProducing()
        self.flush_soon()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` says so in a moment."""

    # -- what the codec says -------------------------------------------------------------------------------------------------

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of a body."""
        pipe: Any = stream.owner
        if pipe is None:
            self.codec.consumed(stream, len(data))
            return
        try:
            pipe.received(data, ended)
        except BaseException:
            self.plane.loop.failed(pipe.protocol)

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The end of a body."""
        pipe: Any = stream.owner
        if pipe is not None:
            try:
                pipe.trailers(fields)
            except BaseException:
                self.plane.loop.failed(pipe.protocol)

    def on_drained(self, stream: Stream) -> None:
        """What was held has gone."""
        pipe: Any = stream.owner
        if pipe is not None:
            try:
                pipe.drained()
            except BaseException:
                self.plane.loop.failed(pipe.protocol)

    def on_ended(self, stream: Stream) -> None:
        """The peer has sent all of what is thrown away."""
        pipe: Any = stream.owner
        if pipe is not None:
            try:
                pipe.ended()
            except BaseException:
                self.plane.loop.failed(pipe.protocol)

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """Only a server hears it."""
        raise NotImplementedError

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """The same."""
        raise NotImplementedError

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """Only a client hears it."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The stream ended before its time."""
        raise NotImplementedError

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """A message was malformed; its stream hears of it otherwise."""

    def on_settings(self) -> None:
        """The peer's settings are here, or changed."""

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """The peer takes no new streams."""

    def on_pong(self, payload: bytes) -> None:
        """The peer has answered."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """The peer broke a rule of the connection: say so, and close."""
        self._close_soon()

    # -- inside --------------------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def _close_soon(self) -> None:
        """Close behind what the codec has to write, once."""
        raise NotImplementedError

    def _part(self) -> None:
        """Write what the codec has, whether or not the peer reads, and close."""
        self.deadline = 0.0
        self.codec.go_away()
        self.choked = False
        self.flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _touch(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline and self.deadline_slot > deadline * _TICKS + 1:
            self.plane.deadlines.schedule(self)
