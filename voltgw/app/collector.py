"""The way to a collector of traces: HTTP(S) on treq, connections kept, answers bounded, redirects not followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers

from voltgw import __version__
from voltgw.control.ways import trust_of
from voltgw.observe.exporter import MAX_ANSWER_BYTES, Answer

if TYPE_CHECKING:
    from twisted.python.failure import Failure

#: The collector must accept a connection in this time, in seconds; whoever sends bounds the whole.
_CONNECT_S: Final = 5.0


class TooLong(Exception):
    """An answer that no collector gives."""


class _Body(Protocol):
    """Reads a body to its end, as long as it is not too long and somebody wants it; else the connection is closed."""

    transport: Any                          # the HTTP client's stand-in for it

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda done: self.transport.loseConnection())
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        if self.done.called:
            return
        self._body += data
        if len(self._body) > MAX_ANSWER_BYTES:
            self.done.errback(TooLong(f"it answers with more than {MAX_ANSWER_BYTES} bytes"))
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end; only the HTTP client knows whether it is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(bytes(self._body))
        else:
            self.done.errback(reason)


class Collector:
    """Sends requests; satisfies `voltgw.observe.exporter.Post`. `headers` go with each of them, their values are secrets.

    `trusted_ca` is PEM, None = the system's authorities. One request is under way at a time, so there is one connection.
    """

    def __init__(self, reactor: Any, url: str, headers: Mapping[str, bytes], trusted_ca: bytes | None) -> None:
        self._url = url
        self._headers = {name.encode("ascii"): [value.strip()] for name, value in headers.items()}
        self.pool = HTTPConnectionPool(reactor, persistent=True)
        self.pool.maxPersistentPerHost = 1
        self.pool.retryAutomatically = False        # the exporter does
        policy = BrowserLikePolicyForHTTPS(trustRoot=trust_of(trusted_ca, "gateway.tracing.trusted_ca"))
        self._client = HTTPClient(Agent(reactor, policy, connectTimeout=_CONNECT_S, pool=self.pool))

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Deferred[Answer]:
        """POST `body`; the Deferred can be cancelled."""
        fields = Headers({b"user-agent": [b"voltgw/" + __version__.encode("ascii")], **self._headers})
        for name, text in headers.items():
            fields.setRawHeaders(name.encode("ascii"), [text.encode("ascii")])
        asked: Deferred[Any] = self._client.request(
            "POST", self._url, headers=fields, data=body, allow_redirects=False, unbuffered=True)
        return asked.addCallback(self._read)

    def _read(self, response: Any) -> Deferred[Answer]:
        after = response.headers.getRawHeaders(b"retry-after", [b""])[0].decode("latin-1")
        reading = _Body()
        response.deliverBody(reading)
        return reading.done.addCallback(lambda data: Answer(response.code, after, data))

    def close(self) -> Deferred[None]:
        """Close the connection that is kept."""
        closed: Deferred[None] = self.pool.closeCachedConnections()
        return closed
