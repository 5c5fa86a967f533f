"""Fetching over real sockets: TLS is verified, size is bounded, redirects are not followed."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.certificates import authority, server
from voltgw.control.fetching import CannotFetch, Fetcher

MOST = 1000


class _Answers(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []
        self.left: Deferred[None] = Deferred()      # whoever waited for /silent has gone

    def render_GET(self, request: Any) -> Any:
        """By path."""
        path = request.path.decode()
        self.asked.append((path, request.getHeader("accept")))
        if path == "/long":
            return b"x" * (MOST + 1)
        if path == "/endless":              # without a length
            for _ in range(3):
                request.write(b"x" * 600)
            request.finish()
            return NOT_DONE_YET
        if path == "/moved":
            request.redirect(b"/keys")
            return b""
        if path == "/gone":
            request.setResponseCode(404)
            return b"no"
        if path == "/silent":
            request.notifyFinish().addErrback(lambda _: self.left.callback(None))
            return NOT_DONE_YET
        return b"keys"


class FetchingTests(TestCase):
    def setUp(self) -> None:
        """Two servers, one with TLS whose authority nobody but us knows."""
        core: Any = reactor
        self.answers = _Answers()
        issued = server("127.0.0.1", "localhost")
        pair = ssl.PrivateCertificate.loadPEM(issued.key + issued.certificate)
        self.plain = core.listenTCP(0, Site(self.answers), interface="127.0.0.1")
        self.secure = core.listenSSL(0, Site(self.answers), pair.options(), interface="127.0.0.1")
        self.addCleanup(self.plain.stopListening)
        self.addCleanup(self.secure.stopListening)
        self.fetch = Fetcher(reactor, MOST, "application/json")

    def at(self, path: str, *, tls: bool = False, ca: bytes | None = None) -> Deferred[bytes]:
        """Fetch a path."""
        port = (self.secure if tls else self.plain).getHost().port
        return self.fetch(f"http{'s' if tls else ''}://localhost:{port}{path}", ca)

    async def refused(self, fetching: Deferred[bytes], *kinds: type[Exception]) -> str:
        """Why it failed."""
        wanted: tuple[type[Exception], ...] = kinds or (CannotFetch,)
        try:
            await fetching
        except wanted as error:
            return str(error)
        raise AssertionError("it did not fail")

    async def test_a_document(self) -> None:
        """In plain text and by TLS, for which the given authority vouches; what is accepted is said."""
        self.assertEqual(await self.at("/keys"), b"keys")
        self.assertEqual(await self.at("/keys", tls=True, ca=authority("lab").certificate), b"keys")
        self.assertEqual(self.answers.asked, [("/keys", "application/json")] * 2)

    async def test_a_server_for_which_nobody_vouches(self) -> None:
        """Neither the system's authorities nor another one do: nothing is sent to it."""
        await self.refused(self.at("/keys", tls=True), ResponseNeverReceived)
        await self.refused(self.at("/keys", tls=True, ca=authority("other").certificate), ResponseNeverReceived)
        self.assertEqual(self.answers.asked, [])

    async def test_too_much(self) -> None:
        """Whether the length is announced or not."""
        self.assertIn("more than 1000", await self.refused(self.at("/long")))
        self.assertIn("more than 1000", await self.refused(self.at("/endless")))

    async def test_other_answers(self) -> None:
        """A redirect is not followed, for it might lead into our own network; neither is an error a document."""
        self.assertIn("302", await self.refused(self.at("/moved")))
        self.assertIn("404", await self.refused(self.at("/gone")))
        self.assertEqual([path for path, _ in self.answers.asked], ["/moved", "/gone"])

    async def test_giving_up(self) -> None:
        """Who has waited long enough cancels; the connection goes."""
        fetching = self.at("/silent")
        reactor.callLater(0.05, fetching.cancel)
        await self.refused(fetching, CancelledError, ResponseNeverReceived)
        await self.answers.left
