"""The kernel carries one body: exactly its bytes, in their place among what is written, and what ends it early."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

from tests.net.streams import MIB, PLENTY, StreamCase, reset
from tests.support import Recorder, interpreted_only
from voltgw.net.splice import BODY_PIECE_BYTES, Pipes
from voltgw.net.stream import Stream
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES

BODY = random.Random(1).randbytes(3 * MIB)


class Producer:
    """Whoever reads `source` for another stream, which holds it back."""

    def __init__(self, source: Stream) -> None:
        self.source = source

    def pauseProducing(self) -> None:
        """Too much waits."""
        self.source.pauseProducing()

    def resumeProducing(self) -> None:
        """It has gone."""
        self.source.resumeProducing()

    def stopProducing(self) -> None:
        """The other stream is over: read on, to hear of the end."""
        self.source.resumeProducing()


class BodySpliceTests(StreamCase):
    """`writer` speaks to `source`, `sink` to `reader`; `told` has the sizes of what was carried."""

    def setUp(self) -> None:
        """Two connections, of which one is read for the other."""
        super().setUp()
        self.incoming, self.writer = self.pair()
        self.outgoing, self.reader = self.pair()
        self.source, self.sink = self.incoming.transport, self.outgoing.transport
        self.sink.registerProducer(Producer(self.source), True)
        self.writer.setblocking(False)
        self.told: list[int] = []

    def carry(self, size: int) -> None:
        """Have so much carried, from now on."""
        self.source.carry(self.sink, size, self.told.append)

    def fill(self, size: int) -> bytes:
        """Write at most `size` bytes, until the source is not read any more because the reader stands still; what was written."""
        data = (BODY * (size // len(BODY) + 1))[:size]
        sent = 0
        for _ in range(20_000):
            if not self.source.reads:
                break
            try:
                sent += self.writer.send(memoryview(data)[sent:sent + MIB])
            except BlockingIOError:
                pass
            self.assertLess(sent, size, "the kernel took all of it")
            self.wait(0.001)
            self.turn()
        self.assertFalse(self.source.reads)
        return data[:sent]

    def pass_all(self, data: bytes, wanted: int) -> bytes:
        """Write everything; the first `wanted` bytes that come of it."""
        view = memoryview(data)
        got = bytearray()
        self.reader.setblocking(False)
        for _ in range(20_000):
            if view:
                try:
                    view = view[self.writer.send(view):]
                except BlockingIOError:
                    pass
            self.wait(0.001)
            self.turn()
            try:
                got += self.reader.recv(MIB)
            except BlockingIOError:
                pass
            if len(got) >= wanted and not view:
                break
        return bytes(got)

    def end(self) -> None:
        """Both connections end; nothing lies in a pipe."""
        self.writer.close()
        self.reader.close()
        self.spin(lambda: self.incoming.reason and self.outgoing.reason)
        self.assertEqual(self.loop.pipes.lent, 0)

    def test_its_bytes_and_no_others(self) -> None:
        """What comes behind the body, even in the same segment, is delivered; each byte of the body is told, and counted."""
        self.carry(len(BODY))
        self.assertEqual(self.pass_all(BODY + b"behind", len(BODY)), BODY)
        self.spin(lambda: self.incoming.data)
        self.assertEqual((sum(self.told), bytes(self.incoming.data)), (len(BODY), b"behind"))
        self.assertLessEqual(max(self.told), BODY_PIECE_BYTES)
        self.assertEqual((self.source.bytes_in, self.sink.bytes_out), (len(BODY) + 6, len(BODY)))
        self.assertEqual((self.loop.pipes.carried_bytes, self.loop.pipes.lent), (len(BODY), 0))
        self.end()

    def test_one_after_another(self) -> None:
        """A connection has one body after another carried, between heads that are delivered."""
        def head(recorder: Recorder, data: bytes) -> None:
            self.assertEqual(data, b"head")
            self.carry(MIB)

        self.incoming.reaction = head
        for _ in range(3):
            self.writer.send(b"head")
            self.turn()
            self.assertEqual(self.pass_all(BODY[:MIB], MIB), BODY[:MIB])
        self.assertEqual((bytes(self.incoming.data), sum(self.told)), (b"head" * 3, 3 * MIB))
        self.end()

    def test_behind_what_waits_in_memory(self) -> None:
        """It waits for what was written before it."""
        before = self.written_until_it_waits()
        self.carry(PLENTY)
        body = self.fill(PLENTY)
        self.assertTrue(self.told)
        self.assertIsNotNone(self.sink.pipe)
        self.assertEqual(self.pass_all(b"", len(before) + len(body)), before + body)
        self.end()

    def test_what_is_written_behind(self) -> None:
        """The head of the next answer comes behind what the pipe still holds, and so does what is carried after that."""
        self.carry(PLENTY)
        body = self.fill(PLENTY)
        held = self.sink.unsent
        self.assertGreater(held, BUFFER_HIGH_WATER_BYTES)
        self.assertLessEqual(held, BUFFER_HIGH_WATER_BYTES + BODY_PIECE_BYTES)
        carried = sum(self.told)
        self.sink.write(b"next")
        self.assertEqual((self.sink.unsent, self.sink.pipe, self.loop.pipes.lent), (held + 4, None, 0))
        got = self.pass_all(b"", len(body) + 4)
        self.assertEqual(got, body[:carried] + b"next" + body[carried:])
        self.end()

    def test_a_reader_that_stands_still(self) -> None:
        """One pipe holds what it does not take, the source is not read, and nothing keeps a core busy."""
        self.carry(PLENTY)
        self.fill(PLENTY)
        self.assertEqual(self.loop.pipes.lent, 1)
        self.assert_quiet()
        self.end()
        self.assertEqual(self.loop.pipes.made, 0)       # what lay in it is gone with it

    def test_a_close_behind_it(self) -> None:
        """`loseConnection` of the receiving stream waits for what lies in the pipe; the rest of the body is delivered."""
        self.carry(PLENTY)
        body = self.fill(PLENTY)
        carried = sum(self.told)
        self.sink.unregisterProducer()
        self.sink.loseConnection()
        self.source.resumeProducing()
        got = self.read_all(self.reader)
        self.assertEqual(got, body[:carried])
        self.spin(lambda: len(self.incoming.data) == len(body) - carried)
        self.assertEqual(bytes(self.incoming.data), body[carried:])
        self.end()

    def test_small_pieces(self) -> None:
        """They are delivered, after the first one."""
        self.carry(MIB)
        for number in range(3):
            self.writer.send(b"x" * 100)
            self.spin(partial(self.have_come, 100 * (number + 1)))
        self.assertEqual((self.told, bytes(self.incoming.data)), ([100], b"x" * 200))
        self.end()

    def have_come(self, size: int) -> bool:
        """Whether so many bytes have come to the source."""
        return bool(self.source.bytes_in == size)

    @interpreted_only
    def test_no_pipe(self) -> None:
        """Then it is delivered, and so is the rest of it."""
        with mock.patch.object(Pipes, "take", return_value=None) as take:
            self.carry(len(BODY))
            self.pass_all(BODY, 0)
            self.spin(lambda: len(self.incoming.data) == len(BODY))
        self.assertEqual((bytes(self.incoming.data), self.told, take.call_count), (BODY, [], 1))
        self.end()

    def test_a_fin_in_the_middle(self) -> None:
        """The protocol is told, when what came before has been carried."""
        self.ends(self.writer.close)

    def test_a_reset_in_the_middle(self) -> None:
        """Likewise."""
        self.ends(lambda: reset(self.writer))

    def ends(self, end: Callable[[], None]) -> None:
        """The writer ends before all of the body has come."""
        self.carry(MIB)
        self.assertEqual(self.pass_all(BODY[:100_000], 100_000), BODY[:100_000])
        self.carry(MIB)
        end()
        self.spin(lambda: self.incoming.reason)
        self.assertEqual(sum(self.told), 100_000)
        self.end()

    def test_a_receiver_that_is_gone(self) -> None:
        """What its source sends is delivered: somebody may have to know how much of it there was."""
        self.carry(PLENTY)
        body = self.fill(PLENTY)
        self.reader.close()
        self.spin(lambda: sum(self.told) + len(self.incoming.data) == len(body))
        self.assertEqual(bytes(self.incoming.data), body[sum(self.told):])
        self.end()

    def test_taken_back(self) -> None:
        """After `carry_no_more` everything is delivered; it may be said to a stream that carries nothing, or is not read."""
        self.source.carry_no_more()
        self.carry(PLENTY)
        body = self.fill(PLENTY)
        self.source.carry_no_more()
        carried = sum(self.told)
        self.pass_all(b"", carried)
        self.spin(lambda: len(self.incoming.data) == len(body) - carried)
        self.assertEqual((bytes(self.incoming.data), sum(self.told)), (body[carried:], carried))
        self.end()

    def test_joined_to_a_relay(self) -> None:
        """Whoever is given what comes from now on is given all of it."""
        self.carry(MIB)
        self.source.deliver_to(self.sink.write)
        self.assertEqual(self.pass_all(BODY[:100_000], 100_000), BODY[:100_000])
        self.assertEqual((self.told, self.loop.pipes.carried_bytes), ([], 0))
        self.end()

    @interpreted_only
    def test_another_kind_of_transport(self) -> None:
        """Where a receiver is none of our plain streams nothing is carried."""
        class Other(Stream):
            """Say, one with TLS."""

        sink: Any = Other.__new__(Other)
        for other in (sink, object()):
            self.source.carry(other, MIB, self.told.append)
            self.writer.send(b"x" * 20_000)
        self.spin(lambda: len(self.incoming.data) == 40_000)
        self.assertEqual(self.told, [])
        self.end()

    def written_until_it_waits(self) -> bytes:
        """Write to the reader, which stands still, until some of it waits in memory; all that was written."""
        written = b""
        while not self.sink.unsent:
            self.sink.write(BODY[:30_000])
            written += BODY[:30_000]
        return written

    def test_random_stalls(self) -> None:
        """Bodies, heads between them, and a reader that stands still as chance says: every byte in its place."""
        self.sink._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        self.reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for seed in range(3):
            chance = random.Random(seed)
            sizes = [chance.choice((70_000, 300_000, 2 * MIB)) for _ in range(12)]
            self.exchange(sizes, chance)
        self.assertGreater(self.loop.pipes.carried_bytes, MIB)
        self.end()

    def exchange(self, sizes: list[int], chance: random.Random) -> None:
        """The source's protocol writes a head for each body that comes, and has the kernel carry the body."""
        sent = b"".join(b"%08d" % size + BODY[:size] for size in sizes)
        left = 0
        held = b""

        def told(size: int) -> None:
            nonlocal left
            left -= size

        def received(recorder: Recorder, data: bytes) -> None:
            nonlocal left, held
            data = held + data
            held = b""
            while data:
                if left:
                    body, data = data[:left], data[left:]
                    left -= len(body)
                    self.sink.write(body)
                elif len(data) < 8:
                    held, data = data, b""
                else:
                    left = int(data[:8])
                    self.sink.write(b"HEAD%08d" % left)
                    data = data[8:]
                if left and not data:
                    self.source.carry(self.sink, left, told)

        self.incoming.reaction = received
        view, got = memoryview(sent), bytearray()
        wanted = b"".join(b"HEAD%08d" % size + BODY[:size] for size in sizes)
        self.reader.setblocking(False)
        stalled = 0
        for _ in range(200_000):
            if len(got) == len(wanted):
                break
            try:
                view = view[self.writer.send(view[:chance.choice((1000, 50_000, MIB))]):]
            except BlockingIOError:
                pass
            self.turn()
            if stalled:
                stalled -= 1
                continue
            if chance.random() < 0.05:
                stalled = chance.randrange(60)
            try:
                got += self.reader.recv(chance.choice((5000, 100_000, MIB)))
            except BlockingIOError:
                pass
        self.assertTrue(got == wanted, f"{len(got)} of {len(wanted)}")
