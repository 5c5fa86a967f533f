"""Between HTTP/1.1 and HTTP/2: what belongs to one hop stays there, and a length that is announced is kept (RFC 9113 8)."""

from __future__ import annotations

from tests.proxy.rig import answer, requests
from tests.proxy.rig2 import ASK, Proxy2Case

#: Fields that a message of HTTP/1.1 may have and one of HTTP/2 must not (8.2.2).
HOP = b"Connection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nUpgrade: h2c\r\n"
NAMES = (b"connection", b"x-hop", b"keep-alive", b"proxy-connection", b"upgrade", b"transfer-encoding", b"http2-settings")


class FromVersion2Tests(Proxy2Case):
    def test_fields_of_the_endpoint_s_hop(self) -> None:
        """An answer of HTTP/1.1 loses them; the client gets lower-case names, and a body of unknown length as DATA."""
        client = self.client2()
        stream = client.ask()
        self.accept().send(b"HTTP/1.1 200 OK\r\n" + HOP + b"X-Kept: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.body, seen.ended, seen.get(b"x-kept")), (200, b"ok", True, b"a"))
        self.assertEqual([name for name, _ in seen.head if name in NAMES or name != name.lower()], [])

    def test_te_and_crumbs(self) -> None:
        """An endpoint of HTTP/1.1 gets one Cookie, Host for :authority, and no TE."""
        client = self.client2()
        client.ask([*ASK, (b"te", b"trailers"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"host", b"shop")])
        [request] = requests(self.accept().got())
        self.assertEqual([value for name, value in request.fields if name == b"cookie"], [b"a=1; b=2"])
        self.assertEqual([value for name, value in request.fields if name == b"host"], [b"shop"])
        self.assertEqual([name for name in request.names() if name in (b"te", b"connection", b":authority")], [])

    def test_an_answer_that_is_shorter_than_announced(self) -> None:
        """The client must not take a part for the whole: its stream is reset."""
        client = self.client2()
        stream = client.ask()
        origin = self.accept()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
        origin.fin()
        self.settle(client)
        self.assertEqual((client.seen[stream].ended, client.seen[stream].reset), (False, 2))


class ToVersion2Tests(Proxy2Case):
    origin_2 = True

    def test_fields_of_the_client_s_hop(self) -> None:
        """A request of HTTP/1.1 loses them; a target with a host is what :authority says, whatever Host is."""
        client = self.client()
        client.send(b"GET http://shop/a?b HTTP/1.1\r\nHost: other\r\n" + HOP.replace(b"h2c", b"foo") + b"TE: gzip, trailers\r\n"
                    b"HTTP2-Settings: x\r\nX-Kept: a\r\n\r\n")
        origin = self.accept2()
        seen = origin.seen[1]
        self.assertEqual((seen.get(b":authority"), seen.get(b":path"), seen.get(b"x-kept")), (b"shop", b"/a?b", b"a"))
        self.assertEqual([name for name, _ in seen.head if name in (*NAMES, b"host")], [])
        self.assertIn(seen.get(b"te"), (None, b"trailers"))
        origin.answer(1, 204)
        self.turn()
        self.assertEqual(answer(client.got()).start, 204)

    def test_an_endpoint_that_answers_early(self) -> None:
        """Its answer is whole; that it then resets the stream with NO_ERROR takes nothing from it (8.1)."""
        for known in (True, False):
            client, client2 = self.client(), self.client2()
            client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
            stream = client2.ask([(b":method", b"POST"), *ASK[1:]], ended=False)
            origin = self.accept2()
            client2.send(stream, bytes(1000))
            self.settle(client2, origin)
            for number in origin.requests:
                origin.answer(number, 413, [(b"content-length", b"2")] if known else [], b"no")
                origin.reset(number, 0)
            self.turn()
            self.settle(client2, origin)
            self.assertIn(b"HTTP/1.1 413", client.got())
            seen = client2.seen[stream]
            self.assertEqual((seen.status, seen.body, seen.ended), (413, b"no", True))
            origin.wire.reset()
            client.reset()
            client2.wire.reset()
            self.turn()

    def test_data_against_content_length(self) -> None:
        """Of an endpoint: more or less than it has announced ends the answer, which the client can tell, in either version."""
        for body in (b"abc", b"abcdefgh"):
            client, client2 = self.client(), self.client2()
            client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            stream = client2.ask()
            origin = self.accept2()
            self.settle(origin)
            for number in origin.requests:
                origin.answer(number, 200, [(b"content-length", b"5")], b"", ended=False)
            self.settle(client2, origin)
            head = bytes.fromhex(f"{len(body):06x} 00 01")
            for number in origin.requests:
                origin.wire.send(head + number.to_bytes(4, "big") + body)      # the library would refuse to say so
            self.turn()
            self.settle(client2)
            self.assertTrue(client.gone)
            data = client.got()
            self.assertIn(b"content-length: 5", data.lower())
            self.assertLess(len(data.partition(b"\r\n\r\n")[2]), 5)
            self.assertFalse(client2.seen[stream].ended)
            self.assertIsNotNone(client2.seen[stream].reset)
            origin.wire.reset()
            client2.wire.reset()
            self.turn()
