"""The HTTP probe in HTTP/2 (``use_http2``): one stream on a connection of its own.

Without TLS the endpoint is expected to speak HTTP/2 at once (RFC 9113 3.3); with TLS it must have chosen it by ALPN (3.2).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from voltgw.control.probes.keeping import KeepingRun, KeptConnection
from voltgw.control.probes.response import MAX_BODY_BYTES
from voltgw.wire.h2frames import NO_ERROR, REFUSED_STREAM, error_name
from voltgw.wire.h2handler import Bystander
from voltgw.wire.h2heads import CONNECTION_FIELDS
from voltgw.wire.h2limits import Limits
from voltgw.wire.http2 import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.control.probes.asking import HttpOptions
    from voltgw.control.probes.target import Target
    from voltgw.control.seams import Dialer
    from voltgw.errors import BadRequest, BadResponse
    from voltgw.interfaces import StreamTransport
    from voltgw.values.head import Field, ResponseHead
    from voltgw.values.tls import Handshake
    from voltgw.wire.h2frames import ConnectionFault
    from voltgw.wire.h2streams import Stream

_LIMITS: Final = Limits(max_streams=1, window_bytes=64 * 1024)


class KeptConnection2(KeptConnection, Bystander):
    """One of HTTP/2: it answers pings and settings, and goes when the endpoint wants it to."""

    __slots__ = ("_monotonic", "codec")

    def __init__(self, target: Target, transport: StreamTransport, codec: Client, monotonic: Callable[[], float]) -> None:
        super().__init__(target, transport)
        self.codec = codec
        self._monotonic = monotonic
        codec.handler = self

    def dataReceived(self, data: bytes) -> None:
        """What concerns the connection, or the rest of an answer."""
        self.codec.receive(data, self._monotonic())
        if self.codec.can_open:
            self._write()
        else:
            super().dataReceived(data)

    def close(self) -> None:
        """No probe needs it."""
        self.codec.go_away()
        self._write()
        super().close()

    def _write(self) -> None:
        while data := self.codec.take():
            self.transport.write(data)

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """Of an answer that was judged already."""

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """The same."""
        self.codec.consumed(stream, len(data))

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The same."""

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The same."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """It is over: `dataReceived` lets it go."""


class Http2Run(KeepingRun, Bystander):
    """One HTTP probe in HTTP/2; `host` is what ``:authority`` says unless the configuration's headers have a Host."""

    __slots__ = ("_body", "_codec", "_host", "_options", "_status", "_stream")

    def __init__(self, host: bytes, options: HttpOptions) -> None:
        super().__init__()
        self._host = host
        self._options = options
        self._status = 0
        self._body = bytearray()
        self._codec = Client(self, _LIMITS)
        self._stream: Stream | None = None

    def takes(self, kept: KeptConnection) -> None:
        """Its next stream is for this probe."""
        assert isinstance(kept, KeptConnection2)
        self._codec = kept.codec
        self._codec.handler = self

    def anew(self) -> None:
        """With a preface."""
        self._codec = Client(self, _LIMITS)
        self._stream = None

    def connected(self) -> None:
        """Accepted: ask."""
        handshake: Handshake | None = getattr(self.transport, "handshake", None)
        if handshake is not None and handshake.alpn != b"h2":
            self.verdict(False, "the endpoint did not choose HTTP/2 when TLS began (ALPN)")
            return
        self._ask(b"http" if handshake is None else b"https")
        self._write()

    def _ask(self, scheme: bytes) -> None:
        authority = self._host
        fields: list[Field] = []
        for name, value in self._options.fields(self._host):
            name = name.lower()
            if name == b"host":
                authority = value
            elif name not in CONNECTION_FIELDS:
                fields.append((name, value.strip(b" \t")))
        self._stream = self._codec.open(b"GET", scheme, authority, self._options.path, fields, True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the endpoint."""
        if not self._over:
            self._heard = True
            self._codec.receive(data, self._loop.monotonic())
            self._write()

    def _again(self, dialer: Dialer) -> None:
        if not self._over:
            self.afresh(dialer)

    def ended(self) -> str:
        """The endpoint has closed."""
        return "the connection was closed before the answer was complete"

    def verdict(self, ok: bool, reason: str, *, at_once: bool = False, failure: int = 0) -> None:
        """It is decided; the endpoint is told that nothing else comes (RFC 9113 6.8), or its connection waits for the next."""
        if not self._over:
            codec, stream = self._codec, self._stream
            if ok and self.keeps and stream is not None:
                codec.reset(stream, NO_ERROR)
                if codec.can_open:
                    self._write()
                    self.keep(KeptConnection2(self.target, self.transport, codec, self._loop.monotonic), reason)
                    return
            codec.go_away()
            self._write()
        super().verdict(ok, reason, at_once=at_once, failure=failure)

    def _write(self) -> None:
        if not self._over:
            data = self._codec.take()
            if data:
                self.transport.write(data)

    # -- what the codec says -----------------------------------------------------------------------------------------------

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """The head of the answer, or of an interim one."""
        if head.status >= 200:
            self._status = head.status
            if ended or not self._options.expected or not self._options.fits(head.status):
                self._judge()

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Part of the body, in which there may be the expected bytes."""
        self._codec.consumed(stream, len(data))
        body = self._body
        body += data[:MAX_BODY_BYTES - len(body)]
        if ended or len(body) >= MAX_BODY_BYTES or self._options.expected in body:
            self._judge()

    def on_trailers(self, stream: Stream, fields: list[Field]) -> None:
        """The end of the body."""
        self._judge()

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """The answer was none."""
        self.verdict(False, str(error))

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """The endpoint does not answer on this stream; on a kept connection, it may have been about to close that."""
        dialer, self._dialer = self._dialer, None
        if code == REFUSED_STREAM and not ours and dialer is not None and not self._over:
            KeptConnection2(self.target, self.transport, self._codec, self._loop.monotonic).close()
            self._loop.soon(partial(self._again, dialer))
            return
        self.verdict(False, f"the endpoint has reset the stream: {error_name(code)}")

    def on_drained(self, stream: Stream) -> None:
        """Nothing is ever held: the request has no body."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """Not HTTP/2, or not as it should be."""
        self.verdict(False, f"not valid HTTP/2: {fault}")

    def _judge(self) -> None:
        if self._over:
            return
        ok, reason = self._options.verdict(self._status, self._options.expected in self._body, len(self._body))
        self.verdict(ok, reason, at_once=self._status == 503)
