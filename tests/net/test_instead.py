"""Waiting in the stead of Twisted's reactor: who has the time when."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.support import LoopCase, Recorder, Recorders, interpreted_only
from voltgw.net import loop as loop_module
from voltgw.net.instead import FOREVER, stead_of
from voltgw.net.loop import Loop


class Hollow:
    """What the loop knows of an epoll reactor; its time comes when the test says so."""

    running = True
    _justStopped = False

    def __init__(self) -> None:
        self._poller = select.epoll()
        self.due_s: list[float | None] = []     # what `timeout` says, one after the other; then there is something to do
        self.called: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []
        self.triggers: dict[tuple[str, str], Callable[[], None]] = {}
        self.threadCallQueue: list[object] = [self.callFromThread]      # the call under way stands in it

    def timeout(self) -> float | None:
        """As `ReactorBase.timeout`."""
        return self.due_s.pop(0) if self.due_s else 0.0

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Have it called in the next turn."""
        self.called.append(call)

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """The same, by another way."""
        self.later.append(call)

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> object:
        """Have it called when the reactor ends."""
        self.triggers[phase, event] = call
        return phase, event

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        """No longer."""
        del self.triggers[trigger]


class WaitTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A loop that has started, and a descriptor in its set."""
        self.reactor = Hollow()
        self.addCleanup(self.reactor._poller.close)
        self.loop = Loop(self.reactor, time.monotonic)
        self.loop.start()
        self.addCleanup(self.loop.stop)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.addCleanup(os.close, self.fd)
        self.heard: list[int] = []

    def give_time(self) -> None:
        """The reactor's turn comes to the call that waits."""
        (call,) = self.reactor.called
        self.reactor.called.clear()
        call()

    def test_until_a_timed_call_is_due(self) -> None:
        """It turns as often as the reactor can wait, and asks for its next time before it returns."""
        self.reactor.due_s = [0.001, 0.001, 0.001]
        self.give_time()
        self.assertGreaterEqual(self.loop.turns, 3)
        self.assertEqual(len(self.reactor.called), 1)

    def test_until_a_descriptor_of_the_reactor_is_ready(self) -> None:
        """However long the reactor could wait."""
        self.reactor.due_s = [None] * 10
        self.reactor._poller.register(self.fd, select.EPOLLIN)
        os.eventfd_write(self.fd, 1)
        self.give_time()
        self.assertEqual(len(self.reactor.called), 1)
        self.assertGreater(len(self.reactor.due_s), 5)

    def test_until_the_reactor_is_stopped_from_inside(self) -> None:
        """A protocol of ours that stops the reactor: no descriptor tells of it."""
        def stop(events: int) -> None:
            os.eventfd_read(self.fd)
            self.reactor._justStopped = True

        self.loop.watch(self.fd, select.EPOLLIN, stop)
        os.eventfd_write(self.fd, 1)
        self.reactor.due_s = [None] * 10
        self.give_time()
        self.assertTrue(self.reactor._justStopped)
        self.loop.forget(self.fd)

    def test_not_while_calls_from_threads_stand_beside_ours(self) -> None:
        """Those behind it would wait for as long: it does one turn, and comes again behind them."""
        self.reactor.due_s = [None] * 10
        self.reactor.threadCallQueue.append(print)
        turns = self.loop.turns
        self.give_time()
        self.assertEqual((self.loop.turns - turns, len(self.reactor.called)), (1, 1))

    @interpreted_only
    def test_until_a_batch_was_full(self) -> None:
        """The reactor has its turn behind each: more are ready than one turn takes, and its descriptor may not be among those."""
        self.patch(loop_module, "BATCH", 2)
        for _ in range(5):
            fd = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.addCleanup(os.close, fd)
            self.loop.watch(fd, select.EPOLLIN, self.heard.append)
            self.addCleanup(self.loop.forget, fd)
        self.reactor.due_s = [None] * 10
        turns = self.loop.turns
        self.give_time()
        self.assertEqual((self.loop.turns - turns, self.loop.crowded, len(self.reactor.called)), (1, True, 1))

    def test_run_from_inside_an_event(self) -> None:
        """No batch begins within another; and since the queue may lose our call then, the next one comes by another way."""
        def inside(events: int) -> None:
            os.eventfd_read(self.fd)
            turns = self.loop.turns
            self.loop._wait_instead()
            self.heard.append(self.loop.turns - turns)

        self.loop.watch(self.fd, select.EPOLLIN, inside)
        os.eventfd_write(self.fd, 1)
        self.give_time()
        self.assertEqual((self.heard, len(self.reactor.called), len(self.reactor.later)), ([0], 0, 1))
        self.reactor.called.append(self.reactor.later.pop())
        self.give_time()
        self.assertEqual((len(self.reactor.called), len(self.reactor.later)), (1, 0))
        self.loop.forget(self.fd)

    def test_the_reactor_ends_without_a_stop(self) -> None:
        """Its end is the end of our connections."""
        self.reactor.triggers["after", "shutdown"]()
        self.assertTrue(self.loop.stopped)

    def test_an_exception_of_a_signal(self) -> None:
        """What a handler of signals raises while the loop waits is the reactor's; we come again."""
        class Interrupted(Exception):
            """By a signal."""

        def interrupted(*_: object) -> list[tuple[int, int]]:
            raise Interrupted

        self.patch(self.loop, "_poll", interrupted)
        self.assertRaises(Interrupted, self.give_time)
        self.assertEqual(len(self.reactor.called), 1)

    def test_until_it_is_stopped_itself(self) -> None:
        """From inside an event: it asks for no more time, and what was asked for already does nothing."""
        self.loop.watch(self.fd, select.EPOLLIN, lambda events: self.loop.stop())
        os.eventfd_write(self.fd, 1)
        self.reactor.due_s = [None] * 10
        (late,) = self.reactor.called
        self.give_time()
        self.assertEqual(self.reactor.called, [])
        late()
        self.assertEqual(self.reactor.called, [])

    def test_what_is_to_be_done_soon_is_not_waited_for(self) -> None:
        """Work that waits in software is done in the next turn, without a word to the kernel."""
        def first(events: int) -> None:
            os.eventfd_read(self.fd)
            self.loop.soon(lambda: self.loop.soon(lambda: self.heard.append(1)))

        self.loop.watch(self.fd, select.EPOLLIN, first)
        os.eventfd_write(self.fd, 1)
        self.reactor.due_s = [None, None, 0.0]
        self.give_time()
        self.assertEqual(self.heard, [1])
        self.loop.forget(self.fd)

    def test_others_than_epoll(self) -> None:
        """A reactor that does not have what it takes is not waited for."""
        self.assertIsNone(stead_of(object()))
        other: Any = Hollow()
        other._poller.close()
        other._poller = select.poll()
        self.assertIsNone(stead_of(other))


