"""Requests to APIs: every answer is bounded, and what goes wrong is said."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.support import LoopCase, Peer
from voltgw.control.publish import api
from voltgw.control.publish.api import Api, Reply, words
from voltgw.control.publish.registrar import RegistryError


class ApiTests(LoopCase):
    """`Api`."""

    async def ask(self, answer: bytes, method: str = "GET", body: bytes = b"") -> Reply:
        """What comes of one request."""
        self.heard = b""

        def said(peer: Peer, data: bytes) -> None:
            self.heard += data
            if b"\r\n\r\n" in self.heard and self.heard.endswith(body):
                peer.send(answer)

        origin = self.origin(said)
        return await Api(reactor, reactor, plain=True).request(method, f"http://127.0.0.1:{origin.port}/a?b=c", {"x-one": "1"}, body)

    async def why(self, answer: bytes) -> str:
        """Why it failed."""
        try:
            await self.ask(answer)
        except RegistryError as error:
            return str(error)
        raise AssertionError("it did not")

    async def test_there_and_back(self) -> None:
        """Method, path, header fields and body arrive; status, fields and body come back, whatever the status."""
        reply = await self.ask(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", "POST", b"<x/>")
        self.assertEqual((reply.status, reply.retry_after_s, reply.json), (429, 7.0, {"a": 1}))
        self.assertTrue(self.heard.startswith(b"POST /a?b=c HTTP/1.1\r\n"))
        self.assertIn(b"X-One: 1\r\n", self.heard)
        self.assertTrue(self.heard.endswith(b"\r\n\r\n<x/>"))

    async def test_too_much(self) -> None:
        """An answer that is too long is cut, whether it is in its head or in its body."""
        self.patch(api, "MOST_BYTES", 1000)
        self.assertIn("more than 1000 bytes", await self.why(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000))
        self.assertRegex(await self.why(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000), "more than 1000 bytes|cannot be reached")

    async def test_cut_off_and_nonsense(self) -> None:
        """Neither is believed."""
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"nonsense\r\n\r\n"):
            def said(peer: Peer, data: bytes, answer: bytes = answer) -> None:
                peer.send(answer)
                transport: Any = peer.transport
                transport.loseConnection()

            origin = self.origin(said)
            with self.assertRaises(RegistryError) as raised:
                await Api(reactor, reactor, plain=True).request("GET", f"http://127.0.0.1:{origin.port}/", {})
            self.assertIn("it cannot be reached: ", str(raised.exception))

    async def test_no_answer(self) -> None:
        """It is given up in time; the connection is cut."""
        clock = Clock()
        gone: list[Peer] = []
        origin = self.origin(lambda peer, data: gone.append(peer))
        asked = Deferred.fromCoroutine(Api(reactor, clock, plain=True).request("GET", f"http://127.0.0.1:{origin.port}/", {}))
        failed = self.assertFailure(asked, RegistryError)
        await self.until(lambda: gone)
        clock.advance(api.TIMEOUT_S + 1.0)
        self.assertIn("does not answer within", str(await failed))
        await self.until(lambda: gone[0].lost is not None)

    async def test_a_stream(self) -> None:
        """Pieces come as they are sent; while nothing comes the kernel asks whether the other side is there."""
        pieces: list[bytes] = []
        peers: list[Peer] = []

        def said(peer: Peer, data: bytes) -> None:
            peers.append(peer)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")

        origin = self.origin(said)
        made: Any = Api(reactor, reactor, plain=True)
        asked = Deferred.fromCoroutine(made.stream("GET", f"http://127.0.0.1:{origin.port}/", {}, pieces.append, 60.0))
        await self.until(lambda: pieces)
        [way] = made._ways
        sock = way._transports[0].getHandle()
        self.assertEqual([sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)], [1, 15])
        peers[0].send(b"two")
        self.assertEqual((await asked).status, 200)
        self.assertEqual(b"".join(pieces), b"onetwo")

    async def test_what_is_not_asked(self) -> None:
        """Plain HTTP only where it is allowed; nobody there; authorities that are none."""
        port = self.closed_port()
        for made, url, said in ((Api(reactor, reactor), f"http://127.0.0.1:{port}/", "http:// is not asked"),
                                (Api(reactor, reactor, plain=True), f"http://127.0.0.1:{port}/", "refused")):
            with self.assertRaises(RegistryError) as raised:
                await made.request("GET", url, {})
            self.assertIn(said, str(raised.exception))
        self.assertRaises(ValueError, Api, reactor, reactor, b"nothing")
        self.assertRaises(ValueError, Api, reactor, reactor, b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")

    def test_words(self) -> None:
        """What an API says is shown without control characters, and not all of it."""
        self.assertEqual(words("a\x1b[31m\nb"), "a [31m b")
        self.assertEqual(len(words("x" * 1000)), 301)
        self.assertIsNone(Reply(200, {"retry-after": "Wed, 21 Oct"}, b"").retry_after_s)
        self.assertRaises(RegistryError, lambda: Reply(200, {}, b"{").json)
