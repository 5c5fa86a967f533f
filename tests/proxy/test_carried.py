"""Long bodies that the kernel carries: they look as if they had been read and written, to both peers and in the records."""

from __future__ import annotations

import gc
import random
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.net.streams import MIB, PLENTY, reset
from tests.proxy.rig import EMPTY, GET, answer, answers
from tests.proxy.sockets import BodyCase
from tests.proxy.test_cycles import alive
from tests.proxy.test_transforms import Shout
from voltgw.net.deadlines import TICK_S
from voltgw.net.stream import Stream
from voltgw.proxy.reading import LONG_BODY_BYTES
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, BUFFER_HIGH_WATER_BYTES, MAX_REPLAY_BYTES
from voltgw.values.exchange import Exchange

BODY = random.Random(2).randbytes(3 * MIB)
LATE = 4 * TICK_S
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class CarriedCase(BodyCase):
    @property
    def carried(self) -> int:
        """Bytes that went through pipes."""
        return self.loop.pipes.carried_bytes

    def record(self) -> Exchange:
        """The one exchange that has ended since this was asked."""
        self.spin(lambda: self.records.exchanges)
        return self.records.exchanges.pop()

    def stuff(self, writer: socket.socket, stream: Stream) -> None:
        """Write until the gateway does not read on `stream`, for a peer that stands still."""
        data = BODY * (PLENTY // len(BODY))
        writer.setblocking(False)
        sent = 0
        for _ in range(20_000):
            if not stream.reads:
                break
            try:
                sent += writer.send(memoryview(data)[sent:sent + MIB])
            except BlockingIOError:
                pass
            self.assertLess(sent, PLENTY, "the kernel took all of it")
            self.wait(0.001)
            self.turn()
        self.assertFalse(stream.reads)

    def all_of(self, sock: socket.socket) -> tuple[bytes, bool]:
        """All that comes to a socket, and whether a reset ends it."""
        got = b""
        try:
            while data := self.heard(sock, MIB):
                got += data
        except ConnectionResetError:
            return got, True
        return got, False

    def copied(self, scenario: Callable[[], Any]) -> None:
        """`scenario` comes out the same with bytes that are copied, on connections of its own."""
        before = self.carried
        carried = scenario()
        self.assertGreater(self.carried, before)
        self.part()
        before = self.carried
        pipes = self.loop.pipes
        free, limit = pipes._free, pipes.limit
        pipes._free, pipes.limit = [], 0
        self.assertEqual(scenario(), carried)
        pipes._free, pipes.limit = free, limit
        self.assertEqual(self.carried, before)
        self.part()

    def part(self) -> None:
        """Both peers close, and nothing lies in a pipe; then there is a new client."""
        self.client.close()
        self.origin.close()
        self.spin(lambda: not self.loop.open)
        self.assertEqual(self.loop.pipes.lent, 0)
        self.come()


class DownloadTests(CarriedCase):
    def test_every_byte(self) -> None:
        """The client gets the body as it was, the records count it, and both connections serve the next request."""
        self.ask()
        self.origin.sendall(HEAD % len(BODY))
        got = self.pump(self.origin, self.client, BODY, len(BODY) + 50)
        self.assertTrue(answer(got).body == BODY)
        self.assertGreater(self.carried, len(BODY) * 9 // 10)
        record = self.record()
        self.assertEqual((record.bytes_out, record.flag, record.response_code), (len(got), "", 200))
        self.assertEqual(self.route.counters.bytes_out, len(got))
        self.assertLessEqual(record.t_downstream_first, record.t_downstream_last)
        carried = self.carried
        self.client.sendall(GET)
        self.heard(self.origin)
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.heard(self.client)).start, 200)
        self.assertEqual((self.cluster.connections, self.carried), (1, carried))

    def test_short_ones(self) -> None:
        """A body that a read or two bring is read: a pipe would cost more."""
        self.ask()
        body = BODY[:LONG_BODY_BYTES]
        self.origin.sendall(HEAD % len(body) + body)
        self.assertEqual(answer(self.pump(self.origin, self.client, b"", len(body) + 50)).body, body)
        self.assertEqual((self.carried, self.loop.pipes.made), (0, 0))

    def test_pipelined(self) -> None:
        """Answers to requests that were sent at once come in their order, whatever is still in a pipe when the next begins; the
        client stands still now and then.
        """
        bodies = [BODY[:size] for size in (2 * MIB, 10, 400_000, 5 * LONG_BODY_BYTES, 2 * LONG_BODY_BYTES, 0, MIB)]
        chance = random.Random(3)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.client.sendall(GET * len(bodies))
        self.accept()
        self.stream("Downstream")._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        self.origin.setblocking(False)
        self.client.setblocking(False)
        asked, waiting, got, said, stalled = b"", memoryview(b""), bytearray(), 0, 0
        for _ in range(500_000):
            ended = self.records.exchanges
            if len(ended) == len(bodies) and len(got) == sum(each.bytes_out for each in ended):
                break
            try:
                asked += self.origin.recv(65536)
            except BlockingIOError:
                pass
            if said < asked.count(b"\r\n\r\n") and not waiting:
                waiting = memoryview(HEAD % len(bodies[said]) + bodies[said])
                said += 1
            try:
                waiting = waiting[self.origin.send(waiting[:chance.choice((10_000, MIB))]):]
            except BlockingIOError:
                pass
            self.turn()
            stalled = stalled - 1 if stalled else chance.randrange(100) if chance.random() < 0.1 else 0
            if not stalled:
                try:
                    got += self.client.recv(chance.choice((3000, 70_000)))
                except BlockingIOError:
                    pass
        self.assertTrue([message.body for message in answers(bytes(got), [b"GET"] * len(bodies))] == bodies)
        self.assertGreater(self.carried, MIB)
        self.assertEqual(self.loop.pipes.lent, 0)

    def test_more_than_was_announced(self) -> None:
        """What comes behind the body is no answer to anything: it is never passed on, and the connection serves no more."""
        def scenario() -> object:
            self.ask()
            self.origin.sendall(HEAD % len(BODY))
            got = self.pump(self.origin, self.client, BODY + b"HTTP/1.1 200 OK\r\n\r\n", len(BODY) + 50)
            self.spin(lambda: not self.cluster.connections)
            record = self.record()
            return answer(got).body == BODY, record.bytes_out == len(got), record.flag

        self.copied(scenario)

    def test_an_endpoint_that_closes_too_early(self) -> None:
        """The client is cut, and the record says whose fault it is."""
        for end in (socket.socket.close, reset):
            def scenario(end: Callable[[socket.socket], None] = end) -> object:
                self.ask()
                self.origin.sendall(HEAD % (2 * MIB))
                self.pump(self.origin, self.client, BODY[:MIB], MIB)
                end(self.origin)
                _, cut = self.all_of(self.client)
                record = self.record()
                return cut, record.flag, record.detail, record.bytes_out, record.response_code

            self.copied(scenario)

    def test_a_client_that_goes(self) -> None:
        """Its endpoint's connection is closed, and no pipe is kept."""
        for end in (socket.socket.close, reset):
            self.ask()
            self.origin.sendall(HEAD % (2 * PLENTY))
            stream = self.stream("Upstream")
            self.stuff(self.origin, stream)
            end(self.client)
            record = self.record()
            self.assertEqual((record.flag, self.loop.pipes.made), ("DC", 0))
            self.spin(lambda: not self.cluster.connections)
            self.part()

    def test_a_client_that_stands_still(self) -> None:
        """Little waits for it, and it has the time that it always has; then the record says that it was its fault."""
        def scenario() -> object:
            self.ask()
            self.origin.sendall(HEAD % (2 * PLENTY))
            stream, sink = self.stream("Upstream"), self.stream("Downstream")
            self.stuff(self.origin, stream)
            self.assertGreater(sink.unsent, BUFFER_HIGH_WATER_BYTES)
            self.assertLess(sink.unsent, 256 * 1024)
            self.assert_quiet()
            self.advance(BODY_IDLE_TIMEOUT_S - LATE)
            self.assertEqual(self.records.exchanges, [])
            self.advance(2 * LATE)
            record = self.record()
            return record.flag, record.detail

        self.copied(scenario)

    def test_an_endpoint_that_stands_still(self) -> None:
        """It has a body's time, again and again while something comes."""
        def scenario() -> object:
            self.ask()
            self.origin.sendall(HEAD % (4 * MIB))
            for _ in range(3):
                self.pump(self.origin, self.client, BODY[:MIB], MIB)
                self.advance(BODY_IDLE_TIMEOUT_S - LATE)
                self.assertEqual(self.records.exchanges, [])
            self.advance(2 * LATE)
            record = self.record()
            return record.flag, record.detail, record.bytes_out

        self.copied(scenario)

    def test_a_drain(self) -> None:
        """A body that is on its way comes to its end, and then the connection does."""
        self.ask()
        self.origin.sendall(HEAD % len(BODY))
        got = self.pump(self.origin, self.client, BODY[:MIB], MIB)
        connection, = self.factory.connections
        connection.drain()
        got += self.pump(self.origin, self.client, BODY[MIB:], len(BODY) - MIB)
        rest, cut = self.all_of(self.client)
        self.assertEqual((answer(got + rest).body == BODY, cut, self.record().flag), (True, False, ""))

    def test_a_changed_body(self) -> None:
        """A filter that changes bodies has every byte."""
        def shout(exchange: Exchange) -> None:
            exchange.transform = Shout()

        self.route.response_filters = (shout,)
        self.ask()
        self.origin.sendall(HEAD % len(BODY))
        got = self.pump(self.origin, self.client, BODY, len(BODY))
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got += self.heard(self.client, MIB)
        self.assertTrue(answer(got).body == BODY.upper() + b"!")
        self.assertEqual(self.carried, 0)


