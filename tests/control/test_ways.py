"""Servers that send more than anybody wants, or do not let go: what comes is counted, and the end is ours to say."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.certificates import authority, server
from voltgw.control.acme import transport
from voltgw.control.acme.problems import Garbled, Unreachable
from voltgw.control.fetching import CannotFetch, Fetcher
from voltgw.control.publish import api
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.ways import OVERHEAD_BYTES

MOST = 1000
_HEAD = b"HTTP/1.1 200 OK\r\n"


@implementer(IPushProducer)
class Endless(Protocol):
    """Says `first` to the first request, and then `again` for as long as somebody listens; it closes nothing itself."""

    def __init__(self, first: bytes, again: bytes, gone: Deferred[None]) -> None:
        self.sent = 0
        self._first, self._again = first, again
        self._gone = gone
        self._asked = False
        self._sending = LoopingCall(self._send)

    def dataReceived(self, data: bytes) -> None:
        """The request."""
        if not self._asked:
            self._asked = True
            transport: Any = self.transport
            transport.write(self._first)
            if self._again:
                transport.registerProducer(self, True)
                self._sending.start(0)

    def _send(self) -> None:
        transport: Any = self.transport
        transport.write(self._again)
        self.sent += len(self._again)

    def pauseProducing(self) -> None:
        """Nobody reads."""
        if self._sending.running:
            self._sending.stop()

    def resumeProducing(self) -> None:
        """Somebody does again."""
        if not self._sending.running:
            self._sending.start(0)

    def stopProducing(self) -> None:
        """It is over."""
        self.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """They have left."""
        self.pauseProducing()
        if not self._gone.called:
            self._gone.callback(None)


class WayTests(TestCase):
    timeout = 20

    def serve(self, first: bytes, again: bytes = b"", *, tls: bool = False) -> str:
        """A server of that kind; its URL."""
        self.gone: Deferred[None] = Deferred()
        made: list[Endless] = []
        self.made = made
        gone = self.gone

        class Servers(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Endless:
                made.append(Endless(first, again, gone))
                return made[-1]

        core: Any = reactor
        if tls:
            issued = server("localhost")
            pair = ssl.PrivateCertificate.loadPEM(issued.key + issued.certificate)
            port = core.listenSSL(0, Servers(), pair.options(), interface="127.0.0.1")
        else:
            port = core.listenTCP(0, Servers(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http{'s' if tls else ''}://localhost:{port.getHost().port}/"

    def fetch(self, url: str) -> Deferred[bytes]:
        """Fetch it as keys of tokens are."""
        return Fetcher(reactor, MOST, "application/json")(url, authority("lab").certificate)

    async def refused(self, fetching: Deferred[bytes], *kinds: type[Exception]) -> str:
        """Why it failed."""
        wanted: tuple[type[Exception], ...] = kinds or (CannotFetch,)
        try:
            await fetching
        except wanted as error:
            return str(error)
        raise AssertionError("it did not fail")

    async def test_a_head_without_end(self) -> None:
        """Lines that are short enough each, interim answers that never lead to one: cut after some more than was wanted."""
        for first, again, words in (
                (_HEAD, b"x-%b: y\r\n" % (b"n" * 1000), "more than 1000 bytes"),
                (b"", b"HTTP/1.1 103 Early\r\nlink: <x>\r\n\r\n" * 20, "more than 1000 bytes"),
                (_HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x-trailer: y\r\n" * 50, "cut off")):
            self.assertIn(words, await self.refused(self.fetch(self.serve(first, again))))
            await self.gone
            self.assertLess(self.made[0].sent, OVERHEAD_BYTES + (8 << 20))      # the rest stands in the kernel's buffers

    async def test_a_ca_with_such_a_head(self) -> None:
        """Likewise; it is no answer of a CA."""
        url = self.serve(_HEAD, b"x: %b\r\n" % (b"n" * 1000), tls=True)
        asked = transport.Https(reactor, authority("lab").certificate).request("GET", url, {})
        self.assertIn("most of them before its body", await self.refused(asked, Garbled))   # type: ignore[arg-type]
        await self.gone

    async def test_a_stream_with_such_a_head(self) -> None:
        """A watch may go on for ever; what comes before it may not."""
        self.patch(api, "MOST_BYTES", MOST)
        heard: list[bytes] = []
        streaming = Deferred.fromCoroutine(api.Api(reactor, reactor, plain=True).stream(
            "GET", self.serve(_HEAD, b"x: %b\r\n" % (b"n" * 1000)), {}, heard.append, 5.0))
        await self.refused(streaming, RegistryError)        # type: ignore[arg-type]
        await self.gone
        streaming = Deferred.fromCoroutine(api.Api(reactor, reactor, plain=True).stream(
            "GET", self.serve(_HEAD + b"\r\n", b"x" * 1000), {}, heard.append, 5.0))
        while sum(map(len, heard)) < 2 * (OVERHEAD_BYTES + MOST):
            await deferLater(reactor, 0.01, lambda: None)
        streaming.cancel()
        await self.refused(streaming, CancelledError)       # type: ignore[arg-type]
        await self.gone

    async def test_a_server_that_does_not_let_go(self) -> None:
        """By TLS it may put off a polite end; behind a whole answer, a refused one and one that was given up it is cut."""
        for answer in (b"200 OK\r\ncontent-length: 4", b"404 Not Found\r\ncontent-length: 90000", b"200 OK\r\ncontent-length: 9000"):
            url = self.serve(b"HTTP/1.1 %b\r\n\r\nkeys" % answer, b"x" * 1000, tls=True)
            if b"length: 4\r\n" in b"%b\r\n" % answer and answer.startswith(b"200"):
                self.assertEqual(await self.fetch(url), b"keys")
            else:
                await self.refused(self.fetch(url))
            await self.gone

    async def test_one_that_is_given_up_within_its_body(self) -> None:
        """Cancelling cuts the connection, too."""
        fetching = self.fetch(self.serve(_HEAD + b"content-length: 900\r\n\r\n123", tls=True))
        await deferLater(reactor, 0.1, lambda: None)
        fetching.cancel()
        await self.refused(fetching, CancelledError)
        await self.gone

    async def test_hosts_that_no_certificate_can_name(self) -> None:
        """A failure like others, and not an error on the way to the timer of the next try."""
        for host in ("in_house", "a..b", "-", "x" * 300, "["):
            self.assertIn("cannot be asked", await self.refused(self.fetch(f"https://{host}/keys")))
            asked = transport.Https(reactor).request("GET", f"https://{host}/dir", {})
            await self.refused(asked, Unreachable)      # type: ignore[arg-type]

    async def test_http_of_a_ca(self) -> None:
        """It is not asked in the clear, whatever it says of its own URLs."""
        await self.refused(transport.Https(reactor).request("GET", self.serve(b""), {}), Unreachable)    # type: ignore[arg-type]
        self.assertEqual(self.made, [])
