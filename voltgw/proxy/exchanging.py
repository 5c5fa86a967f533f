"""What one exchange under way knows of itself, and what those who carry it must be able to do.

`voltgw.proxy.sending` has the way to an endpoint, which is the same for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.net.deadlines import NO_SLOT
from voltgw.proxy.answering import begin_answer
from voltgw.proxy.phases import READY
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed, ProxyError
    from voltgw.interfaces import StreamTransport
    from voltgw.proxy.ask import Ask
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.routing.table import Route, VirtualHost
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.values.identity import Identity
    from voltgw.values.reply import Reply
    from voltgw.values.retry import MirrorPlan


class Exchanging:
    """One exchange at a time, and what is known of it on its way to an endpoint and back. `Sender` is what it does.

    A subclass makes the `Exchange`, calls `_forward` once the request's head is there, streams the body (`_stream_body`) and
    takes the end (`answered` or `_answer`). `phase` says where the request's bytes stand.

    Of an answer the `Upstream` writes the body to `transport`, and for a `plain` client, one of HTTP/1.1, the head as well
    (in line; an answer that came by HTTP/2, by `answer_head`). A client that is not plain frames the head itself, and its
    `transport` the body. `answered` is the end of it, with `trailers` if there were any.
    """

    __slots__ = (
        "_ask", "_cluster", "_endpoint", "_forwarded", "_kept", "_limit_at", "_plane", "_producing", "_replayable",
        "_try_at", "_upstream", "_whole", "_wire", "answering", "aside", "behind", "body_timeout_s", "choked", "deadline",
        "deadline_slot", "exchange", "host", "monotonic", "must_close", "phase", "plain", "route", "shadow", "trailers",
        "transport", "tried", "upgrade", "wall",
    )

    transport: StreamTransport

    def __init__(self, plane: Plane) -> None:
        self.plain = True
        self.exchange: Exchange | None = None
        self.route: Route | None = None
        self.host: VirtualHost | None = None
        self.must_close = False             # the present answer is the last one on this connection
        self.choked = False                 # the client does not read what we write
        self.answering: EndpointConnection | None = None      # whose answer's body is on its way to the client
        self.aside: list[EndpointConnection] | None = None    # earlier tries that may still be answered, see `Outbound.late`
        self.shadow: MirrorPlan | None = None       # where the request is copied once its body is complete
        self.tried = False                  # an answer must be looked at before it is passed on: there was another try
        self.upgrade: bytes | None = None   # the protocol that the endpoint was asked to switch to
        self.body_timeout_s = BODY_IDLE_TIMEOUT_S
        self.phase = READY
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self.monotonic = plane.monotonic
        self.wall = plane.wall
        self._plane = plane
        self._forwarded = b""               # what endpoints are told of a client that says nothing of itself
        self._upstream: EndpointConnection | None = None      # the present try
        self._cluster: Any = None           # a `Cluster` or a `Subset`; routes know it as an `UpstreamCluster`
        self._whole: Cluster | None = None  # the same, or the cluster of which it is a subset, whose counts and limits hold
        self._endpoint: Endpoint | None = None      # the endpoint of the present try, whose `active` we have raised
        self._producing = False             # registered as the producer of the upstream's transport
        self.behind: list[Field] | None = None      # what came behind a request's body of unknown length
        self.trailers: list[Field] | None = None    # what came behind the answer's body
        self._wire = b""                    # what is sent first: head, and the body's beginning
        self._ask: Ask | None = None        # the same where the endpoints speak HTTP/2, or may; then `_wire` is empty
        self._kept: list[bytes] = []        # what was sent of the body behind that, as far as it is kept
        self._replayable = False            # `_wire` and `_kept` are the whole request so far
        self._limit_at = 0.0                # when the exchange must be over (route timeout), 0.0 = never
        self._try_at = 0.0                  # when the present try must have an answer (per-try timeout), 0.0 = never

    @property
    def is_over(self) -> bool:
        """Whether there is no exchange any more. A compiled module believes `exchange` to be what it was before a call."""
        return self.exchange is None

    # -- what the subclasses do --------------------------------------------------------------------------------------------

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """The endpoint's answer has gone to the client, whole."""
        raise NotImplementedError

    def switched(self, upstream: EndpointConnection, response: ResponseHead, rest: bytes, now: float) -> None:
        """The endpoint has switched to the protocol in `upgrade`; `rest` is what came behind its 101."""
        raise NotImplementedError

    def interim(self, response: ResponseHead) -> None:
        """A 1xx answer (RFC 9110 15.2) to pass on."""
        raise NotImplementedError

    def answer_head(self, response: ResponseHead, length: int, body: bytes, ended: bool) -> bool:
        """The head of an answer, edited, with what came of its body; whether the rest must be put into chunks.

        `length` is the body's, `CHUNKED` or `UNTIL_CLOSE` where it is not known. `ended`: this is all of it.
        """
        return begin_answer(self, response, length, body, ended)

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """The endpoint did not accept."""
        raise NotImplementedError

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """The endpoint's side ended badly; `reused`: a pooled connection that closed before a byte of the answer.

        The connection to it is gone already.
        """
        raise NotImplementedError

    def late(self, upstream: EndpointConnection, now: float) -> bool:
        """The answer has not begun in time; whether it may go on all the same."""
        raise NotImplementedError

    def rejects(self, upstream: EndpointConnection, response: ResponseHead, now: float) -> bool:
        """An answer's head is here that may not be the one to pass on; True: it is not, and `upstream` has left us."""
        raise NotImplementedError

    def replaced(self, lane: EndpointConnection, upstream: EndpointConnection) -> None:
        """The endpoint has chosen HTTP/1.1: the try on `lane` goes on with `upstream`."""
        self._upstream = upstream

    def own_connection(self, lane: EndpointConnection) -> None:
        """The same, but somebody else has that connection: the try needs its own."""
        raise NotImplementedError

    def crashed(self) -> None:
        """A bug of ours in this exchange: the guard has logged it."""
        raise NotImplementedError

    def _answer(self, reply: Reply, now: float) -> None:
        """Answer ourselves; the exchange ends."""
        raise NotImplementedError

    def _stream_body(self, now: float) -> None:
        """The head is sent, the body is not complete: let it flow, at the endpoint's pace."""
        raise NotImplementedError

    def _buffer(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> bool:
        """The body has a bound, or shall be whole before an endpoint is chosen.

        True: it is seen to, and `_forward` called again when the body is here, or the request is refused.
        """
        raise NotImplementedError

    def _drop(self) -> None:
        """The exchange needs no endpoint any more: give up every try, so that the endpoints notice."""
        raise NotImplementedError

    def _mirror(self, plan: MirrorPlan, exchange: Exchange) -> None:
        """The route asks for copies of some requests."""
        raise NotImplementedError

    def _about_client(self, exchange: Exchange, identity: Identity | None) -> bytes:
        """`_forwarded` for a client that says something of itself, or for a host that asks for more."""
        raise NotImplementedError

    def _own_names(self) -> Mapping[bytes, bytes]:
        """How the client has written the names of its fields, by their lower-case form; nothing where that is not known."""
        raise NotImplementedError
