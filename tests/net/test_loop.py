"""`voltgw.net.loop`: what must hold of the loop under the data plane."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface.verify import verifyObject

from tests.support import HandReactor, Recorder, Recorders, SteppedLoopCase, interpreted_only
from voltgw.net import loop as loop_module
from voltgw.net.loop import BACKLOG, Loop
from voltgw.net.sockets import listening_socket
from voltgw.net.stream import Stream


class LoopTests(SteppedLoopCase):
    def made(self, count: int, *reactions: Any) -> tuple[list[Any], list[socket.socket]]:
        """`count` connections: protocols on our streams, and the plain sockets at their other ends, in the same order."""
        waiting = list(reactions) + [None] * count
        factory = Recorders(lambda: Recorder(waiting.pop(0)))
        listener = self.listen(factory)
        socks = []
        for number in range(count):
            socks.append(self.socket(listener))
            self.spin(lambda number=number: len(factory.built) > number)    # type: ignore[misc]
        listener.stopListening()
        self.turn()
        return factory.built, socks

    def close_all(self, protocols: list[Any]) -> None:
        for protocol in protocols:
            protocol.transport.loseConnection()
        self.turn()

    def test_it_is_a_read_descriptor(self) -> None:
        """The stock reactor takes it for any other descriptor that can be read."""
        verifyObject(IReadDescriptor, self.loop)
        self.assertEqual(self.reactor.readers, [self.loop])

    def test_it_is_readable_when_one_of_its_sockets_is(self) -> None:
        """An epoll descriptor is pollable: the outer reactor sees ours become ready, and quiet again."""
        (protocol,), (sock,) = self.made(1)
        self.assert_quiet()
        sock.sendall(b"x")
        self.assertTrue(self.wait(1))
        self.turn()
        self.assertEqual(protocol.data, b"x")
        self.assert_quiet()
        self.close_all([protocol])

    # -- the guard -------------------------------------------------------------------------------------------------

    def test_a_protocol_that_raises(self) -> None:
        """Whatever `dataReceived` raises ends that connection (RST) and no other; `doRead` does not raise; it is counted."""
        class Oops(BaseException):
            pass

        for kind in (ValueError, Oops, SystemExit, GeneratorExit):
            def fail(protocol: Recorder, data: bytes, kind: type[BaseException] = kind) -> None:
                raise kind("no")

            failures = self.loop.failures
            protocols, socks = self.made(3, None, fail)
            for sock in socks:
                sock.sendall(b"data")
            self.spin(lambda protocols=protocols: protocols[1].reason is not None)      # type: ignore[misc]
            self.assertEqual([bytes(p.data) for p in protocols], [b"data"] * 3)
            self.assertEqual([p.reason is None for p in protocols], [True, False, True])
            self.assertRaises(ConnectionResetError, socks[1].recv, 1)
            self.assertEqual(self.loop.failures, failures + 1)
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
            protocols[0].transport.write(b"still here")
            self.assertEqual(socks[0].recv(100), b"still here")
            self.close_all([protocols[0], protocols[2]])

    def test_a_protocol_that_raises_and_can_answer(self) -> None:
        """A protocol with a method `crashed` ends its connection itself (with a 500, say)."""
        class Polite(Recorder):
            def crashed(self) -> None:
                self.transport.write(b"sorry")
                self.transport.loseConnection()

        def fail(protocol: Recorder, data: bytes) -> None:
            raise ValueError("no")

        protocol, sock = self.pair(Polite(fail))
        sock.sendall(b"data")
        self.spin(lambda: protocol.reason)
        self.assertEqual((sock.recv(100), sock.recv(100)), (b"sorry", b""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_protocol_that_cannot_even_end(self) -> None:
        """If `crashed` raises, too, the stream is cut all the same."""
        class Hopeless(Recorder):
            def crashed(self) -> None:
                raise RuntimeError("again")

        def fail(protocol: Recorder, data: bytes) -> None:
            raise ValueError("no")

        protocol, sock = self.pair(Hopeless(fail))
        sock.sendall(b"data")
        self.spin(lambda: protocol.reason)
        self.assertEqual(self.loop.open, 0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, RuntimeError)), 2)

    def test_a_protocol_that_raises_when_it_is_connected_or_lost(self) -> None:
        """`makeConnection` and `connectionLost` are guarded like the rest, and the counts stay exact."""
        class Bad(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                raise ValueError("made")

            def connectionLost(self, reason: Any) -> None:
                super().connectionLost(reason)
                raise ValueError("lost")

        factory = Recorders(Bad)
        listener = self.listen(factory)
        self.socket(listener)
        self.spin(lambda: factory.built and factory.built[0].reason)
        self.assertEqual((self.loop.open, listener.counters.open, listener.counters.accepted), (0, 0, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_timer_that_raises(self) -> None:
        """A timed call that fails stops neither the loop nor the timers behind it."""
        self.loop.clock.callLater(1, lambda: 1 / 0)
        called: list[int] = []
        self.loop.clock.callLater(2, called.append, 2)
        self.advance(3)
        self.assertEqual(called, [2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_deadline_that_raises(self) -> None:
        """A thing that fails when its deadline passes is ended by the guard: `crashed` is called, the count goes up."""
        class Thing:
            deadline = self.loop.monotonic() + 1
            deadline_slot = 1 << 62
            ended = False

            def expired(self, now: float) -> None:
                raise ValueError("no")

            def crashed(self) -> None:
                self.ended = True

        thing = Thing()
        self.loop.deadlines.schedule(thing)
        self.advance(2)
        self.assertTrue(thing.ended)
        self.assertEqual(self.loop.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    # -- descriptors that come back --------------------------------------------------------------------------------

    def test_a_number_that_would_come_back_within_the_batch(self) -> None:
        """Two streams are ready in one batch; the first handler aborts the second and opens others: not one of them gets
        the number of the dead stream, or its event, while the batch lasts; afterwards the number is free.
        """
        protocols: list[Any] = []
        fresh: list[socket.socket] = []
        heard: list[int] = []
        numbers: list[int] = []

        def kill(protocol: Recorder, data: bytes) -> None:
            other = protocols[1] if protocol is protocols[0] else protocols[0]
            numbers.append(other.transport._fd)
            other.transport.abortConnection()
            for _ in range(20):                     # the kernel gives the lowest free number
                ours, theirs = socket.socketpair()
                fresh.extend((ours, theirs))
                self.loop.watch(ours.fileno(), select.EPOLLIN, heard.append)

        protocols, socks = self.made(2, kill, kill)
        for sock in socks:
            sock.sendall(b"x")
        while len(self.loop._epoll.poll(0)) < 2:
            pass                                    # both must stand in one batch
        self.turn()
        self.assertEqual(sorted(bytes(p.data) for p in protocols), [b"", b"x"])
        self.assertNotIn(numbers[0], [sock.fileno() for sock in fresh])
        self.assertEqual(heard, [])
        with socket.socket() as sock:
            self.assertEqual(sock.fileno(), numbers[0])
        for sock in fresh:
            self.loop.forget(sock.fileno())
            sock.close()
        self.close_all([p for p in protocols if p.reason is None])

    def test_a_stream_that_another_one_pauses_in_the_same_batch(self) -> None:
        """It hears nothing after `pauseProducing`, though its event stands in the batch; resumed, it hears all."""
        protocols: list[Any] = []

        def pause(protocol: Recorder, data: bytes) -> None:
            (protocols[1] if protocol is protocols[0] else protocols[0]).transport.pauseProducing()

        protocols, socks = self.made(2, pause, pause)
        for sock in socks:
            sock.sendall(b"x")
        while len(self.loop._epoll.poll(0)) < 2:
            pass
        self.turn()
        self.assertEqual(sorted(bytes(p.data) for p in protocols), [b"", b"x"])
        self.assert_quiet()
        for protocol in protocols:
            protocol.reaction = None
            protocol.transport.resumeProducing()
        self.spin(lambda: all(p.data == b"x" for p in protocols))
        self.close_all(protocols)

    def test_the_reactor_is_run_from_inside_an_event(self) -> None:
        """A batch is never begun inside another one: the dead of the outer one would be closed too early."""
        inner: list[int] = []

        def again(protocol: Recorder, data: bytes) -> None:
            protocol.transport.loseConnection()
            self.loop.doRead()
            inner.append(len(self.loop._graves))

        protocol, sock = self.pair(Recorder(again))
        sock.sendall(b"x")
        self.spin(lambda: protocol.reason)
        self.assertEqual(inner, [1])

    def test_a_descriptor_that_somebody_else_has_closed(self) -> None:
        """A bug elsewhere is logged and counted; the stream ends, and nobody else notices."""
        protocol, _ = self.pair()
        os.close(protocol.transport._fd)
        protocol.transport.loseConnection()
        self.spin(lambda: protocol.reason)
        self.assertEqual(self.loop.open, 0)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)       # closing

    def test_a_watched_descriptor_that_somebody_else_has_closed(self) -> None:
        """Whoever leaves the set with it is told nothing; it is logged and counted."""
        ours, theirs = os.pipe()
        self.addCleanup(os.close, theirs)
        self.loop.watch(ours, select.EPOLLIN, lambda events: None)
        os.close(ours)
        self.loop.forget(ours)
        self.assertEqual(self.loop.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    # -- work that waits in software -------------------------------------------------------------------------------

    def test_soon_wakes_the_loop(self) -> None:
        """What is asked for from outside an event makes the loop ready, and is done in its next turn."""
        done: list[int] = []
        self.assert_quiet()
        self.loop.soon(lambda: done.append(1))
        self.loop.soon(lambda: done.append(2))
        self.assertEqual(done, [])
        self.assertTrue(self.wait(1))
        self.turn()
        self.assertEqual(done, [1, 2])
        self.assert_quiet()

    def test_soon_from_inside_soon(self) -> None:
        """It runs in the next turn, so that a turn ends, and the loop stays awake for it."""
        turns: list[int] = []

        def again() -> None:
            turns.append(self.loop.turns)
            if len(turns) < 3:
                self.loop.soon(again)

        self.loop.soon(again)
        while len(turns) < 3:
            self.assertTrue(self.wait(0))
            self.turn()
        self.assertEqual(turns, [turns[0], turns[0] + 1, turns[0] + 2])
        self.assert_quiet()

    def test_soon_that_raises(self) -> None:
        """The others are still called."""
        done: list[int] = []
        self.loop.soon(lambda: 1 / 0)           # type: ignore[arg-type]
        self.loop.soon(lambda: done.append(1))
        self.spin(lambda: done)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_soon_before_the_start(self) -> None:
        """What was asked for before the loop ran is done once it runs."""
        loop = Loop(HandReactor(), time.monotonic)
        done: list[int] = []
        loop.soon(lambda: done.append(1))
        loop.start()
        self.assertTrue(select.select([loop.fileno()], [], [], 1)[0])
        loop.doRead()
        self.assertEqual(done, [1])
        loop.stop()

    # -- turns -----------------------------------------------------------------------------------------------------

    @interpreted_only
    def test_a_batch_is_bounded_and_the_rest_comes_next(self) -> None:
        """With more ready than a batch takes, everybody gets a turn before anybody gets a second one: a client that
        never stops sending does not starve the others.
        """
        self.patch(loop_module, "BATCH", 4)
        order: list[int] = []
        protocols: list[Any] = []

        def greedy(protocol: Recorder, data: bytes) -> None:
            order.append(protocols.index(protocol))

        protocols, socks = self.made(12, *[greedy] * 12)
        for protocol in protocols:
            protocol.transport._read_bytes = protocol.transport.max_read_bytes = 10     # always more to read
        for sock in socks:
            sock.sendall(b"x" * 1000)
        for _ in range(6):
            before = len(order)
            self.turn()
            self.assertLessEqual(len(order) - before, 4)
        self.assertEqual(sorted(order), sorted(list(range(12)) * 2))
        self.assertEqual(sorted(order[:12]), list(range(12)))
        self.close_all(protocols)

    def test_one_read_per_stream_and_turn(self) -> None:
        """However much waits, a stream reads at most `max_read_bytes` in a turn."""
        sizes: list[int] = []
        protocol, sock = self.pair(Recorder(lambda _, data: sizes.append(len(data))))
        protocol.transport.max_read_bytes = 32 * 1024
        sock.setblocking(False)
        for _ in range(40):
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                pass
            count = len(sizes)
            self.turn()
            self.assertLessEqual(len(sizes), count + 1)
        self.assertEqual(max(sizes), 32 * 1024)
        protocol.transport.abortConnection()

    def test_slow_turns_are_counted(self) -> None:
        """A turn over 20 ms is one in `slow_turns`; the longest is kept."""
        slow = self.loop.slow_turns

        def dawdle(protocol: Recorder, data: bytes) -> None:
            self._ahead_s += 0.5

        protocol, sock = self.pair(Recorder(dawdle))
        sock.sendall(b"x")
        self.spin(lambda: protocol.data)
        self.assertEqual(self.loop.slow_turns, slow + 1)
        self.assertGreaterEqual(self.loop.longest_turn_s, 0.5)
        self.close_all([protocol])

    def test_ticks_stand_on_the_edges_of_the_slots(self) -> None:
        """So a deadline is noticed at most one tick late, not two."""
        (call,) = self.loop.clock.getDelayedCalls()
        self.assertLess(call.getTime() % 0.25, 0.01)    # a little after the edge, never before it

    # -- the end ---------------------------------------------------------------------------------------------------

    def test_stopped_with_streams_open(self) -> None:
        """Streams, also those paused or closing with bytes unsent, listeners, also those that wait for room, and dials
        are closed; protocols are told once; no descriptor is left.
        """
        before = set(os.listdir("/proc/self/fd"))
        reactor = HandReactor()
        loop = Loop(reactor, time.monotonic)
        loop.start()
        self.loop, ours = loop, self.loop
        protocols, socks = self.made(5)
        full = Recorders()
        waiting = self.listen(full, limit=0)
        self.socket(waiting)
        self.spin(lambda: loop.waiting_listeners)
        failed: list[Any] = []
        backlog = socket.create_server(("127.0.0.1", 0), backlog=0)
        crowd = [socket.create_connection(backlog.getsockname()) for _ in range(1)]
        self.dial(backlog.getsockname()[1], Recorder(), failed.append)
        protocols[1].transport.pauseProducing()
        protocols[2].transport.write(b"x" * 10_000_000)
        protocols[2].transport.loseConnection()
        protocols[3].transport.write(b"x" * 10_000_000)
        protocols[3].transport.pauseProducing()
        loop.stop()
        self.assertEqual([len([e for e in p.events if e == "lost"]) for p in protocols], [1] * 5)
        self.assertEqual(loop.open, 0)
        self.assertEqual(reactor.readers, [])
        self.assertEqual(loop.fileno(), -1)
        self.assertEqual(loop.parked, set())
        self.assertEqual(socks[0].recv(10), b"")
        for sock in (*socks, *crowd, *self._sockets, backlog):
            sock.close()
        self.assertEqual(set(os.listdir("/proc/self/fd")), before)
        self.loop = ours

    def test_a_dial_under_way_when_the_loop_stops(self) -> None:
        """Its `failed` is called: somebody may hold a Deferred. A dial after the end fails, too; nothing is opened."""
        loop = Loop(HandReactor(), time.monotonic)
        loop.start()
        self.loop, ours = loop, self.loop
        failed: list[Any] = []

        def once_more(error: Any) -> None:
            failed.append(error)
            if len(failed) < 3:
                self.dial(port, Recorder(), once_more)

        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            self.dial(port, Recorder(), once_more)
            loop.stop()
        self.assertEqual(len(failed), 3)
        self.loop = ours

    def test_stopped_twice_and_used_afterwards(self) -> None:
        """A second stop, a late timer, a late `soon` and a late turn are harmless."""
        loop = Loop(HandReactor(), time.monotonic)
        loop.start()
        loop.stop()
        loop.stop()
        loop.clock.callLater(0, self.fail)
        loop.soon(lambda: self.fail("it runs"))
        loop.doRead()
        loop.connectionLost(None)

    def test_stopped_before_it_was_started(self) -> None:
        """Its descriptors are closed all the same."""
        before = set(os.listdir("/proc/self/fd"))
        loop = Loop(HandReactor(), time.monotonic)
        loop.stop()
        self.assertEqual(set(os.listdir("/proc/self/fd")), before)

    def test_stopped_from_inside_an_event(self) -> None:
        """A protocol may bring about the end of everything; the turn ends in order, and later events go nowhere."""
        loop = Loop(HandReactor(), time.monotonic)
        loop.start()
        self.loop, ours = loop, self.loop
        protocols, socks = self.made(2, *[lambda *_: loop.stop()] * 2)
        for sock in socks:
            sock.sendall(b"x")
        while len(loop._epoll.poll(0)) < 2:
            pass
        loop.doRead()
        self.assertEqual(sorted(bytes(p.data) for p in protocols), [b"", b"x"])
        self.assertEqual([p.reason is None for p in protocols], [False, False])
        self.loop = ours

    def test_the_reactor_lets_go_without_a_stop(self) -> None:
        """When the reactor ends first it calls `connectionLost`: protocols are told, as Twisted tells its own."""
        loop = Loop(HandReactor(), time.monotonic)
        loop.start()
        self.loop, ours = loop, self.loop
        (protocol,), _ = self.made(1)
        loop.connectionLost(None)
        self.assertEqual(protocol.events, ["made", "lost"])
        self.loop = ours

    def test_open_is_exact(self) -> None:
        """Every way to end a stream counts it down once, whatever else is called on it afterwards."""
        protocols, socks = self.made(8)
        self.assertEqual(self.loop.open, 8)
        protocols[0].transport.loseConnection()
        protocols[1].transport.abortConnection()
        protocols[2].transport.write(b"x" * 10_000_000)
        protocols[2].transport.loseConnection()
        protocols[2].transport.abortConnection()
        socks[3].close()
        socks[4].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socks[4].close()
        protocols[5].transport.stopProducing()
        protocols[6].transport.loseWriteConnection()
        socks[6].close()
        protocols[7].transport.pauseProducing()
        protocols[7].transport.abortConnection()
        self.spin(lambda: all(p.reason for p in protocols))
        for protocol in protocols:
            transport = protocol.transport
            transport.loseConnection()
            transport.abortConnection()
            transport.loseWriteConnection()
            transport.stopProducing()
            transport.pauseProducing()
            transport.resumeProducing()
            transport.unregisterProducer()
            transport.shut()
            transport.write(b"late")
        self.turn()
        self.assertEqual(self.loop.open, 0)
        self.assertEqual({p.events.count("lost") for p in protocols}, {1})

    @interpreted_only
    def test_no_room_in_the_set(self) -> None:
        """A stream that the kernel refuses to watch is closed and not counted; the others go on."""
        sock, other = socket.socketpair()
        self.addCleanup(other.close)
        stream = Stream(self.loop, sock, ("", 0))
        self.patch(self.loop, "watch", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        self.assertRaises(OSError, stream.open, Recorder())
        self.assertEqual((self.loop.open, sock.fileno()), (0, -1))

    def test_a_listening_socket_is_a_handler_like_others(self) -> None:
        """Nothing but bound methods with an owner stands in the set, so that `stop` can find everything."""
        self.listen(Recorders())
        self.assertEqual(len(self.loop._owners()), 1)
        self.assertTrue(all(hasattr(h, "__self__") for h in self.loop._handlers.values()))
        listening_socket("127.0.0.1", 0).close()


class BacklogTests(SteppedLoopCase):
    def test_much_of_it_is_relieved_in_the_same_turn(self) -> None:
        """Once `BACKLOG` things wait, `relieve` is called at the end of that turn; fewer are left to a timer."""
        waiting: list[int] = []
        calls: list[int] = []
        self.loop.backlog = waiting
        self.loop.relieve = lambda: calls.append(len(waiting))
        self.loop.soon(lambda: None)
        self.turn()
        waiting.extend(range(BACKLOG - 1))
        self.turn()
        self.assertEqual(calls, [])
        waiting.append(0)
        self.turn()
        self.assertEqual(calls, [BACKLOG])
