"""Requests to the HTTP API of a registry: its certificate is verified, and every answer is bounded in size and time.

A connection per request (`voltgw.control.ways`): rounds are rare, and whoever keeps none has none to lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from OpenSSL import SSL
from OpenSSL.crypto import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, platformTrust, trustRootFromCertificates
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from voltgw import __version__
from voltgw.control.publish.registrar import RegistryError, TooLarge
from voltgw.control.ways import Way

T = TypeVar("T")

#: Largest answer; a page of 300 records of Route 53 has some 100 KiB.
MOST_BYTES: Final = 8 * 1024 * 1024
#: For connection, TLS handshake, request and answer together, in seconds.
TIMEOUT_S: Final = 30.0
#: What comes of reading an answer that is made of other things than it should be.
UNREADABLE: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError)
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
#: Of words that come from an API, so many characters are shown.
_MOST_WORDS: Final = 300


class Reply(NamedTuple):
    """An answer; the names of `fields` are in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON. Raises `RegistryError` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"its answer ({self.status}) is no JSON") from error

    @property
    def retry_after_s(self) -> float | None:
        """For how long it wants to be left alone, None = it does not say (dates are not understood)."""
        said = self.fields.get("retry-after", "")
        return float(said) if said.isascii() and said.isdigit() and len(said) < 8 else None


