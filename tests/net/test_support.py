"""The test cases of `tests.support` notice what a test leaves behind."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.support import LoopCase, Recorder, Recorders, SteppedLoopCase


class LeftoverTests(SynchronousTestCase):
    def ends(self, test: SteppedLoopCase) -> str:
        """What the end of `test` complains of, "" if nothing."""
        try:
            test._end()
        except AssertionError as error:
            return str(error)
        return ""

    def begun(self) -> SteppedLoopCase:
        test = SteppedLoopCase("turn")
        test.grace_s = 0.1
        test.setUp()
        return test

    def test_nothing_left(self) -> None:
        """A test that has closed everything ends well."""
        test = self.begun()
        protocol, _ = test.pair()
        protocol.transport.loseConnection()
        self.assertEqual(self.ends(test), "")

    def test_a_stream_is_left(self) -> None:
        """A stream that nobody closed is named, also when it is parked."""
        test = self.begun()
        protocol, _ = test.pair()
        protocol.transport.pauseProducing()
        test._sockets.clear()
        self.assertIn("Stream", self.ends(test))

    def test_a_timer_is_left(self) -> None:
        """A timer of the loop's clock that still waits is named."""
        test = self.begun()
        test.loop.clock.callLater(60, print)
        self.assertIn("timer", self.ends(test))

    def test_a_descriptor_is_left(self) -> None:
        """A descriptor that was opened and not closed is named."""
        test = self.begun()
        fd = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.assertIn("/dev/null", self.ends(test))


class FarSideTests(LoopCase):
    async def test_an_origin_answers_each_head(self) -> None:
        """`Origin` says its answer once per empty line; `Peer.heard` waits for it."""
        origin = self.origin(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        peer = await self.client(origin.port)
        peer.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        self.assertEqual((await peer.heard(b"ok"))[:8], b"HTTP/1.1")
        self.assertEqual((await peer.heard(b"ok"))[:8], b"HTTP/1.1")

    async def test_a_dial_between_ours_and_stock(self) -> None:
        """Our stream talks to a stock Twisted server, and our listener to a stock client."""
        origin = self.origin(lambda peer, data: peer.send(data.upper()))
        ours = Recorder()
        self.dial(origin.port, ours, self.fail)
        await self.until(lambda: ours.transport is not None)
        ours.transport.write(b"hello")
        await self.until(lambda: ours.data == b"HELLO")
        ours.transport.loseConnection()

        factory = Recorders(lambda: Recorder(lambda protocol, data: protocol.transport.write(data[::-1])))
        peer = await self.client(self.port_of(self.listen(factory)))
        peer.send(b"abc")
        self.assertEqual(await peer.heard(b"a"), b"cba")
