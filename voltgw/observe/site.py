"""The admin interface's sites: who may ask what, and what every answer has in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from cryptography.x509 import Certificate
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from voltgw.observe.answers import Answer, Sending, cut
from voltgw.observe.callers import OPERATE, READ, Caller, Callers, counted_as, user_of
from voltgw.observe.contents import Page, challenge, for_people, refuse
from voltgw.observe.guard import refusal
from voltgw.observe.pages import CONTENT_SECURITY_POLICY
from voltgw.values.address import is_loopback

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.web.http import Request as HttpRequest

#: Connections open at once to one of our sites; the next ones are closed. Scrapers and probes need a handful.
MAX_CONNECTIONS: Final = 64
#: Of these, connections of one address that is not this host: somebody who only connects must not shut out who operates.
MOST_OF_ONE: Final = 16
#: A connection without a request, or with half of one, is closed after this.
IDLE_TIMEOUT_S: Final = 30.0
#: A request is whole so long after its first byte, or its connection is closed, however busily it comes byte by byte.
REQUEST_TIMEOUT_S: Final = 10.0
#: Nothing that we serve wants a request body; a client that sends more than this is cut off.
MAX_BODY_BYTES: Final = 64 * 1024
#: Of an address that changes something, what the log says.
_MOST_URI: Final = 200

_FIELDS: Final = (
    (b"Server", b"voltgw"),
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Content-Security-Policy", CONTENT_SECURITY_POLICY.encode("ascii")),
)
_USE_THE_SOCKET: Final = (
    "over TCP the admin interface only answers questions, unless a token or a certificate says who asks: set "
    "gateway.admin.tokens, or set gateway.admin to {unix: PATH} and use that socket, or send the process a signal: SIGHUP "
    "reloads, SIGTERM drains and stops"
)
_ANYBODY: Final = Callers(lambda: 0.0)


class Root(Resource):
    """Looks a path up and serves its page, after `guard` found nothing against the request."""

    isLeaf = True
    _log = Logger()

    def __init__(self, pages: Mapping[bytes, Page], clock: IReactorTime, monotonic: Callable[[], float], *,
                 names: Collection[str] = (), guarded: bool = True, callers: Callers = _ANYBODY,
                 scheme: bytes = b"http") -> None:
        super().__init__()
        self._callers = callers
        self._scheme = scheme
        self._pages = pages
        self._below = [(at, page) for at, page in pages.items() if page.below]
        self._clock = clock
        self._monotonic = monotonic
        self._names = names
        self._guarded = guarded

    def render(self, request: HttpRequest) -> int:
        """Answer one request."""
        assert isinstance(request, Request)     # our site makes no others
        try:
            answer = self._answer(request)
        except Exception:
            answer = self._failed(request)
        if isinstance(answer, Deferred):
            gone = request.notifyFinish()
            gone.addErrback(lambda failure: None)   # the client did not wait: the act goes on, nobody is told
            answer.addErrback(self._late_failure, request)
            answer.addCallback(self._send_late, request, gone)
        else:
            self._send(request, answer)
        return NOT_DONE_YET

    def _answer(self, request: Request) -> Answer | Deferred[Answer]:
        here = request.getHost()
        unix = isinstance(here, UNIXAddress)
        if self._guarded:
            local = here.host if isinstance(here, IPv4Address | IPv6Address) else ""
            why = refusal(lambda name: request.requestHeaders.getRawHeaders(name, ()), local, self._names, any_host=unix,
                          scheme=self._scheme)
            if why:
                return refuse(request, 403, why)
        found = self._pages.get(request.path) or self._around(request.path)
        if found is None:
            return refuse(request, 404, "there is no such page")
        allowed = b"POST" if found.act else b"GET, HEAD"
        if request.method not in allowed.split(b", "):
            return refuse(request, 405, "this page is not asked for like that", ((b"Allow", allowed),))
        if not self._guarded:
            return found.serve(request)
        caller = self._caller(request, unix=unix)
        if not isinstance(caller, Caller):
            return caller
        if caller.role < (OPERATE if found.act else READ) or (found.known and not caller.name):
            return self._not_for(request, caller, found)
        request.operates = caller.role >= OPERATE       # type: ignore[attr-defined]  # ours has it
        return self._audited(request, caller, found) if found.act else found.serve(request)

    def _around(self, path: bytes) -> Page | None:
        """The page that is also at all paths below its own."""
        return next((each for at, each in self._below if path.startswith(at)), None)

    def _caller(self, request: Request, *, unix: bool) -> Caller | Answer:
        """Who asks; an answer where what they show is wrong."""
        callers = self._callers
        connection: Any = request.channel.transport
        shown = request.requestHeaders.getRawHeaders(b"authorization", ())
        if shown:
            source = f"user {user_of(connection.socket)}" if unix else _source(request)     # one user must not shut out others
            caller = callers.of_token(shown[0], source) if len(shown) == 1 else None
            if caller is not None:
                return caller
            if callers.is_shut_out(source):
                return refuse(request, 429, "too many wrong tokens came from this address", ((b"Retry-After", b"60"),))
            return refuse(request, 401, "this token is not one of the gateway's", challenge(request))
        if unix:
            return callers.of_process(connection.socket)
        certificate = _certificate(request)
        caller = None if certificate is None else callers.of_certificate(certificate)
        return caller or Caller("", callers.anonymous)

    def _not_for(self, request: Request, caller: Caller, found: Page) -> Answer:
        self._callers.refused["role"] += 1
        if caller.name:
            return refuse(request, 403, f"{caller.name} may {'only ask' if caller.role else 'not ask here'}")
        if not self._callers.has_credentials:
            return refuse(request, 403, _USE_THE_SOCKET)
        return refuse(request, 401, "say who you are: with a token (Authorization: Bearer TOKEN), or a certificate",
                      challenge(request))

    def _audited(self, request: Request, caller: Caller, found: Page) -> Answer | Deferred[Answer]:
        """Do it, and have the log say who has done it, and what came of it."""
        def told(answer: Answer) -> Answer:
            self._log.info("{who} at {source} has asked for {what}: status {status}", who=caller.name, source=_source(request),
                           what=request.uri[:_MOST_URI].decode("latin-1"), status=answer.status, event="admin.act")
            return for_people(request, answer)

        answer = found.serve(request)
        return answer.addCallback(told) if isinstance(answer, Deferred) else told(answer)

    def _send(self, request: Request, answer: Answer) -> None:
        request.setResponseCode(answer.status)
        headers = request.responseHeaders
        for name, value in (*_FIELDS, *answer.fields, (b"Content-Type", answer.content_type.encode("latin-1"))):
            headers.setRawHeaders(name, [value])
        if request.method == b"HEAD":
            request.finish()
            return
        body = answer.body
        if isinstance(body, tuple):
            whole = b"".join(body)
            headers.setRawHeaders(b"Content-Length", [b"%d" % len(whole)])
            request.write(whole)
            request.finish()
        else:
            Sending(request, iter(body), self._clock, self._monotonic)

    def _send_late(self, answer: Answer, request: Request, gone: Deferred[None]) -> None:
        if not gone.called:
            self._send(request, answer)

    def _late_failure(self, failure: Failure, request: Request) -> Answer:
        self._log.failure("the admin interface failed at {path!r}", failure, path=request.path)
        return refuse(request, 500, "an internal error, see the log")

    def _failed(self, request: Request) -> Answer:
        return self._late_failure(Failure(), request)


def _source(request: Request) -> str:
    """Where a request comes from, for the log."""
    peer = request.getClientAddress()
    return peer.host if isinstance(peer, IPv4Address | IPv6Address) else "the Unix socket"


def _place(peer: IAddress | None) -> str:
    """What connections of one client elsewhere have in common; "" = this host."""
    host = peer.host if isinstance(peer, IPv4Address | IPv6Address) else ""
    return "" if not host or is_loopback(host) else counted_as(host)


def _certificate(request: Request) -> Certificate | None:
    """What a client has shown, verified by OpenSSL."""
    ask = getattr(request.channel.transport, "getPeerCertificate", None)      # what bounds connections passes this on
    shown = None if ask is None else ask()
    return None if shown is None else shown.to_cryptography()


class AdminRequest(Request):
    """A request whose body is thrown away as it comes, and is not long."""

    operates = False                        # whether whoever asks may change something

    def gotLength(self, length: int | None) -> None:
        """The head is complete."""
        self.content = BytesIO()
        self._body_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            cut(self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is there."""
        connection: Any = self.channel.transport
        connection.complete()
        super().requestReceived(command, path, version)


