"""Connections of Twisted's HTTP client to servers that need not mean well: how much comes over one, and how it ends.

The client bounds the length of a line, but neither the lines of a head nor the interim answers before it; and the end that it
offers is a polite one, which over TLS a server may put off for as long as it likes. So each request has a connection of its
own, what comes over it is counted, and when the request is over, well or not, it is cut.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from OpenSSL.crypto import X509
    from twisted.web.http_headers import Headers

#: What head, interim answers and framing may take beside the largest body, in bytes.
OVERHEAD_BYTES: Final = 64 * 1024
#: Of a connection on which nothing may come for long the kernel asks, after so many seconds, so many seconds apart and so many
#: times, whether the other side is there: one that went without a word is known after half a minute (tcp(7)).
KEEP_IDLE_S: Final = 15
KEEP_INTERVAL_S: Final = 5
KEEP_COUNT: Final = 3
#: Of a stream everything is looked at when it comes, and nothing is kept.
_ENDLESS: Final = 1 << 62
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class TooMuch(Exception):
    """More came than any answer that is wanted has."""


@implementer(IAgentEndpointFactory)
class Way:
    """The way to one answer of at most `most_bytes` of body.

    The server's certificate must be of the host that is asked, under `trust`, or nothing is said to it. With `plain`, URLs of
    ``http`` may be asked as well. `client` is a `PrivateCertificate` by which we are known, `chain` the certificates between it
    and its root; `server_name` is what the server's certificate has to have instead of the host's name.
    """

    def __init__(
        self, reactor: Any, trust: Any, most_bytes: int, connect_s: float, *, plain: bool = False, client: Any = None,
        chain: Sequence[X509] = (), server_name: str = "",
    ) -> None:
        self.too_much = False
        self.left = most_bytes + OVERHEAD_BYTES
        self._reactor = reactor
        self._trust = trust
        self._connect_s = connect_s
        self._plain = plain
        self._client = client
        self._more = {"extraCertChain": list(chain)} if chain else None
        self._server_name = server_name
        self._transports: list[Any] = []

    def request(self, method: bytes, url: bytes, fields: Headers, body: bytes = b"") -> Deferred[Any]:
        """The answer's head, as Twisted has it; whoever reads the body calls `cut` behind that.

        Fails with ValueError for a URL that cannot be asked (a host that no certificate can name is one).
        """
        agent = Agent.usingEndpointFactory(self._reactor, self, HTTPConnectionPool(self._reactor, persistent=False))
        try:
            asked: Deferred[Any] = agent.request(method, url, fields, _Body(body) if body else None)
        except (ValueError, SchemeNotSupported) as error:
            return fail(ValueError(str(error)))
        return asked

    def endpointForURI(self, uri: URI) -> _Counted:
        """To whom a URL leads."""
        host = uri.host.decode("ascii")
        there = HostnameEndpoint(self._reactor, host, uri.port, timeout=self._connect_s)
        if uri.scheme == b"https":
            options = optionsForClientTLS(
                self._server_name or host, trustRoot=self._trust, clientCertificate=self._client,
                extraCertificateOptions=self._more)
            return _Counted(wrapClientTLS(options, there), self)
        if uri.scheme != b"http" or not self._plain:
            raise SchemeNotSupported(f"{uri.scheme.decode('ascii')}:// is not asked")
        return _Counted(there, self)

    def opened(self, transport: Any) -> None:
        """A connection stands."""
        self._transports.append(transport)

    def came(self, size: int) -> bool:
        """So many bytes have come; False: those are too many, and the connection is cut."""
        self.left -= size
        if self.left >= 0:
            return True
        self.too_much = True
        self.cut()
        return False

    def may_be_silent(self) -> None:
        """Nothing may come for long, and from now on as much as it likes: have the kernel see that the other side is there."""
        self.left = _ENDLESS
        for transport in self._transports:
            while isinstance(transport, ProtocolWrapper):       # TLS, over what has the socket
                transport = transport.transport
            sock = transport.getHandle()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_COUNT)

    def cut(self) -> None:
        """End what is open, at once."""
        transports, self._transports = self._transports, []
        for transport in transports:
            transport.abortConnection()


def chain_of(certificate: bytes) -> tuple[X509, ...]:
    """The certificates behind the first one of a PEM file. Raises `OpenSSL.crypto.Error`."""
    return tuple(Certificate.loadPEM(_BEGIN + one).original for one in certificate.split(_BEGIN)[2:])


def trust_of(roots: bytes | None, where: str) -> Any:
    """Whom a client believes: authorities in PEM, None = the system's. Raises ValueError, with `where` they stand."""
    if roots is None:
        return platformTrust()
    try:
        certificates = [Certificate.loadPEM(_BEGIN + one) for one in roots.split(_BEGIN)[1:]]
    except SSLError as error:
        raise ValueError(f"what stands in {where} is no PEM certificate") from error
    if not certificates:
        raise ValueError(f"no certificate stands in {where}")
    return trustRootFromCertificates(certificates)


