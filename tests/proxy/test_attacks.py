"""Requests that are attacks, through the whole gateway: what the endpoint has received of them (promises 3.1 to 3.3, 3.5).

The tables of `tests.wire` say what the codec makes of them; here h11 reads what came out at the other end, and nothing may
come out that it does not read as exactly the one request that was forwarded. docs/attacks.rst names a test for every case.
"""

from __future__ import annotations

import gc
import tracemalloc

from tests.proxy.rig import GET, PEER, ProxyCase, Wire, answer, requests
from tests.proxy.sockets import SocketCase
from tests.wire.test_chunks import BAD, GOOD
from tests.wire.test_http1_request import FRAMING, HEADS, HOSTS
from tests.wire.test_path import FORMS, REFUSED
from voltgw.net.listener import Listener
from voltgw.values.defaults import MAX_PIPELINED_BYTES, REQUEST_HEAD_TIMEOUT_S

#: What must never be taken for a request.
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n"
#: Six bytes that end a body of six bytes, and are a whole chunked body too (with another end).
SIX = b"1\r\nA\r\n0\r\n\r\n"


class AttackCase(ProxyCase):
    def attack(self, data: bytes) -> tuple[Wire, bytes]:
        """A new client sends this at once; the endpoint accepts if it is asked, and answers: the client, what it received."""
        client = self.client()
        client.send(data)
        self.turn()
        received = b""
        while self.rig.dials:
            origin = self.accept()
            origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            received += origin.got()
        return client, received

    def refused(self, data: bytes, status: int, name: object) -> None:
        """It is answered so, nothing reaches an endpoint, and nothing behind it is looked at."""
        client, received = self.attack(data)
        self.assertEqual((received, self.cluster.counters.connects), (b"", 0), name)
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"connection"), client.finished), (status, b"close", True), name)
        client.send(SMUGGLED)
        self.turn()
        self.assertEqual((client.got(), self.rig.dials), (b"", []), name)


