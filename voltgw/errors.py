"""The two kinds of expected error: what an operator wrote, and what went wrong with one request.

`ConfigError` is collected (never raised alone): `ConfigErrors` carries all that one load found. `ProxyError` says whose
fault it was, what the client sees, the access-log flag and whether another try is safe. Anything else is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value stands: `line` and `column` count from 1; line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


NOWHERE = Place("<made up>")


class Severity(Enum):
    """Errors refuse the configuration; warnings are shown and, with ``--strict``, change the exit status."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One problem of a configuration: a stable code (``VG0107``), where, what, and what to do about it.

    `source` is the line of the file as written (for the caret); `related` are other places that take part, each with
    the words that introduce it (``"referred to by route \\"api\\""``).
    """

    code: str
    place: Place
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    source: str = ""
    related: tuple[tuple[str, Place], ...] = ()


class ConfigErrors(Exception):
    """A configuration was refused; `problems` holds every error and warning, errors first."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        self.problems = problems
        count = sum(p.severity is Severity.ERROR for p in problems)
        super().__init__(f"{count} error{'s' if count != 1 else ''} in the configuration")


class TlsRefused(Exception):
    """No TLS context can be made of what was configured; the text says why, in words for its operator."""


class Source(Enum):
    """Whose fault a `ProxyError` is; it decides which counters move and whether passive health hears of it."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class Retry(Enum):
    """Whether the same request may be sent again after this error."""

    ALWAYS = "always"        # nothing of the request was sent
    REUSED = "reused"        # only on a reused connection, for an idempotent and replayable request (RFC 9110 9.2.2)
    NEVER = "never"


class ProxyError(Exception):
    """One request or connection failed in an expected way.

    `status` is what an HTTP client sees when nothing was answered yet; `flag` stands in the access log as the response
    flag (Envoy's spelling, https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage);
    `detail` is one word for the record's ``rsp_code_details``.
    """

    source: ClassVar[Source] = Source.GATEWAY
    status: ClassVar[int] = 500
    flag: ClassVar[str] = ""
    retry: ClassVar[Retry] = Retry.NEVER
    detail: str = "internal_error"


class BadRequest(ProxyError):
    """The client's bytes are not a request that may be forwarded (RFC 9112); the connection closes after the answer."""

    source, status, flag, detail = Source.DOWNSTREAM, 400, "DPE", "bad_request"

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.answer = status
        self.method = b""                   # of the request, where that much of it was read


class BodyTooLarge(ProxyError):
    """The request's body is larger than the route, or its buffer policy, lets it be."""

    source, status, flag, detail = Source.DOWNSTREAM, 413, "DPE", "request_payload_too_large"


class BadResponse(ProxyError):
    """The origin's bytes are not a response that may be forwarded; its connection is never used again."""

    source, status, flag, detail = Source.UPSTREAM, 502, "UPE", "bad_response"


class NoRoute(ProxyError):
    """No virtual host or no route takes the request."""

    source, status, flag, detail = Source.DOWNSTREAM, 404, "NR", "route_not_found"


class NoEndpoint(ProxyError):
    """The cluster has no endpoint that may be used."""

    source, status, flag, detail = Source.UPSTREAM, 503, "UH", "no_healthy_upstream"


class NoCluster(ProxyError):
    """The route names a cluster that does not exist (``gateway.on_dangling: serve_503``)."""

    source, status, flag, detail = Source.GATEWAY, 503, "NC", "cluster_not_found"


class ConnectFailed(ProxyError):
    """The endpoint refused, reset or timed out before anything was sent. `errno` is the kernel's word for it, 0 = none."""

    source, status, flag, retry, detail = Source.UPSTREAM, 502, "UF", Retry.ALWAYS, "connect_failure"
    errno: int = 0


class ConnectTimeout(ConnectFailed):
    """The endpoint did not accept the connection in time."""

    status, detail = 504, "connect_timeout"


class TlsFailed(ConnectFailed):
    """The endpoint was reached, but no TLS session came about: its certificate was refused, or it refused us.

    The text has the reason in words ("certificate has expired"). Nothing was sent, so another endpoint may be tried.
    """

    detail = "tls_failure"

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        reason = text.partition(": ")[2] or text    # behind the endpoint's address
        words = "_".join("".join(one if one.isalnum() or one in ".-*" else " " for one in reason).split())
        if words:
            self.detail = f"tls_failure:{words[:120]}"


class Exhausted(ConnectFailed):
    """We have no descriptor, or no memory, for another connection; the endpoint was not even asked, and is not to blame."""

    source, status, flag, retry, detail = Source.GATEWAY, 503, "OM", Retry.NEVER, "out_of_descriptors"


class UpstreamClosed(ProxyError):
    """The endpoint closed or reset the connection before its answer was complete."""

    source, status, flag, retry, detail = Source.UPSTREAM, 502, "UC", Retry.REUSED, "upstream_reset_before_response"
    silent = False                  # True: not a byte of an answer had come


class UpstreamReset(UpstreamClosed):
    """The endpoint ended the exchange's stream (RST_STREAM, RFC 9113 6.4), and not its connection."""

    flag, retry, detail = "UR", Retry.NEVER, "upstream_remote_reset"


class StreamRefused(ProxyError):
    """The endpoint says that it has done nothing for the exchange (REFUSED_STREAM or GOAWAY, RFC 9113 8.7)."""

    source, status, flag, retry, detail = Source.UPSTREAM, 503, "UR", Retry.ALWAYS, "upstream_refused_stream"
    again = False                   # True: it was the connection's end, the endpoint may be asked on another one


class UpstreamTimeout(ProxyError):
    """No response head, or no further body byte, within the time allowed."""

    source, status, flag, detail = Source.UPSTREAM, 504, "UT", "response_timeout"


class Overflow(ProxyError):
    """A limit of the cluster or of the gateway is reached; nothing was sent."""

    source, status, flag, detail = Source.GATEWAY, 503, "UO", "overflow"


class ClientGone(ProxyError):
    """The client closed or reset its connection before the exchange was over (never sent to anybody)."""

    source, status, flag, detail = Source.DOWNSTREAM, 499, "DC", "downstream_remote_disconnect"


class ClientTimeout(ProxyError):
    """The client did not finish its request head or body in time."""

    source, status, flag, detail = Source.DOWNSTREAM, 408, "DT", "request_timeout"