def whole(response: Any, most_bytes: int, too_much: Exception) -> Deferred[bytes]:
    """The body of an answer; fails with `too_much` where it is larger than `most_bytes`. It can be cancelled."""
    reading = _Whole(most_bytes, too_much)
    response.deliverBody(reading)
    return reading.done


def why(error: BaseException, words: Callable[[str], str]) -> str:
    """What went wrong with a request, for operators; `words` makes what a server says fit to be shown."""
    reasons = getattr(error, "reasons", None)       # the HTTP client wraps what ended a request (ResponseFailed and others)
    if reasons:
        error = reasons[0].value
    if isinstance(error, VerificationError):
        return "TLS: its certificate is that of another host"
    if isinstance(error, SSL.Error):
        first = error.args[0] if error.args else () # a queue of (library, function, reason), but not for broken connections
        said = ", ".join(str(each[-1]) for each in first) if isinstance(first, list) else ""
        return f"TLS: {words(said) or 'the connection broke off'}"
    return words(str(error)) or type(error).__name__


class _Whole(Protocol):
    """Reads a body to its end, as long as it is not too large and somebody wants it; else the connection is closed."""

    transport: Any                          # the HTTP client's stand-in for it

    def __init__(self, most_bytes: int, too_much: Exception) -> None:
        self.done: Deferred[bytes] = Deferred(lambda done: self.transport.loseConnection())
        self._most = most_bytes
        self._too_much = too_much
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        if self.done.called:
            return
        self._body += data
        if len(self._body) > self._most:
            self.done.errback(self._too_much)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:      # noqa: B008
        """The end; only the HTTP client knows whether it is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(bytes(self._body))
        else:
            self.done.errback(reason)


@implementer(IBodyProducer)
class _Body:
    """A body that is written at once."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """All of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing more."""

    def resumeProducing(self) -> None:
        """Nor now."""

    def stopProducing(self) -> None:
        """It has."""


class _Counting(ProtocolWrapper):
    """What comes is counted before the HTTP client sees it."""

    factory: _CountingFactory

    def dataReceived(self, data: bytes) -> None:
        """Some bytes."""
        if self.factory.way.came(len(data)):
            super().dataReceived(data)


class _CountingFactory(WrappingFactory):
    """Makes the one protocol of a connection."""

    noisy = False
    protocol = _Counting

    def __init__(self, inner: ClientFactory, way: Way) -> None:
        super().__init__(inner)
        self.way = way


@implementer(IStreamClientEndpoint)
class _Counted:
    """An endpoint whose connections are a `Way`'s."""

    def __init__(self, endpoint: Any, way: Way) -> None:
        self._endpoint = endpoint
        self._way = way

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect."""
        connected: Deferred[Any] = self._endpoint.connect(_CountingFactory(factory, self._way))

        def stands(protocol: Any) -> Any:
            self._way.opened(protocol.transport)
            return protocol.wrappedProtocol

        return connected.addCallback(stands)