class FramingTests(AttackCase):
    def test_every_length_of_the_table(self) -> None:
        """What is refused reaches nobody, whatever follows; what is accepted is one request with its own body."""
        for name, (lines, status) in FRAMING.items():
            head = b"\r\n".join([b"POST / HTTP/1.1", b"Host: shop", *lines, b"", b""])
            if status:
                self.refused(head + SIX + SMUGGLED, status, name)
                continue
            chunked = b"hunked" in head.lower()
            client, received = self.attack(head + (SIX if chunked else b"GET / ") + SMUGGLED)
            first, second = requests(received)
            self.assertEqual((first.body, second.target), (b"A" if chunked else b"GET / ", b"/admin"), name)
            self.cluster.counters.connects = 0

    def test_every_head_of_the_table(self) -> None:
        """Nothing is repaired, and nothing of it is forwarded."""
        for name, (head, status) in HEADS.items():
            if head.startswith(b"CONNECT"):
                continue                    # refused, and the connection goes on: see test_uploads
            for method in (b"GET", b"POST"):
                self.refused(head.replace(b"GET", method, 1) + SMUGGLED, status, name)

    def test_every_good_chunked_body(self) -> None:
        """The endpoint reads the same data; extensions and trailers do not reach it, not even one that says Host."""
        for body, (_, data) in GOOD.items():
            _, received = self.attack(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED)
            first, second = requests(received)          # it raises where there are trailers
            self.assertEqual((first.body, first.get(b"host"), second.target), (data, b"shop", b"/admin"), body)
            self.assertNotIn(b"evil", received)
            self.assertNotIn(b";", received)

    def test_every_bad_chunked_body(self) -> None:
        """What the endpoint has of it never becomes a whole message, its connection is cut, and the client is told 400."""
        head = b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
        for name, body in BAD.items():
            self.refused(head + body + SMUGGLED, 400, name)         # known before an endpoint is asked
        for name, body in BAD.items():
            for step in (1, len(body)):
                client = self.client()
                client.send(head + b"3\r\nabc\r\n")
                origin = self.accept()
                for at in range(0, len(body), step):
                    client.send(body[at:at + step])
                client.send(b"\r\n0\r\n\r\n" + SMUGGLED)
                self.turn()
                got, = requests(origin.got())
                self.assertEqual((got.whole, origin.aborted), (False, True), name)
                self.assertEqual(got.body[:3], b"abc", name)
                self.assertEqual(answer(client.got()).start, 400, name)
                self.assertEqual((client.finished, self.rig.dials), (True, []), name)

    def test_a_body_that_ends_early(self) -> None:
        """The client leaves in the middle: the endpoint's connection is cut, so that it cannot take the part for the whole."""
        for head, body in ((b"Content-Length: 10", b"abc"), (b"Transfer-Encoding: chunked", b"a\r\nabc")):
            client = self.client()
            client.send(b"POST / HTTP/1.1\r\nHost: shop\r\n" + head + b"\r\n\r\n" + body)
            origin = self.accept()
            client.fin()
            self.turn()
            got, = requests(origin.got())
            self.assertEqual((got.whole, origin.aborted, len(self.endpoint.pool)), (False, True, 0), head)

    def test_requests_sent_ahead(self) -> None:
        """Two requests and a bad one in one piece: two arrive, each alone on the wire, and what is behind the bad one is dead."""
        data = GET + b"POST /b HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello" + HEADS["a folded line"][0] + SMUGGLED
        client, received = self.attack(data)
        self.assertEqual([(each.target, each.body, each.whole) for each in requests(received)],
                         [(b"/", b"", True), (b"/b", b"hello", True)])
        self.assertEqual([record.response_code for record in self.records], [200, 200, 400])
        self.assertTrue(client.finished)

    def test_expectations(self) -> None:
        """An expectation that nobody knows is 417, whatever is hidden in it; one that holds leaves a body a body."""
        for value in (b"100-continue, x", b"x, 100-continue", b'"100-continue"', b"100-continue\tx", b"200-ok", b"100-Continu"):
            self.refused(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: " + value + b"\r\nContent-Length: 37\r\n\r\n" + SMUGGLED, 417, value)
        _, received = self.attack(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-Continue\r\nContent-Length: %d\r\n\r\n%b"
                                  % (len(SMUGGLED), SMUGGLED))
        message, = requests(received)
        self.assertEqual((message.body, message.get(b"expect")), (SMUGGLED, b"100-continue"))


class TargetTests(AttackCase):
    def test_every_host_of_the_table(self) -> None:
        """What is refused reaches nobody; what is accepted arrives once, as it was written."""
        for host, status in HOSTS.items():
            data = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            if status:
                self.refused(data, status, host)
                continue
            _, received = self.attack(data)
            message, = requests(received)
            self.assertEqual(message.get(b"host"), host)
            self.cluster.counters.connects = 0

    def test_none_or_several_hosts(self) -> None:
        """400; and a URL as target does not make up for them."""
        for target in (b"/", b"http://shop/"):
            for lines in (b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a, b\r\n"):
                self.refused(b"GET " + target + b" HTTP/1.1\r\n" + lines + b"\r\n", 400, (target, lines))

    def test_the_target_names_another_host(self) -> None:
        """The authority of the URL wins, and it is the only Host that the endpoint receives."""
        _, received = self.attack(b"GET http://shop.example/x HTTP/1.1\r\nHost: evil\r\n\r\n")
        message, = requests(received)
        self.assertEqual((message.target, message.get(b"host")), (b"/x", b"shop.example"))
        self.assertNotIn(b"evil", received)

    def test_every_path_of_the_table(self) -> None:
        """The endpoint receives the one normal form, which is what routes were matched with; what has none is 400."""
        for path, form in FORMS.items():
            _, received = self.attack(b"GET " + path + b"?x=/../y HTTP/1.1\r\nHost: shop\r\n\r\n")
            message, = requests(received)
            self.assertEqual(message.target, form + b"?x=/../y", path)
            route = self.records[-1].request
            self.assertEqual(route.path, form)
        self.cluster.counters.connects = 0
        for path in REFUSED:
            self.refused(b"GET " + path + b" HTTP/1.1\r\nHost: shop\r\n\r\n", 400, path)


class IdentityTests(AttackCase):
    def test_what_a_client_says_of_itself(self) -> None:
        """Nothing of it arrives in a stranger's name, whether Connection takes it away or not; and each field of ours stands once."""
        names = [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Real-IP", b"Forwarded", b"X-Request-ID",
                 b"X-Forwarded-Client-Cert", b"Client-Cert", b"Client-Cert-Chain", b"X-Real_IP", b"X_Forwarded_For"]
        lines = b"".join(b"%b: evil\r\n" % name for name in names)
        for connection in (b"", b"Connection: close, " + b", ".join(names) + b"\r\n"):
            _, received = self.attack(b"GET / HTTP/1.1\r\nHost: shop\r\n" + connection + lines + b"\r\n")
            message, = requests(received)
            ours = {name: value for name, value in message.fields if name.startswith(b"x-")}
            self.assertEqual(ours.pop(b"x-forwarded-for"), PEER.encode() if connection else b"evil, " + PEER.encode())
            self.assertEqual({name: ours[name] for name in (b"x-forwarded-proto", b"x-real-ip")},
                             {b"x-forwarded-proto": b"http", b"x-real-ip": PEER.encode()})
            self.assertEqual(received.count(b"evil"), 0 if connection else 1)
            self.assertEqual(self.records[-1].client_address, PEER)

    def test_connection_names_what_the_message_needs(self) -> None:
        """Host and the framing stay, whatever Connection says; Authorization may go, since that only harms its sender."""
        _, received = self.attack(b"POST / HTTP/1.1\r\nHost: shop\r\nConnection: Host, Content-Length, Authorization, Cookie\r\n"
                                  b"Authorization: Basic x\r\nContent-Length: 2\r\n\r\nhi")
        message, = requests(received)
        self.assertEqual((message.get(b"host"), message.get(b"content-length"), message.body, message.get(b"authorization")),
                         (b"shop", b"2", b"hi", None))
        self.assertEqual(message.get(b"x-forwarded-for"), PEER.encode())

    def test_fields_of_one_hop(self) -> None:
        """None of them arrives, named by Connection or not; above all no way to h2c."""
        lines = (b"Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\n"
                 b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nProxy-Authorization: Basic x\r\n")
        for connection in (b"", b"Connection: Upgrade, HTTP2-Settings\r\n", b"Connection: Upgrade\r\n"):
            _, received = self.attack(b"GET / HTTP/1.1\r\nHost: shop\r\n" + connection + lines + b"\r\n")
            message, = requests(received)
            self.assertEqual([name for name in message.names() if not name.startswith(b"x-")], [b"host"], connection)


class SlowTests(AttackCase):
    def test_many_heads_that_drip_in(self) -> None:
        """Each is closed with 408 at its own deadline, however it drips; another client is answered at once meanwhile."""
        drips = b"GET / HTTP/1.1\r\nHost: shop\r\nX-Slow: " + b"a" * 200
        slow = [self.client(port=40000 + number) for number in range(100)]
        for second in range(int(REQUEST_HEAD_TIMEOUT_S) - 1):
            for number, client in enumerate(slow):
                if number % 10 >= second:
                    client.send(drips[second * 20:second * 20 + 20])
            good, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            self.assertEqual(answer(good.got()).start, 200)
            self.advance(1.0)
        self.assertFalse(any(client.gone or client.finished for client in slow))
        self.advance(2.0)
        self.assertTrue(all(client.finished for client in slow))
        self.assertEqual({answer(client.got()).start for client in slow}, {408})
        self.assertEqual(self.rig.dials, [])


class MemoryTests(SocketCase):
    """What a bomb leaves behind, on real sockets."""

    #: Objects of the process that come and go beside the connections (tables that remember lines are full before).
    SLACK_BYTES = 64 * 1024

    def bombs(self) -> list[bytes]:
        """Heads that are too large, in one way or another; the last is just not too large, and never ends."""
        start = b"GET / HTTP/1.1\r\nHost: a\r\n"
        return [start + b"X: " + b"y" * 100_000 + b"\r\n\r\n", start + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
                b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\n", start + b"X: " + b"y" * 50_000]

    def throw(self, factory: object, listener: Listener) -> None:
        """Each of them by ten clients at a time, who then leave."""
        for bomb in self.bombs():
            clients = [self.socket(listener) for _ in range(10)]
            for client in clients:
                client.setblocking(False)
                try:
                    client.send(bomb)
                except OSError:
                    pass                    # it was told before it had said all
            for _ in range(20):
                if self.wait(0.0):
                    self.turn()
            for client in clients:
                client.close()
            self.spin(lambda: self.plane_is_empty(factory))
            self.records.exchanges.clear()

    @staticmethod
    def plane_is_empty(factory: object) -> bool:
        """Whether every client has gone."""
        return not factory.connections          # type: ignore[attr-defined]

    def test_header_bombs(self) -> None:
        """When they are gone, so is every byte that was kept of them; while they are there it is at most the bound of one head each."""
        factory = self.http()
        listener = self.listen(factory)
        self.throw(factory, listener)
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        base, _ = tracemalloc.get_traced_memory()
        self.throw(factory, listener)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
        self.assertLess(after - base, self.SLACK_BYTES)
        self.assertLess(peak - base, 10 * (MAX_PIPELINED_BYTES * 3))
