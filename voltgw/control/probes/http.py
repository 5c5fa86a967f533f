"""HTTP probe: a GET whose answer has an expected status and, if told so, expected bytes in its body.

One request on a connection of its own (``Connection: close``), or with ``use_http2`` on the only stream of one, unless the
check keeps connections; redirects are not followed. A 503 takes the endpoint out at once: it says itself that it wants no
traffic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from voltgw.cluster.endpoint import host_field
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http2 import Http2Run
from voltgw.control.probes.keeping import KeepingRun, KeptConnection
from voltgw.control.probes.response import ResponseReader
from voltgw.errors import BadResponse
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from voltgw.control.probes.run import ProbeRun

_CLOSE: Final = b"connection: close\r\n\r\n"
_TARGET: Final = re.compile(rb"/[\x21-\x7e\x80-\xff]*")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class HttpRun(KeepingRun):
    """One HTTP probe."""

    __slots__ = ("_options", "_reader", "_request")

    def __init__(self, request: bytes, options: HttpOptions) -> None:
        super().__init__()
        self._request = request
        self._options = options
        self._reader = ResponseReader(options.expected)

    def connected(self) -> None:
        """Accepted: ask."""
        request = self._request
        if self.keeps:
            self._reader = ResponseReader(self._options.expected, whole=True)
            request = request.removesuffix(_CLOSE) + b"\r\n"
        self.transport.write(request)

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer."""
        if self._over:
            return
        self._heard = True
        try:
            done = self._reader.feed(data)
        except BadResponse as error:
            self.verdict(False, str(error))
            return
        status = self._reader.status
        if done or (status and not self._options.fits(status)):
            self._judge()

    def ended(self) -> str:
        """The endpoint has closed; for some bodies that is how they end."""
        if self._reader.closed():
            self._judge()
        return "the connection was closed before the answer was complete"

    def _judge(self) -> None:
        reader = self._reader
        ok, reason = self._options.verdict(reader.status, reader.found, len(reader.body))
        if ok and self.keeps and reader.reusable:
            self.keep(KeptConnection(self.target, self.transport), reason)
            return
        self.verdict(ok, reason, at_once=reader.status == 503)


class HttpProbe:
    """The probe with its options."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options

    @property
    def version_2(self) -> bool:
        """Whether it is HTTP/2 that it asks in, which TLS must agree on."""
        return self._options.version_2

    @property
    def host_header(self) -> str:
        """The Host that is configured; "" = the endpoint's own."""
        return self._options.host.decode("ascii", "replace")

    def prepare(self, hostname: str, address: str, port: int) -> Callable[[], ProbeRun]:
        """The request is the same every time."""
        options = self._options
        if options.version_2:
            return partial(Http2Run, options.host or host_field(hostname, address, port), options)
        return partial(HttpRun, request_of(options, options.host or host_field(hostname, address, port)), options)


def request_of(options: HttpOptions, host: bytes) -> bytes:
    """The request's bytes. Framing fields given in configuration are left out, a Host given there replaces ours."""
    fields = [*options.fields(host), (b"connection", b"close")]
    return b"".join((
        b"GET ", options.path, b" HTTP/1.1\r\n", *(b"%b: %b\r\n" % field for field in fields), b"\r\n",
    ))


@implementer(IFactory)
class Http:
    """The factory; its options are the object model's `http_health_check`."""

    name = "http"

    def options(self, raw: Any, place: object) -> HttpOptions:
        """From an `HttpHealthCheck` (`Any`, because the interface takes whatever an extension reads).

        Raises ValueError for what cannot be sent; the configuration's own validation refuses it before.
        """
        options = HttpOptions(
            path=raw.path.encode(),
            host=(raw.host_header or "").encode(),
            headers=tuple((name.encode(), value.encode()) for name, value in raw.headers.items()),
            removed=frozenset(name.lower().encode() for name in raw.request_headers_to_remove),
            statuses=raw.expected_status_codes or ((200,),),
            expected=raw.expected_response or b"",
            version_2=raw.use_http2,
        )
        if not _TARGET.fullmatch(options.path):
            raise ValueError(f"{raw.path!r} cannot stand in a request line")
        if not _VALUE.fullmatch(options.host):
            raise ValueError(f"{raw.host_header!r} cannot stand in Host")
        for name, value in options.headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} cannot be sent")
        return options

    def build(self, options: HttpOptions) -> HttpProbe:
        """The probe."""
        return HttpProbe(options)


FACTORY: Final = Http()
