"""Small documents of other servers, fetched over HTTP(S): certificates are verified, bodies bounded, redirects not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http_headers import Headers

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
#: A server must accept a connection in this time, in seconds; whoever asks bounds the whole.
CONNECT_S: Final = 5.0


class CannotFetch(Exception):
    """There is nothing to be had; the message says why."""


class Fetcher:
    """Fetches documents of at most `most` bytes."""

    def __init__(self, reactor: Any, most: int, accept: str) -> None:
        self._reactor = reactor
        self._most = most
        self._headers = Headers({"accept": [accept], "user-agent": ["voltgw"]})
        self._agents: dict[bytes | None, Agent] = {}

    def __call__(self, url: str, trusted_ca: bytes | None) -> Deferred[bytes]:
        """The document at `url`; `trusted_ca` (PEM) vouches for its server, None = the system's authorities do.

        Fails with `CannotFetch`, or with what Twisted says of connections. Cancelling it cuts the connection.
        """
        agent = self._agents.get(trusted_ca)
        if agent is None:
            trust = None if trusted_ca is None else trustRootFromCertificates(
                [Certificate.loadPEM(_BEGIN + pem) for pem in trusted_ca.split(_BEGIN)[1:]])
            agent = self._agents[trusted_ca] = Agent(
                self._reactor, contextFactory=BrowserLikePolicyForHTTPS(trustRoot=trust), connectTimeout=CONNECT_S)
        return agent.request(b"GET", url.encode("ascii"), self._headers).addCallback(self._answered)

    def _answered(self, response: Any) -> Deferred[bytes]:
        reading = _Body(self._most)
        if response.code != 200:
            reading.refuse(f"it was answered with {response.code}")
        elif isinstance(response.length, int) and response.length > self._most:
            reading.refuse(f"{response.length} bytes are more than {self._most}")
        response.deliverBody(reading)
        return reading.done


class _Body(Protocol):
    """Collects a body, as long as it is not too long."""

    def __init__(self, most: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._cut())
        self._most = most
        self._size = 0
        self._pieces: list[bytes] = []
        self._refusal = ""

    def refuse(self, why: str) -> None:
        """It is of no use."""
        self._refusal = why

    def connectionMade(self) -> None:
        """The head was here."""
        if self._refusal:
            self._cut()

    def _cut(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()      # of the HTTP client: it knows no harder way

    def dataReceived(self, data: bytes) -> None:
        """Part of it."""
        self._size += len(data)
        if self._size > self._most:
            self._refusal = f"there are more than {self._most} bytes"
            self._cut()
        elif not self._refusal:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of it, good or bad."""
        if self.done.called:
            return
        if self._refusal:
            self.done.errback(CannotFetch(self._refusal))
        elif reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(CannotFetch("the answer was cut off"))
