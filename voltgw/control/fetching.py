"""Small documents of other servers, fetched over HTTP(S): certificates are verified, bodies bounded, redirects not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from voltgw.control.ways import Way

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
#: A server must accept a connection in this time, in seconds; whoever asks bounds the whole.
CONNECT_S: Final = 5.0


class CannotFetch(Exception):
    """There is nothing to be had; the message says why."""


class Fetcher:
    """Fetches documents of at most `most` bytes, each over a connection of its own."""

    def __init__(self, reactor: Any, most: int, accept: str) -> None:
        self._reactor = reactor
        self._most = most
        self._headers = Headers({"accept": [accept], "user-agent": ["voltgw"]})
        self._trusts: dict[bytes | None, Any] = {}

    def __call__(self, url: str, trusted_ca: bytes | None) -> Deferred[bytes]:
        """The document at `url`; `trusted_ca` (PEM) vouches for its server, None = the system's authorities do.

        Fails with `CannotFetch`, or with what Twisted says of connections. Cancelling it cuts the connection.
        """
        trust = self._trusts.get(trusted_ca)
        if trust is None:
            trust = self._trusts[trusted_ca] = platformTrust() if trusted_ca is None else trustRootFromCertificates(
                [Certificate.loadPEM(_BEGIN + pem) for pem in trusted_ca.split(_BEGIN)[1:]])
        way = Way(self._reactor, trust, self._most, CONNECT_S, plain=True)
        asked = way.request(b"GET", url.encode("ascii", "replace"), self._headers).addCallback(self._answered)

        def over(result: Any) -> Any:
            way.cut()
            return result

        def failed(failure: Failure) -> Any:
            if way.too_much:
                raise CannotFetch(f"there are more than {self._most} bytes, most of them before its body")
            if failure.check(ValueError):
                raise CannotFetch(f"{url} cannot be asked: {failure.getErrorMessage()}")
            return failure

        return asked.addBoth(over).addErrback(failed)

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
        self.done: Deferred[bytes] = Deferred()
        self._most = most
        self._size = 0
        self._pieces: list[bytes] = []

    def refuse(self, why: str) -> None:
        """It is of no use; whoever has asked cuts the connection."""
        if not self.done.called:
            self.done.errback(CannotFetch(why))

    def dataReceived(self, data: bytes) -> None:
        """Part of it."""
        if self.done.called:
            return
        self._size += len(data)
        if self._size > self._most:
            self.refuse(f"there are more than {self._most} bytes")
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of it, good or bad."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(CannotFetch("the answer was cut off"))
