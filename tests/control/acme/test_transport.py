"""HTTPS to a CA: whom it believes, how much it reads, how long it waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from OpenSSL import crypto
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.certificates import authority, server
from tests.integration.gateway import free_port
from voltgw.config.issuing import Usage, issue, new_authority
from voltgw.control.acme import transport
from voltgw.control.acme.messages import Answer
from voltgw.control.acme.problems import Garbled, Unreachable


class _Ca(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bytes, bytes, bytes]] = []
        self.held: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        """By its path."""
        assert request.content is not None
        self.asked.append((request.method, request.path, request.content.read()))
        request.setHeader(b"replay-nonce", b"n1")
        if request.path == b"/huge":
            return b"x" * (transport.MOST_BYTES + 1)
        if request.path == b"/slow":
            self.held.append(request)
            return NOT_DONE_YET
        if request.path == b"/drip":            # a head, and then nothing
            request.write(b"x" * 10)
            self.held.append(request)
            return NOT_DONE_YET
        if request.path == b"/elsewhere":
            request.setResponseCode(302)
            request.setHeader(b"location", b"https://127.0.0.1/other")
            return b""
        request.setResponseCode(201)
        return b"made"


class _HangsUp(Protocol):
    def dataReceived(self, data: bytes) -> None:
        """Enough heard."""
        assert self.transport is not None
        self.transport.loseConnection()


class HttpsTests(TestCase):
    def setUp(self) -> None:
        self.core: Any = reactor
        self.ca = _Ca()
        self.pair = server("localhost", "127.0.0.1")
        self.listen(self.pair.certificate, self.pair.key)

    def listen(self, certificate: bytes, key: bytes) -> None:
        """Serve with this certificate."""
        options = CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key),
            certificate=crypto.load_certificate(crypto.FILETYPE_PEM, certificate))
        port = self.core.listenSSL(0, Site(self.ca), options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}"

    def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", roots: bytes | None = None) -> Deferred[Answer]:
        """One request, trusting the CA of the tests."""
        return transport.Https(self.core, roots or authority("lab").certificate).request(
            method, self.url + path, {"content-type": "application/jose+json"}, body)

    async def fails(self, kind: type[Exception], path: str = "/", **options: Any) -> str:
        """The words of the failure."""
        try:
            await self.ask(path, **options)
        except kind as error:
            return str(error)
        raise AssertionError("it did not fail")

    async def test_an_answer(self) -> None:
        """Status, the fields that matter, the body; what was sent arrives whole."""
        answer = await self.ask("/made", "POST", b"hello")
        self.assertEqual((answer.status, answer.body, answer.headers["replay-nonce"], answer.url), (201, b"made", "n1", f"{self.url}/made"))
        self.assertEqual(self.ca.asked, [(b"POST", b"/made", b"hello")])

    async def test_head(self) -> None:
        """It has no body to wait for."""
        self.assertEqual((await self.ask("/made", "HEAD")).body, b"")

    async def test_a_redirect(self) -> None:
        """It is not followed."""
        self.assertEqual((await self.ask("/elsewhere")).status, 302)
        self.assertEqual(len(self.ca.asked), 1)

    async def test_the_certificate_of_another_ca(self) -> None:
        """Nothing is said to it."""
        told = await self.fails(Unreachable, roots=authority("other").certificate)
        self.assertIn("TLS", told)
        self.assertIn("certificate verify failed", told)
        self.assertEqual(self.ca.asked, [])

    async def test_the_certificate_of_another_name(self) -> None:
        """Likewise."""
        pair = server("elsewhere.example")
        self.listen(pair.certificate, pair.key)
        self.assertIn("TLS: its certificate is that of another host", await self.fails(Unreachable))
        self.assertEqual(self.ca.asked, [])

    async def test_an_expired_certificate(self) -> None:
        """Likewise."""
        past = datetime(2020, 1, 1, tzinfo=UTC)
        old = new_authority("old", past, 20000)
        pair = issue(old, "localhost", ("localhost",), Usage.SERVER, past, 30)
        self.listen(pair.certificate, pair.key)
        self.assertIn("TLS: certificate verify failed", await self.fails(Unreachable, roots=old.certificate))

    async def test_the_roots_of_the_system(self) -> None:
        """They do not know our CA."""
        https = transport.Https(self.core)
        try:
            await https.request("GET", self.url + "/", {})
        except Unreachable as error:
            self.assertIn("TLS", str(error))
        else:
            raise AssertionError("it was believed")

    async def test_too_much(self) -> None:
        """It is cut."""
        self.assertIn(f"more than {transport.MOST_BYTES} bytes", await self.fails(Garbled, "/huge"))

    async def test_too_slow(self) -> None:
        """Without an answer, or in the middle of one, there is an end."""
        self.patch(transport, "TIMEOUT_S", 0.2)
        for path in ("/slow", "/drip"):
            self.assertIn("does not answer within 0.2 s", await self.fails(Unreachable, path))

    async def test_nobody_waits_any_more(self) -> None:
        """Who cancels hears that, before and after the head of the answer, and the connection is gone."""
        for path in ("/slow", "/drip"):
            asked = self.ask(path)
            while not self.ca.held:
                await deferLater(self.core, 0.005)
            self.ca.held.clear()
            asked.cancel()
            with self.assertRaises(CancelledError):
                await asked

    async def test_nobody_there(self) -> None:
        """The reason is told."""
        self.url = f"https://localhost:{free_port()}"
        self.assertIn("refused", await self.fails(Unreachable))

    async def test_no_tls_there(self) -> None:
        """It ends, whatever a server without TLS makes of a hello."""
        self.patch(transport, "TIMEOUT_S", 0.2)
        port = self.core.listenTCP(0, Site(self.ca), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}"
        self.assertRegex(await self.fails(Unreachable), "does not answer|TLS: ")

    async def test_a_server_that_hangs_up(self) -> None:
        """In the middle of the handshake."""
        factory = Factory.forProtocol(_HangsUp)
        port = self.core.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}"
        self.assertRegex(await self.fails(Unreachable), "cannot be reached: (TLS: the connection broke off|Connection)")

    def test_roots_that_are_none(self) -> None:
        """They are told before anybody is asked."""
        for roots in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"):
            with self.assertRaises(ValueError):
                transport.Https(self.core, roots)
