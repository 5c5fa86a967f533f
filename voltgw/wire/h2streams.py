"""One stream of an HTTP/2 connection (RFC 9113 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltgw.values.head import Field

#: Where urgency stands when a stream says nothing (RFC 9218 4.1).
DEFAULT_URGENCY: Final = 3


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

    @property
    def holds(self) -> bool:
        """Whether something waits to be framed. A compiled module believes `held` to be what it was before a call."""
        return self.held is not None