class TwistedTests(LoopCase):
    reactor: Any = reactor

    def test_the_release_at_hand(self) -> None:
        """Twisted's epoll reactor has what is needed; a release without it would cost us the time of two epoll sets."""
        own = EPollReactor()
        stead = stead_of(own)
        assert stead is not None
        self.assertEqual(stead.fd, own._poller.fileno())
        self.assertEqual(stead.patience_s(), 0.0)       # it does not run
        own.running = True
        self.assertEqual(stead.patience_s(), FOREVER)
        own.callLater(3, lambda: None)
        self.assertGreater(stead.patience_s(), 2.0)
        own._justStopped = True                         # what `stop` says before anybody else hears of it
        self.assertEqual(stead.patience_s(), 0.0)
        stead.leave()
        for reader in own.removeAll():
            reader.connectionLost(None)
        own._poller.close()

    async def test_a_second_loop(self) -> None:
        """It is a reader of the reactor for which the first one waits, and as quick; when the first has stopped, too."""
        second = Loop(reactor, time.monotonic)
        second.start()
        self.addCleanup(second.stop)
        self.assertIsNone(second._stead)
        for _ in range(2):
            done: list[float] = []
            began = time.monotonic()
            second.clock.callLater(0.01, self._note, done)
            await self.until(partial(len, done))
            self.assertLess(done[0] - began, 0.2)
            self.loop.stop()

    def _note(self, done: list[float]) -> None:
        done.append(time.monotonic())

    async def test_calls_from_threads(self) -> None:
        """What is asked for at once, by some threads, is all done at once: none waits for the next thing that happens."""
        for _ in range(20):
            done: list[int] = []
            for number in range(5):
                self.reactor.callInThread(partial(self.reactor.callFromThread, done.append, number))
            for number in range(5):
                self.reactor.callFromThread(done.append, number)
            asked = time.monotonic()
            while len(done) < 10:
                await deferLater(reactor, 0.001)
                self.assertLess(time.monotonic() - asked, 2)

    async def test_the_word_of_a_thread_that_was_heard_already(self) -> None:
        """A call that stands behind the loop's own in the reactor's queue is made before the loop waits."""
        if self.loop._stead is None:
            self.skipTest("these tests run under another reactor")
        made: Deferred[float] = Deferred()
        queue = self.reactor.threadCallQueue

        def behind() -> None:
            began = time.monotonic()
            queue.append((lambda: made.callback(time.monotonic() - began), (), {}))     # as a thread does, whose word was heard

        self.reactor.callLater(0, behind)
        self.assertLess(await made, 0.1)

    async def test_traffic_takes_no_turn_of_the_reactor(self) -> None:
        """A ping-pong between two streams of ours goes on within one call of the reactor's."""
        if self.loop._stead is None:
            self.skipTest("these tests run under another reactor")
        turns: list[int] = []
        real = reactor.runUntilCurrent                  # type: ignore[attr-defined]

        def counted() -> None:
            turns.append(self.loop.turns)
            real()

        self.patch(reactor, "runUntilCurrent", counted)
        rallies: list[int] = []

        def back(protocol: Recorder, data: bytes) -> None:
            rallies.append(len(turns))
            if len(rallies) < 1000:
                protocol.transport.write(b"x")

        listener = self.listen(Recorders(lambda: Recorder(back)))
        player = Recorder(back)
        self.dial(self.port_of(listener), player, self.fail)
        await self.until(lambda: player.events)
        player.transport.write(b"x")
        await self.until(lambda: len(rallies) == 1000)
        # the clock of the test and the ticks of the loop take a turn of the reactor now and then
        self.assertLess(rallies[-1] - rallies[0], 100)
        player.transport.loseConnection()