class Api:
    """Sends requests. `roots` is PEM, None = the system's authorities; with `plain`, URLs of ``http`` may be asked."""

    def __init__(
        self, reactor: Any, clock: Any, roots: bytes | None = None, *, plain: bool = False,
        client: tuple[bytes, bytes] | None = None, server_name: str = "",
    ) -> None:
        """`client` are a certificate and its key, PEM, by which we are known; `server_name` is what the server's certificate
        has to have instead of the URL's host. Raises ValueError for `roots` without a certificate, and for what is no PEM.
        """
        self._server_name = server_name
        try:
            self._client = None if client is None else PrivateCertificate.loadPEM(b"\n".join(client))
        except SSLError as error:
            raise ValueError("the client certificate, or its key, is no PEM") from error
        self._reactor = reactor
        self._clock = clock
        self._plain = plain
        self._ways: set[Way] = set()
        if roots is None:
            self._trust: Any = platformTrust()
            return
        try:
            certificates = [Certificate.loadPEM(_BEGIN + one) for one in roots.split(_BEGIN)[1:]]
        except SSLError as error:
            raise ValueError("what stands in `trusted_ca` is no PEM certificate") from error
        if not certificates:
            raise ValueError("no certificate stands in `trusted_ca`")
        self._trust = trustRootFromCertificates(certificates)

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """The answer, whatever its status; redirects are not followed. Raises `RegistryError`."""
        sent = {"user-agent": f"voltgw/{__version__}", **headers}
        fields = Headers({name.encode("ascii"): [value.encode("ascii", "replace")] for name, value in sent.items()})
        way = Way(self._reactor, self._trust, MOST_BYTES, TIMEOUT_S, plain=self._plain, client=self._client,
                  server_name=self._server_name)
        self._ways.add(way)
        try:
            asked = way.request(method.encode("ascii"), url.encode("ascii", "replace"), fields, _Body(body) if body else None)
            reply: Reply = await asked.addCallback(_read).addTimeout(TIMEOUT_S, self._clock, _too_late)
            return reply
        except (RegistryError, CancelledError):
            raise
        except Exception as error:                  # whatever Twisted's client says of connections, TLS and framing
            if way.too_much:
                raise TooLarge(f"it answers with more than {MOST_BYTES} bytes") from error
            raise RegistryError(f"it cannot be reached: {_reason(error)}") from error
        finally:
            self._ways.discard(way)
            way.cut()

    def aside(self, call: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call in a thread what would hold up a turn, such as reading a large answer."""
        made: Deferred[T] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)
        return made

    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], received: Callable[[bytes], None], silence_s: float,
        begun: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Call `begun` when a 200 answer begins and `received` with each piece of its body, which is not kept and may go on for
        ever; any other answer comes whole. Raises `RegistryError`, what `received` raises, and also when nothing comes for
        `silence_s`.
        """
        sent = {"user-agent": f"voltgw/{__version__}", **headers}
        fields = Headers({name.encode("ascii"): [value.encode("ascii", "replace")] for name, value in sent.items()})
        way = Way(self._reactor, self._trust, MOST_BYTES, TIMEOUT_S, plain=self._plain, client=self._client,
                  server_name=self._server_name)
        self._ways.add(way)
        try:
            asked = way.request(method.encode("ascii"), url.encode("ascii", "replace"), fields).addTimeout(
                TIMEOUT_S, self._clock, _too_late)
            response: Any = await asked
            if response.code != 200:
                reply: Reply = await _read(response).addTimeout(TIMEOUT_S, self._clock, _too_late)
                return reply
            way.may_be_silent()                 # its head is here, and was no endless one
            begun()
            piece = _Pieces(response.code, received, self._clock, silence_s)
            response.deliverBody(piece)
            return await piece.done
        except (RegistryError, CancelledError):
            raise
        except Exception as error:
            raise RegistryError(f"it cannot be reached: {_reason(error)}") from error
        finally:
            self._ways.discard(way)
            way.cut()

    def close(self) -> None:
        """Cut what is under way."""
        for way in list(self._ways):
            way.cut()


def _too_late(result: object, seconds: float) -> Reply:
    raise RegistryError(f"it does not answer within {seconds:g} s")


def words(text: str) -> str:
    """Of what an API says, as much as can be shown."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown if len(shown) <= _MOST_WORDS else shown[:_MOST_WORDS] + "…"


def _read(response: Any) -> Deferred[Reply]:
    fields = {name.decode("latin-1").lower(): values[-1].decode("latin-1")
              for name, values in response.headers.getAllRawHeaders()}
    whole = _Whole(response.code, fields)
    response.deliverBody(whole)
    return whole.done


def _reason(error: BaseException) -> str:
    """What went wrong, for operators."""
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
    """Reads a body to its end, or until it is too large."""

    def __init__(self, status: int, fields: Mapping[str, str]) -> None:
        self.done: Deferred[Reply] = Deferred()
        self._head = status, fields
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._body += data
        if len(self._body) > MOST_BYTES and not self.done.called:
            self.done.errback(TooLarge(f"it answers with more than {MOST_BYTES} bytes"))

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:      # noqa: B008
        """The end; only the HTTP client knows whether it is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(Reply(*self._head, bytes(self._body)))
        else:
            self.done.errback(reason)


class _Pieces(Protocol):
    """Hands a body on while it comes."""

    def __init__(self, status: int, received: Callable[[bytes], None], clock: Any, silence_s: float) -> None:
        self.done: Deferred[Reply] = Deferred(lambda deferred: self._stop())
        self._status = status
        self._received = received
        self._silence_s = silence_s
        self._timer = clock.callLater(silence_s, self._silent)

    def dataReceived(self, data: bytes) -> None:
        """Some of it."""
        if self.done.called:
            return
        self._timer.reset(self._silence_s)
        try:
            self._received(data)
        except Exception:
            self._stop()
            self.done.errback(Failure())

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:      # noqa: B008
        """The end, in whatever manner: a server may cut what lasts too long, and what came before is good."""
        self._stop()
        if not self.done.called:
            if reason.check(ResponseDone, PotentialDataLoss):
                self.done.callback(Reply(self._status, {}, b""))
            else:
                self.done.errback(reason)

    def _silent(self) -> None:
        self.done.errback(RegistryError(f"nothing came for {self._silence_s:g} s"))

    def _stop(self) -> None:
        if self._timer.active():
            self._timer.cancel()


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
