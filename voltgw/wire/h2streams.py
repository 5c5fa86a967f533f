"""One stream of an HTTP/2 connection, and what the connection's owner is told of it (RFC 9113 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltgw.errors import BadRequest, BadResponse
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.wire.h2frames import ConnectionFault

#: Where urgency stands when a stream says nothing (RFC 9218 4.1).
DEFAULT_URGENCY: Final = 3


class Handler:
    """What the owner of a connection hears; one overrides what one needs.

    All are called from within `receive` (`on_drained`: from within `take`), may send, reset and open streams, and must not
    raise.
    """

    __slots__ = ()

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """A request has begun; `ended`: no body follows."""
        raise NotImplementedError

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """A request to be answered with the status ``error.answer``; its body is ignored already."""
        raise NotImplementedError

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """A message was malformed and its stream is reset, for the record; a stream that you know hears `on_reset`, too."""

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """An answer's head, or an interim one (``head.status < 200``)."""
        raise NotImplementedError

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of a body. Say ``consumed(stream, len(data))`` once it has gone on: until then it takes up the window."""
        raise NotImplementedError

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The end of a body, with the trailers that may go on, perhaps none."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The stream ended before its time: the peer reset it, or we did for a fault of the peer's (`ours`).

        REFUSED_STREAM that is not `ours` says that nothing was done for it, so that it may be sent again (RFC 9113 8.7);
        streams that a GOAWAY leaves out (6.8) end so, too. The stream is closed: nothing can be sent on it.
        """
        raise NotImplementedError

    def on_drained(self, stream: Stream) -> None:
        """Of what was held for the stream, all has been framed, END_STREAM included: its source may go on."""
        raise NotImplementedError

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
        raise NotImplementedError


class Stream:
    """One stream that was opened. `owner` is the handler's to use.

    `left` is what the peer's Content-Length still promises, -1 if it said none. `never` names fields of its head that came
    never-indexed, to be handed on so (RFC 7541 6.2.3). `head_bytes` is the size of its head on the wire, `held_bytes` waits for
    windows or for its turn. `urgency` counts from 0 (first) to 7; `incremental` streams share with others of the same urgency,
    frame by frame.
    """

    __slots__ = (
        "bodiless", "closed", "end_held", "head_bytes", "held", "held_bytes", "id", "ignored", "incremental", "left",
        "local_ended", "never", "owner", "protocol", "received_head", "recv_window", "remote_ended", "send_window",
        "trailers_held", "uncredited", "unread", "urgency",
    )

    def __init__(self, stream_id: int, send_window: int, recv_window: int) -> None:
        self.id = stream_id
        self.owner: object | None = None
        self.send_window = send_window
        self.recv_window = recv_window
        self.unread = 0                     # octets that `on_data` gave and that were not consumed
        self.uncredited = 0                 # consumed, but the peer has not heard of it yet
        self.head_bytes = 0
        self.left = -1
        self.remote_ended = False           # END_STREAM has come
        self.local_ended = False            # END_STREAM has been framed
        self.closed = False
        self.ignored = False                # what comes of its body is thrown away
        self.received_head = False          # client side: the final answer's head is here
        self.bodiless = False               # client side: the request was HEAD
        self.protocol: bytes | None = None  # of an extended CONNECT (RFC 8441)
        self.never: Sequence[bytes] = ()
        self.urgency = DEFAULT_URGENCY
        self.incremental = True             # who does not speak of priorities shares
        self.held_bytes = 0
        self.held: list[bytes | memoryview] | None = None
        self.end_held = False               # END_STREAM follows what is held
        self.trailers_held: tuple[list[Field], Sequence[bytes]] | None = None
