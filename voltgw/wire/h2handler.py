"""What the owner of an HTTP/2 connection is told (RFC 9113). It is never compiled, so that anybody may derive from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from voltgw.errors import BadRequest, BadResponse
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.wire.h2frames import ConnectionFault
    from voltgw.wire.h2streams import Stream


class Handler(Protocol):
    """What the owner of a connection hears. A `Bystander` overrides what it needs to hear.

    All are called from within `receive` (`on_drained`: from within `take`), may send, reset and open streams, and must not
    raise.
    """

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """A request has begun; `ended`: no body follows."""

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """A request to be answered with the status ``error.answer``; its body is ignored already."""

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """A message was malformed and its stream is reset, for the record; a stream that you know hears `on_reset`, too."""

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """An answer's head, or an interim one (``head.status < 200``)."""

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of a body. Say ``consumed(stream, len(data))`` once it has gone on: until then it takes up the window."""

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The end of a body, with the trailers that may go on, perhaps none."""

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The stream ended before its time: the peer reset it, or we did for a fault of the peer's (`ours`).

        REFUSED_STREAM that is not `ours` says that nothing was done for it, so that it may be sent again (RFC 9113 8.7);
        streams that a GOAWAY leaves out (6.8) end so, too. The stream is closed: nothing can be sent on it.
        """

    def on_drained(self, stream: Stream) -> None:
        """Of what was held for the stream, all has been framed, END_STREAM included: its source may go on."""

    def on_ended(self, stream: Stream) -> None:
        """The peer has ended a body that was ignored."""

    def on_settings(self) -> None:
        """The peer's settings are here, or changed: `can_open`, `peer_extended_connect`."""

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """The peer takes no new streams (RFC 9113 6.8); those above `last_id` have heard of it by `on_reset`."""

    def on_pong(self, payload: bytes) -> None:
        """The peer has answered our `ping`."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """The peer broke a rule of the connection: write what `take` gives (a GOAWAY), and close.

        The streams that were open are still in `streams`, but closed; they hear nothing else.
        """


class Bystander:
    """Hears only what concerns nobody: the rest would be a surprise."""

    __slots__ = ()

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """See `Handler`."""

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_drained(self, stream: Stream) -> None:
        """See `Handler`."""
        raise NotImplementedError

    def on_ended(self, stream: Stream) -> None:
        """See `Handler`."""

    def on_settings(self) -> None:
        """See `Handler`."""

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """See `Handler`."""

    def on_pong(self, payload: bytes) -> None:
        """See `Handler`."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """See `Handler`."""
        raise NotImplementedError
