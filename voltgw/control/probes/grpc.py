"""gRPC probe: a call of ``grpc.health.v1.Health/Check`` (gRPC's health checking protocol), which must answer SERVING.

The two messages have one field each, so they are written and read here. A server that says NOT_SERVING is out at once: as
with an HTTP 503, it says itself that it wants no traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from zope.interface import implementer

from voltgw import __version__
from voltgw.cluster.endpoint import host_field
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http2 import Http2Run
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from voltgw.control.probes.run import ProbeRun
    from voltgw.values.head import Field, ResponseHead
    from voltgw.wire.h2streams import Stream

_PATH: Final = b"/grpc.health.v1.Health/Check"
_OPTIONS: Final = HttpOptions(_PATH, version_2=True)
#: The health of a service (health.proto).
SERVING, NOT_SERVING = 1, 2
_HEALTH: Final = {0: "UNKNOWN", SERVING: "SERVING", NOT_SERVING: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
#: Status codes of gRPC.
_STATUS: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)
#: What some of them mean of this call.
_MEANING: Final = {"NOT_FOUND": "the server does not know the service", "UNIMPLEMENTED": "the server has no health service"}
#: An answer has a few octets; this much is read of what is called one.
MAX_MESSAGE_BYTES: Final = 4096
_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """`service` "" = the server as a whole; `authority` b"" = the endpoint's own name."""

    service: str = ""
    authority: bytes = b""


def request_of(service: str) -> bytes:
    """The message of the call with its five octets of framing: field 1, a string."""
    name = service.encode()
    message = b"" if not name else b"\x0a" + varint(len(name)) + name
    return b"\0" + len(message).to_bytes(4, "big") + message


def varint(number: int) -> bytes:
    """A number as protobuf writes it, seven bits an octet, the lowest ones first."""
    wire = bytearray()
    while number > 0x7F:
        wire.append(number & 0x7F | 0x80)
        number >>= 7
    wire.append(number)
    return bytes(wire)


def health_in(framed: bytes) -> int:
    """The health in an answer: field 1, a number, 0 where it is left out; others are passed over. Raises ValueError."""
    if len(framed) < 5:
        raise ValueError("it is cut off")
    if framed[0]:
        raise ValueError("it is compressed, which nobody asked for")
    message = framed[5:]
    if int.from_bytes(framed[1:5], "big") != len(message):
        raise ValueError("it has another length than it says")
    health = at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            if key >> 3 == 1:
                health = number
        elif kind == 1:
            at += 8
        elif kind == 2:
            size, at = _varint(message, at)
            at += size
        elif kind == 5:
            at += 4
        else:
            raise ValueError("a field has an unknown form")
    if at > len(message):
        raise ValueError("a field is cut off")
    return health


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut off")
        octet = message[at]
        at += 1
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
    raise ValueError("a number is too long")


class GrpcRun(Http2Run):
    """One gRPC probe."""

    __slots__ = ("_request",)

    def __init__(self, host: bytes, request: bytes) -> None:
        super().__init__(host, _OPTIONS)
        self._request = request

    def _ask(self, scheme: bytes) -> None:
        fields = [
            (b"te", b"trailers"), (b"content-type", b"application/grpc"),
            (b"user-agent", b"voltgw-health/" + __version__.encode()),
            (b"grpc-timeout", b"%dm" % max(1, round(self._timeout_s * 1000)))]
        self._stream = stream = self._codec.open(b"POST", scheme, self._host, _PATH, fields, False)
        self._codec.send_data(stream, self._request, True)

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """The head of the answer, which is all of it where there is nothing but an error."""
        if head.status < 200:
            return
        if head.status != 200:
            self.verdict(False, f"status {head.status}, not an answer of gRPC", at_once=head.status == 503)
        elif not (head.get(b"content-type") or b"").startswith(b"application/grpc"):
            self.verdict(False, "the answer is not gRPC's")
        elif ended:
            self._judge_status(head.fields)

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of the message."""
        self._codec.consumed(stream, len(data))
        self._body += data
        if len(self._body) > MAX_MESSAGE_BYTES:
            self.verdict(False, f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
        elif ended:
            self.verdict(False, "the answer has no status (grpc-status)")

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The end of the answer."""
        self._judge_status(fields)

    def _judge_status(self, fields: list[Field]) -> None:
        said = dict(fields)
        status = said.get(b"grpc-status", b"")
        if not status.isdigit() or len(status) > 3:
            self.verdict(False, "the answer has no status (grpc-status)")
            return
        code = int(status)
        if code:
            name = _STATUS[code] if code < len(_STATUS) else f"status {code}"
            text = unquote_to_bytes(said.get(b"grpc-message", b"")[:_MAX_TEXT]).decode("utf-8", "replace")
            more = " ".join((_MEANING.get(name) or text).split())
            self.verdict(False, f"{name}: {more}" if more else name)
            return
        try:
            health = health_in(bytes(self._body))
        except ValueError as error:
            self.verdict(False, f"the answer is not valid: {error}")
            return
        self.verdict(health == SERVING, _HEALTH.get(health, f"health {health}"), at_once=health == NOT_SERVING)


class GrpcProbe:
    """The probe with its options; where there is TLS, it must agree on HTTP/2."""

    version_2: Final = True

    def __init__(self, options: GrpcOptions) -> None:
        self._options = options
        self._request = request_of(options.service)

    @property
    def host_header(self) -> str:
        """The authority that is configured; "" = the endpoint's own."""
        return self._options.authority.decode("ascii", "replace")

    def prepare(self, hostname: str, address: str, port: int) -> Callable[[], ProbeRun]:
        """The request is the same every time."""
        return partial(GrpcRun, self._options.authority or host_field(hostname, address, port), self._request)


@implementer(IFactory)
class Grpc:
    """The factory; its options are `grpc_health_check` of ``voltgw:``."""

    name = "grpc"

    def options(self, raw: Any, place: object) -> GrpcOptions:
        """From a `GrpcHealthCheck` (`Any`, because the interface takes whatever an extension reads)."""
        return GrpcOptions(raw.service or "", (raw.authority or "").encode())

    def build(self, options: GrpcOptions) -> GrpcProbe:
        """The probe."""
        return GrpcProbe(options)


FACTORY: Final = Grpc()