class UploadTests(CarriedCase):
    def test_every_byte(self) -> None:
        """The endpoint gets the body as it was, what comes behind it is the next request, and the records count it."""
        self.ask(PUT % len(BODY))
        got = self.pump(self.client, self.origin, BODY + GET, len(BODY))
        self.assertTrue(got == BODY)
        self.assertGreater(self.carried, len(BODY) * 9 // 10)
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.heard(self.client), b"PUT").start, 200)
        record = self.record()
        self.assertEqual((record.bytes_in, record.flag), (len(PUT % len(BODY)) + len(BODY), ""))
        self.assertGreaterEqual(record.t_upstream_last_tx, record.t_upstream_first_tx)
        self.assertIn(b"GET / HTTP/1.1\r\n", self.heard(self.origin))
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.heard(self.client)).start, 200)
        self.assertEqual(self.cluster.connections, 1)

    def test_an_endpoint_that_answers_before_the_end(self) -> None:
        """Its answer is passed on whole; the client may go on sending for a while, to nobody."""
        def scenario() -> object:
            self.ask(PUT % (2 * PLENTY))
            stream = self.stream("Downstream")
            self.stuff(self.client, stream)
            self.origin.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            got, _ = self.all_of(self.client)
            record = self.record()
            self.assertLess(record.bytes_in, 2 * PLENTY)
            return answer(got, b"PUT").start, record.flag, record.detail, self.cluster.connections

        self.copied(scenario)

    def test_an_endpoint_that_goes(self) -> None:
        """The client is told, if it can be."""
        for end in (socket.socket.close, reset):
            def scenario(end: Callable[[socket.socket], None] = end) -> object:
                self.ask(PUT % (2 * PLENTY))
                self.pump(self.client, self.origin, BODY, len(BODY))
                end(self.origin)
                got, _ = self.all_of(self.client)
                record = self.record()
                return answer(got, b"PUT").start, record.flag, record.detail, record.bytes_in

            self.copied(scenario)

    def test_a_client_that_goes(self) -> None:
        """So is the endpoint."""
        def scenario() -> object:
            self.ask(PUT % (2 * PLENTY))
            self.pump(self.client, self.origin, BODY, len(BODY))
            self.client.close()
            _, cut = self.all_of(self.origin)
            record = self.record()
            return cut, record.flag, record.detail, record.bytes_in

        self.copied(scenario)

    def test_peers_that_stand_still(self) -> None:
        """Either has a body's time, a client again and again while something comes."""
        for who in ("client", "endpoint"):
            def scenario(who: str = who) -> object:
                self.ask(PUT % (2 * PLENTY))
                stream = self.stream("Downstream")
                for _ in range(3 if who == "client" else 1):
                    if who == "client":
                        self.pump(self.client, self.origin, BODY, len(BODY))
                    else:
                        self.stuff(self.client, stream)
                        self.assertLess(self.stream("Upstream").unsent, 256 * 1024)
                    self.advance(BODY_IDLE_TIMEOUT_S - LATE)
                    self.assertEqual(self.records.exchanges, [])
                self.advance(2 * LATE)
                record = self.record()
                return record.flag, record.detail, record.response_code

            self.copied(scenario)

    def test_a_bound_of_the_route(self) -> None:
        """A body that the route takes, by its length, is carried like others."""
        self.route.max_body_bytes = len(BODY)
        self.ask(PUT % len(BODY))
        self.assertTrue(self.pump(self.client, self.origin, BODY, len(BODY)) == BODY)
        self.assertGreater(self.carried, MIB)
        self.origin.sendall(EMPTY)
        self.record()

    def test_one_that_is_read_whole_first(self) -> None:
        """Every byte of it is ours."""
        self.route.buffer_bytes = len(BODY)
        self.client.setblocking(False)
        view = memoryview(PUT % len(BODY) + BODY)
        while view:
            try:
                view = view[self.client.send(view):]
            except BlockingIOError:
                self.turn()
        self.accept()
        got = b""
        while not got.endswith(BODY[-100:]):
            got += self.heard(self.origin, MIB)
        self.assertTrue(got.endswith(BODY))
        self.assertEqual(self.carried, 0)
        self.origin.sendall(EMPTY)
        self.record()

    def test_one_that_may_be_sent_again(self) -> None:
        """As long as it is kept for another try it is read: what is carried nobody could send again."""
        self.ask(PUT % len(BODY))
        stream = self.stream("Downstream")
        got = self.pump(self.client, self.origin, BODY[:MAX_REPLAY_BYTES // 2], MAX_REPLAY_BYTES // 2)
        self.assertEqual((self.carried, stream.protocol.replayable), (0, True))
        got += self.pump(self.client, self.origin, BODY[len(got):], len(BODY) - len(got))
        self.assertTrue(got == BODY)
        self.assertGreater(self.carried, MIB)
        self.origin.sendall(EMPTY)
        self.record()


class LeftBehindTests(CarriedCase):
    def transfer(self, cut: bool) -> None:
        """A body each way, whole or not, and both connections from beginning to end."""
        self.ask(PUT % MIB)
        self.pump(self.client, self.origin, BODY[:MIB], MIB)
        self.origin.sendall(HEAD % (2 * MIB if cut else MIB))
        self.pump(self.origin, self.client, BODY[:MIB], MIB)
        self.part()
        self.assertEqual(len(self.records.exchanges), 1)
        self.records.exchanges.clear()

    def test_nothing_for_the_collector(self) -> None:
        """What stands in for a stream's reading leaves with the body, or with the connection."""
        for cut in (False, True):
            before = self.carried
            self.transfer(cut)
            self.assertGreater(self.carried - before, MIB)
            gc.collect()
            gc.disable()
            try:
                there = alive()
                for _ in range(10):
                    self.transfer(cut)
                self.assertEqual(alive() - there, Counter())
            finally:
                gc.enable()