class AdminSite(Site):
    """A site that writes no log of its own: the process log has what changed, and questions change nothing."""

    noisy = False
    requestFactory = AdminRequest

    def __init__(self, root: Root, clock: IReactorTime) -> None:
        super().__init__(root, reactor=clock, timeout=IDLE_TIMEOUT_S)
        self.clock = clock

    def startFactory(self) -> None:
        """Called by Twisted, to open a log and to keep the time for it; we do neither."""

    def log(self, request: HttpRequest) -> None:
        """Called by Twisted when a request is over."""


class _Connection(ProtocolWrapper):
    """A connection whose requests do not take for ever to come."""

    _late: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        """Some of a request has come."""
        if self._late is None:
            factory: Any = self.factory
            self._late = factory.clock.callLater(REQUEST_TIMEOUT_S, self.abortConnection)
        super().dataReceived(data)

    def complete(self) -> None:
        """The request is whole, or there will be none."""
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def connectionLost(self, reason: Failure) -> None:      # type: ignore[override]
        """The end of it."""
        self.complete()
        super().connectionLost(reason)


class BoundedFactory(WrappingFactory):
    """Takes at most `MAX_CONNECTIONS` at once, `MOST_OF_ONE` from one place elsewhere, and can close them all."""

    noisy = False
    protocol = _Connection

    def __init__(self, site: AdminSite) -> None:
        super().__init__(site)
        self.clock = site.clock
        self._closed: Deferred[None] | None = None
        self._places: dict[ProtocolWrapper, str] = {}

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        """Twisted has accepted a connection; None closes it (which `WrappingFactory` does not say)."""
        place = _place(addr)
        if len(self.protocols) >= MAX_CONNECTIONS or place and list(self._places.values()).count(place) >= MOST_OF_ONE:
            return None
        return super().buildProtocol(addr)

    def registerProtocol(self, p: ProtocolWrapper) -> None:
        """A connection is there."""
        super().registerProtocol(p)
        place = _place(p.getPeer())
        if place:
            self._places[p] = place

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """A connection is over."""
        super().unregisterProtocol(p)
        self._places.pop(p, None)
        if self._closed is not None and not self.protocols:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close every connection, behind what was written to it; the result comes when all are gone."""
        if not self.protocols:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed = closed
        for protocol in list(self.protocols):
            protocol.loseConnection()
        return closed

    def abort(self) -> None:
        """Close every connection that is still there, at once."""
        for protocol in list(self.protocols):
            protocol.abortConnection()
