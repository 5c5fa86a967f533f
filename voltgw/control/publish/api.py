"""Requests to the HTTP API of a registry: its certificate is verified, and every answer is bounded in size and time.

A connection per request (`voltgw.control.ways`): rounds are rare, and whoever keeps none has none to lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from OpenSSL.crypto import Error as SSLError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from voltgw import __version__
from voltgw.control.publish.registrar import RegistryError, TooLarge
from voltgw.control.ways import Way, chain_of, trust_of, whole, why

T = TypeVar("T")

#: Largest answer; a page of 300 records of Route 53 has some 100 KiB.
MOST_BYTES: Final = 8 * 1024 * 1024
#: For connection, TLS handshake, request and answer together, in seconds.
TIMEOUT_S: Final = 30.0
#: What comes of reading an answer that is made of other things than it should be.
UNREADABLE: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError)
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
            self._chain = () if client is None else chain_of(client[0])
        except SSLError as error:
            raise ValueError("the client certificate, or its key, is no PEM") from error
        self._reactor = reactor
        self._clock = clock
        self._plain = plain
        self._ways: set[Way] = set()
        self._trust = trust_of(roots, "`trusted_ca`")

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """The answer, whatever its status; redirects are not followed. Raises `RegistryError`."""
        sent = {"user-agent": f"voltgw/{__version__}", **headers}
        fields = Headers({name.encode("ascii"): [value.encode("ascii", "replace")] for name, value in sent.items()})
        way = Way(self._reactor, self._trust, MOST_BYTES, TIMEOUT_S, plain=self._plain, client=self._client,
                  chain=self._chain, server_name=self._server_name)
        self._ways.add(way)
        try:
            asked = way.request(method.encode("ascii"), url.encode("ascii", "replace"), fields, body)
            reply: Reply = await asked.addCallback(_read).addTimeout(TIMEOUT_S, self._clock, _too_late)
            return reply
        except (RegistryError, CancelledError):
            raise
        except Exception as error:                  # whatever Twisted's client says of connections, TLS and framing
            if way.too_much:
                raise TooLarge(f"it answers with more than {MOST_BYTES} bytes") from error
            raise RegistryError(f"it cannot be reached: {why(error, words)}") from error
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
                  chain=self._chain, server_name=self._server_name)
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
            raise RegistryError(f"it cannot be reached: {why(error, words)}") from error
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
    body = whole(response, MOST_BYTES, TooLarge(f"it answers with more than {MOST_BYTES} bytes"))
    return body.addCallback(lambda data: Reply(response.code, fields, data))


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
