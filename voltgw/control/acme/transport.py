"""HTTPS to a CA, on Twisted's own client: its certificate is verified, and every answer is bounded in size and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from voltgw import __version__
from voltgw.control.acme.messages import Answer, words
from voltgw.control.acme.problems import Garbled, Unreachable
from voltgw.control.ways import Way

if TYPE_CHECKING:
    from twisted.web.iweb import IResponse

#: Largest answer; a chain of certificates has some 6 KiB, a directory 1.
MOST_BYTES: Final = 256 * 1024
#: For connection, TLS handshake, request and answer together.
TIMEOUT_S: Final = 30.0
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
#: Header fields of an answer that anybody asks for.
_FIELDS: Final = ("content-type", "location", "replay-nonce", "retry-after")


class Https:
    """Sends requests; satisfies `voltgw.control.acme.client.Sends`. `roots` is PEM, None = the system's CAs.

    A connection per request: orders are rare, and whoever keeps none has none to lose. Raises ValueError for `roots` without a
    certificate.
    """

    def __init__(self, reactor: Any, roots: bytes | None = None) -> None:
        self._reactor = reactor
        certificates: list[Certificate] = []
        if roots is not None:
            try:
                certificates = [Certificate.loadPEM(_BEGIN + one) for one in roots.split(_BEGIN)[1:]]
            except SSLError as error:
                raise ValueError("what stands in it is no PEM certificate") from error
            if not certificates:
                raise ValueError("no certificate stands in it")
        self._trust = trustRootFromCertificates(certificates) if roots is not None else platformTrust()

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Deferred[Answer]:
        """See `voltgw.control.acme.client.Sends.request`; redirects are not followed."""
        fields = Headers({"user-agent": [f"voltgw/{__version__}"], **{name: [value] for name, value in headers.items()}})
        way = Way(self._reactor, self._trust, MOST_BYTES, TIMEOUT_S)
        asked = way.request(method.encode("ascii"), url.encode("ascii", "replace"), fields, _Body(body) if body else None)
        asked.addCallback(self._read, url)
        asked.addTimeout(TIMEOUT_S, self._reactor, lambda value, seconds: _took_too_long(url))

        def over(result: Any) -> Any:
            way.cut()
            if way.too_much:
                raise Garbled(f"{url} answers with more than {MOST_BYTES} bytes, most of them before its body")
            return result

        return asked.addBoth(over).addErrback(_in_words, url)

    def _read(self, response: IResponse, url: str) -> Deferred[Answer]:
        found = {name: values[0] for name in _FIELDS if (values := response.headers.getRawHeaders(name))}
        whole = _Whole(Answer(url, response.code, found, b""))
        response.deliverBody(whole)
        return whole.done


class _Whole(Protocol):
    """Reads a body to its end, or until it is too large."""

    def __init__(self, answer: Answer) -> None:
        self.done: Deferred[Answer] = Deferred()
        self._answer = answer
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._body += data
        if len(self._body) > MOST_BYTES and not self.done.called:
            self.done.errback(Garbled(f"{self._answer.url} answers with more than {MOST_BYTES} bytes"))

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:      # noqa: B008
        """The end; only the HTTP client knows whether it is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(self._answer._replace(body=bytes(self._body)))
        else:
            self.done.errback(reason)


@implementer(IBodyProducer)
class _Body:
    """A body of some hundred bytes, which is written at once."""

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


def _took_too_long(url: str) -> Answer:
    raise Unreachable(f"{url} does not answer within {TIMEOUT_S:g} s")


def _in_words(failure: Failure, url: str) -> Answer:
    """What went wrong, for operators."""
    error: Any = failure.value
    if getattr(error, "reasons", None):     # the HTTP client wraps what ended a request (ResponseFailed and others)
        error = error.reasons[0].value
    if isinstance(error, (Unreachable, Garbled, CancelledError)):
        raise error                         # whoever cancels wants to hear that, and nothing else
    if isinstance(error, VerificationError):
        reason = "TLS: its certificate is that of another host"
    elif isinstance(error, SSL.Error):
        first = error.args[0] if error.args else ()     # a queue of (library, function, reason), but not for broken connections
        reasons = ", ".join(str(each[-1]) for each in first) if isinstance(first, list) else ""
        reason = f"TLS: {words(reasons) or 'the connection broke off'}"
    else:
        reason = words(str(error)) or type(error).__name__
    raise Unreachable(f"{url} cannot be reached: {reason}") from error
