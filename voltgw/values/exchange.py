"""One request in flight, from its complete head to its access-log line.

The exchange *is* the access record: when it ends, the data plane hands the same object to the access log, which formats
it later in a batch. So it must not hold streams or buffers once it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from voltgw.values.counters import RouteCounters
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.values.identity import Proof, User
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake
    from voltgw.values.trace import Trace


class ClientSide(Protocol):
    """What an exchange may know of the client's connection."""

    peer_address: str               # the address the bytes come from
    peer_port: int
    local_address: str
    local_port: int
    scheme: bytes                   # b"http" or b"https"
    sni: str
    tls_version: str
    tls_cipher: str
    handshake: Handshake | None     # None without TLS
    certified: bytes                # the lines that tell endpoints of the client's certificate, joined; b"" for none
    connected_wall: float           # seconds since the epoch
    listener: str                   # the listener's name, "127.0.0.1:8080"

    @property
    def announced(self) -> ProxyHeader | None:
        """What the proxy before us has said of the client in a PROXY header; None: there was none."""

    @property
    def came_to(self) -> tuple[str, int]:
        """The (address, port) that the client connected to: as its proxy says, else ours."""


class HostLabels(Protocol):
    """What a record says of the virtual host that took the request."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def app_type(self) -> str:
        """The service mesh it belongs to, "" for none."""

    @property
    def proxy(self) -> str:
        """``HTTP_PROXY``, …"""


class RouteLabels(Protocol):
    """What a record says of the route that took the request."""

    @property
    def name(self) -> str:
        """``<route object>/<index in it>``."""

    @property
    def host(self) -> HostLabels:
        """The virtual host."""

    @property
    def counters(self) -> RouteCounters:
        """Where its requests are counted."""


class EndpointLabels(Protocol):
    """What a record says of the endpoint that answered."""

    @property
    def cluster(self) -> str:
        """``namespace/name``."""

    @property
    def address(self) -> str:
        """An IP literal."""

    @property
    def port(self) -> int:
        """Its port."""

    @property
    def site(self) -> str:
        """Its site, "" for our own."""


class BodyTransform(Protocol):
    """Changes an answer's body on its way to the client; a response filter sets one as `Exchange.transform`.

    It sees the body's octets without any framing. Whatever it raises is a bug.
    """

    def feed(self, data: bytes) -> bytes:
        """What may go on of what has come so far; b"" when that is nothing yet."""

    def finish(self) -> bytes:
        """The body is complete: the rest of what goes on."""


class Exchange:
    """One request, its answer so far, and what the log will say of it.

    All `t_*` are monotonic seconds, 0.0 = has not happened. `flag` is the response flag ("" = nothing unusual), `detail`
    says the same in a word. `bytes_in`/`bytes_out` count the client's side, heads included. `attempts` counts the tries;
    `tries` names those that failed, as (endpoint, what became of it), None when none did. `cookies_to_set` are values of
    Set-Cookie fields that the answer of an endpoint gets besides its own. `transform` is dropped when the exchange ends.
    `believed_scheme` is only there when a believed peer has said by what scheme its own client came.
    `limit` is the rate limit that refused, or only reported, and the user in short ("" = none); `trace` is None unless the
    virtual host takes part in tracing. `quota` (fields that tell the client where it stands) is only there when there is
    something to say, `held` while it counts as under way (`voltgw.security.at_once`). `grpc_status` is what the answer to a
    call of gRPC says; `rollout` is the name of the rollout that shares the requests out, and ``baseline`` or ``candidate``.
    """

    __slots__ = (
        "attempts", "believed_scheme", "bytes_in", "bytes_out", "client", "client_address", "cookies_to_set", "detail",
        "endpoint", "flag", "grpc_status",
        "hash_key", "held", "limit", "original_authority", "policy", "proof", "quota", "request", "request_id", "response",
        "response_code", "rollout", "route",
        "t_downstream_first", "t_downstream_last", "t_start", "t_upstream_first_rx", "t_upstream_first_tx",
        "t_upstream_last_rx", "t_upstream_last_tx", "trace", "transform", "tries",
    )
    __deletable__ = ("held",)

    believed_scheme: bytes
    held: Any
    quota: list[Field]

    def __init__(self, client: ClientSide, request: RequestHead, request_id: bytes, t_start: float, bytes_in: int) -> None:
        self.client: ClientSide = client
        self.client_address: str = client.peer_address      # the trusted client address, after `trusted_hops`
        self.request: RequestHead = request
        self.request_id: bytes = request_id
        self.original_authority: bytes = request.authority
        self.route: RouteLabels | None = None
        self.endpoint: EndpointLabels | None = None
        self.response: ResponseHead | None = None
        self.response_code = 0                      # what the client was sent; 0 = nothing
        self.hash_key: int | None = None
        self.cookies_to_set: list[bytes] | None = None
        self.transform: BodyTransform | None = None
        self.tries: list[tuple[str, str]] | None = None
        self.attempts: int = 0
        self.bytes_in = bytes_in
        self.bytes_out = 0
        self.flag = ""
        self.detail = ""
        self.grpc_status = b""
        self.rollout = ""
        self.proof: Proof | None = None
        self.policy = ""                            # the rule of a service policy that decided, "" = none was asked
        self.limit = ""
        self.trace: Trace | Any = None              # Any: whoever has seen that there is one asks no more
        self.t_start = t_start
        self.t_upstream_first_tx = 0.0
        self.t_upstream_last_tx = 0.0
        self.t_upstream_first_rx = 0.0
        self.t_upstream_last_rx = 0.0
        self.t_downstream_first = 0.0
        self.t_downstream_last = 0.0

    @property
    def scheme(self) -> bytes:
        """The scheme of the URL that was asked for: what a believed peer says of it, else that of the client's connection."""
        try:
            return self.believed_scheme
        except AttributeError:          # almost always: nothing is paid for it until somebody asks
            return self.client.scheme

    @property
    def user(self) -> User | None:
        """Who asks, as far as a credential has proven it; None: nobody knows, or nobody has asked."""
        proof = self.proof
        return None if proof is None else proof.user
