"""What the two forms of an access line share: text from bytes that came from outside, and times."""

from __future__ import annotations

from time import gmtime, strftime
from typing import TYPE_CHECKING, Final, Protocol

from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead

if TYPE_CHECKING:
    from voltgw.values.record import ConnectionRecord

#: A line longer than this is written again with its long values clipped: no client fills the disk with long paths.
MAX_LINE: Final = 8192
CLIPPED_BYTES: Final = 1024

#: By `RequestHead.minor`.
VERSIONS: Final = ("HTTP/1.0", "HTTP/1.1", "HTTP/2")
USER_AGENT: Final = b"user-agent"
_MILLISECONDS: Final = tuple(f".{n:03d}Z" for n in range(1000))
#: Three digits.
_THOUSAND: Final = [f"{n:03d}" for n in range(1000)]
_FORWARDED_FOR: Final = b"x-forwarded-for"
#: What `clip` takes over as it is.
_COPIED: Final = (
    "attempts", "bytes_out", "client_address", "detail", "endpoint", "flag", "grpc_status", "limit", "policy", "proof",
    "response", "response_code", "rollout", "route",
    "t_downstream_first", "t_downstream_last", "t_upstream_first_rx", "t_upstream_first_tx", "t_upstream_last_rx",
    "t_upstream_last_tx", "trace",
)


class Lines(Protocol):
    """Turns records into lines; each ends in a line feed. `offset` is wall clock minus monotonic clock, in seconds."""

    def http(self, exchange: Exchange, offset: float, /) -> str:
        """The line of one finished exchange."""

    def connection(self, record: ConnectionRecord, offset: float, /) -> str:
        """The line of one ended connection."""

    def forget(self) -> None:
        """Let go of the connections, routes and endpoints of the lines so far."""


def text_of(value: bytes) -> str:
    """Bytes from outside as text; what is no UTF-8 is written ``\\xff``."""
    return value.decode("utf-8", "backslashreplace")


def clip(exchange: Exchange) -> Exchange:
    """A copy of the exchange whose long values end in ``...`` after `CLIPPED_BYTES`; it has what a line needs."""
    whole = exchange.request
    request = RequestHead(
        _clip(whole.method), _clip(whole.target), _clip(whole.path), None if whole.query is None else _clip(whole.query),
        whole.minor, _clip(whole.authority), b"", None,
        [(name, _clip(value)) for name, value in whole.fields if name == USER_AGENT], 0, True,
    )
    if whole.forwarding:
        said = b", ".join(value for name, value in whole.forwarding if name == _FORWARDED_FOR)
        request.forwarding = [(_FORWARDED_FOR, _clip(said))]
    clipped = Exchange(exchange.client, request, _clip(exchange.request_id), exchange.t_start, exchange.bytes_in)
    clipped.original_authority = _clip(exchange.original_authority)
    for name in _COPIED:
        setattr(clipped, name, getattr(exchange, name))
    return clipped


def _clip(value: bytes) -> bytes:
    return value if len(value) <= CLIPPED_BYTES else value[:CLIPPED_BYTES] + b"..."


def original_path(target: bytes) -> bytes:
    """The path of a request target as it was received: no query (it may hold secrets), no scheme, user or host."""
    path = target.partition(b"?")[0]
    if path[:1] == b"/":
        return path
    scheme, absolute, rest = path.partition(b"://")
    if not absolute or b"/" in scheme:
        return path                         # "*", or the authority of a CONNECT
    return b"/" + rest.partition(b"/")[2]


def forwarded_for(exchange: Exchange) -> str:
    """What the client said in X-Forwarded-For, its lines joined (RFC 9110 5.3); "" for the usual nothing."""
    forwarding = exchange.request.forwarding
    if not forwarding:
        return ""
    return ", ".join(text_of(value) for name, value in forwarding if name == _FORWARDED_FOR)


def ended(exchange: Exchange) -> float:
    """When the last thing that is known of an exchange happened; its last byte to the client, if it got that far."""
    return exchange.t_downstream_last or max(
        exchange.t_start, exchange.t_upstream_first_tx, exchange.t_upstream_last_tx, exchange.t_upstream_first_rx,
        exchange.t_upstream_last_rx, exchange.t_downstream_first)


def seconds(duration: float) -> str:
    """``f"{duration:.6f}"``, for what takes less than a second in a fifth of the time.

    What lies so near to the middle between two microseconds that the product below may stand on its other side is left to the
    formatter, which rounds the number itself.
    """
    if not duration:
        return "0.000000"
    exact = duration * 1e6
    if 0.0 < exact < 999_999.0:
        whole = int(exact)
        rest = exact - whole
        if rest < 0.499_999:
            return f"0.{_THOUSAND[whole // 1000]}{_THOUSAND[whole % 1000]}"
        if rest > 0.500_001:
            whole += 1
            return f"0.{_THOUSAND[whole // 1000]}{_THOUSAND[whole % 1000]}"
    return f"{duration:.6f}"


class Stamps:
    """RFC 3339 timestamps in UTC; those of one batch share most of it. `text` is what `millisecond` reads as."""

    __slots__ = ("_prefix", "_second", "millisecond", "text")

    def __init__(self) -> None:
        self.millisecond = -1
        self.text = ""
        self._second = -1
        self._prefix = ""

    def at(self, millisecond: int) -> str:
        """So many milliseconds since the epoch."""
        second, rest = divmod(millisecond, 1000)
        if second != self._second:
            self._turn(second)
        self.millisecond = millisecond
        self.text = text = self._prefix + _MILLISECONDS[rest]
        return text

    def exactly(self, wall: float) -> str:
        """Seconds since the epoch, with microseconds."""
        second, rest = divmod(int(wall * 1e6), 1_000_000)
        if second != self._second:
            self._turn(second)
        return f"{self._prefix}.{rest:06d}Z"

    def _turn(self, second: int) -> None:
        self._second = second
        self._prefix = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
