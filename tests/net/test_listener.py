"""`voltgw.net.listener`: accepting, and not accepting."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import subprocess
import sys
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from tests.support import Recorder, Recorders, SteppedLoopCase, interpreted_only
from voltgw.net.listener import ACCEPTS_PER_TURN, FD_PAUSE_S, Listener, StreamServerEndpoint
from voltgw.net.loop import Loop
from voltgw.net.pacing import Pace, Rate
from voltgw.net.sockets import adopt, listening_socket
from voltgw.values.counters import ListenerCounters


def _busy(events: int) -> None:
    """Never done."""


class ListenerTests(SteppedLoopCase):
    def test_interfaces(self) -> None:
        """It is an IListeningPort, its endpoint an IStreamServerEndpoint."""
        verifyObject(IListeningPort, self.listen(Recorders()))
        verifyObject(IStreamServerEndpoint, StreamServerEndpoint(self.loop, None, 0))

    def test_a_connection(self) -> None:
        """The factory is told from where, the protocol gets the stream, and the counts move."""
        seen: list[Any] = []

        class Asking(Recorders):
            def buildProtocol(self, addr: Any) -> Any:
                seen.append(addr)
                return super().buildProtocol(addr)

        counters = ListenerCounters()
        factory = Asking()
        listener = self.listen(factory, counters=counters)
        sock = self.socket(listener)
        self.spin(lambda: factory.built)
        (protocol,) = factory.built
        self.assertEqual([(a.host, a.port) for a in seen], [sock.getsockname()])
        self.assertEqual((counters.accepted, counters.open, self.loop.open), (1, 1, 1))
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual((counters.accepted, counters.open, self.loop.open), (1, 0, 0))

    def test_bytes_are_counted_when_a_stream_ends(self) -> None:
        """`counters.bytes_in` and `bytes_out` grow by all that the stream carried, however it ended."""
        factory = Recorders(lambda: Recorder(lambda protocol, data: protocol.transport.write(data * 2)))
        listener = self.listen(factory)
        counters = listener.counters
        socks = [self.socket(listener) for _ in range(2)]
        for sock in socks:
            sock.sendall(b"x" * 100)
        self.spin(lambda: [len(p.data) for p in factory.built] == [100, 100])
        self.assertEqual((counters.bytes_in, counters.bytes_out), (0, 0))
        factory.built[0].transport.loseConnection()
        factory.built[1].transport.abortConnection()
        self.turn()
        self.assertEqual((counters.bytes_in, counters.bytes_out), (200, 400))

    def test_dual_stack(self) -> None:
        """One listener for both families; the peer of an IPv4 client is written as IPv4, and so is our own address."""
        factory = Recorders()
        listener = self.listen(factory, None)
        for address in ("127.0.0.1", "::1"):
            self.socket(listener, address)
        self.spin(lambda: len(factory.built) == 2)
        self.assertEqual([p.transport.getPeer().host for p in factory.built], ["127.0.0.1", "::1"])
        self.assertEqual([p.transport.local for p in factory.built],
                         [("127.0.0.1", self.port_of(listener)), ("::1", self.port_of(listener))])
        for protocol in factory.built:
            protocol.transport.loseConnection()

    def test_the_local_address_costs_no_system_call(self) -> None:
        """A stream of a listener on one address has that address."""
        protocol, sock = self.pair()
        self.assertEqual(protocol.transport._local, sock.getpeername())
        protocol.transport.loseConnection()

    def test_a_factory_that_wants_no_more(self) -> None:
        """A `buildProtocol` of None closes the connection; it counts as accepted, not as open."""
        class Full(Recorders):
            def buildProtocol(self, addr: Any) -> Any:
                return None

        listener = self.listen(Full())
        sock = self.socket(listener)
        self.spin(lambda: listener.counters.accepted)
        self.assertEqual(sock.recv(1), b"")
        self.assertEqual((listener.counters.open, self.loop.open), (0, 0))

    def test_a_factory_that_raises(self) -> None:
        """That connection is closed, the next one gets its chance."""
        class Moody(Recorders):
            def buildProtocol(self, addr: Any) -> Any:
                if not self.built:
                    self.built.append(None)
                    raise ValueError("not now")
                return super().buildProtocol(addr)

        factory = Moody()
        listener = self.listen(factory)
        first, _ = self.socket(listener), self.socket(listener)
        self.spin(lambda: len(factory.built) == 2)
        self.assertEqual(first.recv(1), b"")
        self.assertEqual((listener.counters.accepted, listener.counters.open), (2, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        factory.built[1].transport.loseConnection()

    @interpreted_only
    def test_no_room_in_the_set(self) -> None:
        """A connection that the kernel will not watch is closed, and leaves no count behind."""
        factory = Recorders()
        listener = self.listen(factory)
        sock = self.socket(listener)

        def refuse(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        refusing = self.patch(self.loop, "watch", refuse)
        self.spin(lambda: factory.built)
        refusing.restore()
        self.assertEqual((listener.counters.accepted, listener.counters.open, self.loop.open), (1, 0, 0))
        self.assertEqual(sock.recv(1), b"")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_many_at_once(self) -> None:
        """At most `ACCEPTS_PER_TURN` are accepted in one turn; the rest come in the next ones."""
        factory = Recorders()
        listener = self.listen(factory)
        socks = [self.socket(listener) for _ in range(ACCEPTS_PER_TURN + 10)]
        self.wait(1)
        self.turn()
        self.assertEqual(len(factory.built), ACCEPTS_PER_TURN)
        self.spin(lambda: len(factory.built) == len(socks))
        for sock in socks:
            sock.close()
        self.spin(lambda: self.loop.open == 0)
        self.assertEqual(listener.counters.open, 0)

    def test_many_amid_a_crowd(self) -> None:
        """Where more are ready than one turn takes, a listener's turn comes seldom: it accepts ever more at once all the same."""
        factory = Recorders()
        listener = self.listen(factory)
        for number in range(3):             # one at a time, with quiet turns between them
            self.socket(listener)
            while len(factory.built) <= number:
                self.turn()
            self.turn()
            self.turn()
        for _ in range(600):
            fd = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.addCleanup(os.close, fd)
            self.loop.watch(fd, select.EPOLLIN, _busy)
            self.addCleanup(self.loop.forget, fd)
        for _ in range(100):
            self.socket(listener)
        turns = self.loop.turns
        self.spin(lambda: len(factory.built) == 103)
        self.assertLess(self.loop.turns - turns, 60)    # one for each of its turns would be 300
        for protocol in factory.built:
            protocol.transport.loseConnection()
        self.spin(lambda: not self.loop.open)

    def test_at_its_limit(self) -> None:
        """Accepting pauses, clients wait in the backlog, nothing spins; an end lets the next one in, exactly one."""
        factory = Recorders()
        listener = self.listen(factory, limit=2)
        socks = [self.socket(listener) for _ in range(5)]
        self.spin(lambda: self.loop.waiting_listeners)
        self.assert_quiet()
        self.assertEqual(len(factory.built), 2)
        socks[4].sendall(b"I can wait")
        for number in range(3):
            socks[number].close()
            self.spin(lambda number=number: len(factory.built) == 3 + number)       # type: ignore[misc]
            self.assert_quiet()
            self.assertEqual(listener.counters.open, 2)
        self.spin(lambda: factory.built[4].data == b"I can wait")
        self.assertEqual(listener.counters.paused_limit, 4)
        listener.limit = 100
        listener.room_again()
        self.assertEqual(self.loop.waiting_listeners, set())
        for protocol in factory.built[3:]:
            protocol.transport.loseConnection()

    def test_at_its_rate(self) -> None:
        """Accepting pauses until the next one is due, and nothing spins; clients wait and are not refused. A reload's rate
        counts at once."""
        factory = Recorders()
        listener = self.listen(factory)
        listener.keep_pace(Pace(Rate(2, 3)))
        socks = [self.socket(listener) for _ in range(7)]
        self.spin(lambda: listener.counters.paused_rate)
        self.assert_quiet()
        self.assertEqual(len(factory.built), 3)
        for number in (4, 5):
            self.advance(0.5)
            self.spin(lambda number=number: len(factory.built) == number)           # type: ignore[misc]
            self.assert_quiet()
        listener.keep_pace(None)
        self.spin(lambda: len(factory.built) == 7)
        self.assertEqual(listener.counters.paused_rate, 3)
        listener.keep_pace(Pace(Rate(1, 1)))
        for _ in range(2):
            socks.append(self.socket(listener))
        self.spin(lambda: listener.counters.paused_rate == 4)
        listener.stopListening()            # while it waits: no timer is left
        for sock in socks:
            sock.close()

    def test_its_rate_and_its_limit(self) -> None:
        """Both hold: one that may come now waits for room, and takes its turn then."""
        factory = Recorders()
        listener = self.listen(factory, limit=1)
        listener.keep_pace(Pace(Rate(1, 1)))
        socks = [self.socket(listener) for _ in range(3)]
        self.spin(lambda: self.loop.waiting_listeners)
        self.advance(5)
        self.assertEqual(len(factory.built), 1)
        socks[0].close()
        self.spin(lambda: len(factory.built) == 2)
        socks[1].close()
        self.spin(lambda: listener.counters.paused_rate)
        self.advance(1)
        self.spin(lambda: len(factory.built) == 3)
        socks[2].close()

    def test_at_the_limit_of_the_loop(self) -> None:
        """The loop's limit holds for all listeners together; any stream that ends makes room."""
        self.loop.open_limit = 2
        factories = [Recorders(), Recorders()]
        listeners = [self.listen(factory) for factory in factories]
        socks = [self.socket(listener) for listener in listeners * 2]
        self.spin(lambda: len(self.loop.waiting_listeners) == 2)
        self.assert_quiet()
        self.assertEqual(self.loop.open, 2)
        for _ in range(2):
            for factory in factories:
                for protocol in factory.built:
                    protocol.transport.loseConnection()
            self.turn()
            self.spin(lambda: self.loop.open == 2 or not self.wait(0))
        self.assertEqual(sum(len(f.built) for f in factories), 4)
        for sock in socks:
            sock.close()
        self.spin(lambda: self.loop.open == 0)
        self.loop.open_limit = 1 << 30

    def test_stopped(self) -> None:
        """The port is closed; streams that were accepted go on and count; the factory is told once."""
        class Told(Recorders):
            stops = 0

            def stopFactory(self) -> None:
                self.stops += 1

        factory = Told()
        listener = self.listen(factory)
        sock = self.socket(listener)
        self.spin(lambda: factory.built)
        host: Any = listener.getHost()
        self.successResultOf(listener.stopListening())
        self.successResultOf(listener.stopListening())
        self.assertEqual(factory.stops, 1)
        self.assertEqual((listener.getHost(), listener.fileno()), (host, -1))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, (host.host, host.port))
        sock.sendall(b"x")
        self.spin(lambda: factory.built[0].data)
        sock.close()
        self.spin(lambda: self.loop.open == 0)
        self.assertEqual(listener.counters.open, 0)
        self.assertIn("closed", repr(listener))

    def test_stopped_by_its_own_connection(self) -> None:
        """A protocol that stops its listener while it is accepting: the loop over the backlog ends."""
        class Last(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                listener.stopListening()

        factory = Recorders(Last)
        listener = self.listen(factory)
        for _ in range(3):
            self.socket(listener)
        self.spin(lambda: factory.built)
        self.turn()
        self.assertEqual(len(factory.built), 1)
        factory.built[0].transport.loseConnection()

    def test_stopped_while_it_waits(self) -> None:
        """At its limit, or without descriptors: nothing is left that would wake it."""
        listener = self.listen(Recorders(), limit=0)
        self.socket(listener)
        self.spin(lambda: self.loop.waiting_listeners)
        listener.stopListening()
        self.assertEqual((self.loop.waiting_listeners, self.loop.parked), (set(), set()))

        listener = self.listen(Recorders())
        listener._accept = lambda: (_ for _ in ()).throw(OSError(errno.ENFILE, "file table overflow"))
        self.socket(listener)
        self.spin(lambda: listener.counters.paused_fds)
        listener.stopListening()
        self.assertEqual(self.loop._owners(), [])
        self.assertEqual(len(self.loop.clock.getDelayedCalls()), 1)

    def test_connections_that_are_gone_before_they_are_accepted(self) -> None:
        """Errors that accept(2) tells of the new connection skip that one; the others of the turn are accepted."""
        factory = Recorders()
        listener = self.listen(factory)
        real = listener._accept
        errors = [errno.ECONNABORTED, errno.EPROTO, errno.EPERM]

        def accept() -> tuple[int, Any]:
            if errors:
                raise OSError(errors.pop(), "gone")
            return real()

        listener._accept = accept
        self.socket(listener)
        self.spin(lambda: factory.built)
        self.assertEqual(errors, [])
        factory.built[0].transport.loseConnection()

    def test_an_error_that_stays(self) -> None:
        """Accepting pauses, once logged, rather than failing again and again in a loop that is always ready."""
        factory = Recorders()
        listener = self.listen(factory)
        real, listener._accept = listener._accept, lambda: (_ for _ in ()).throw(OSError(errno.EINVAL, "broken"))
        self.socket(listener)
        self.spin(lambda: listener._retry)
        self.assert_quiet()
        self.advance(3 * FD_PAUSE_S)
        self.assertEqual(listener.counters.paused_fds, 0)
        listener._accept = real
        self.advance(FD_PAUSE_S)
        self.spin(lambda: factory.built)
        factory.built[0].transport.loseConnection()

    def test_no_descriptor_left(self) -> None:
        """EMFILE, for real: accepting pauses, is counted and does not spin; clients wait; with descriptors it goes on."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        factory = Recorders()
        listener = self.listen(factory)
        socks = [self.socket(listener) for _ in range(4)]
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        holes = []
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while True:                                 # fill the holes below, so that two more can be had
            fd = os.dup(0)
            if fd > highest:
                os.close(fd)
                break
            holes.append(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 2, hard))
        said: list[Any] = []
        note: Any = lambda event: said.append(event) if "listener" in event else None   # noqa: E731
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.spin(lambda: listener.counters.paused_fds)
        self.assert_quiet()
        self.assertEqual((len(factory.built), listener.counters.accepted, listener.counters.open), (2, 2, 2))
        self.advance(4 * FD_PAUSE_S)
        self.assertEqual(len(factory.built), 2)
        self.assertIn(listener.counters.paused_fds, (4, 5))
        self.assertEqual(len(said), 1)              # once, not at every try
        socks[0].sendall(b"still served")
        self.spin(lambda: factory.built[0].data == b"still served")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.advance(FD_PAUSE_S)
        self.spin(lambda: len(factory.built) == 4)
        for hole in holes:
            os.close(hole)
        for protocol in factory.built:
            protocol.transport.loseConnection()

    def test_no_descriptor_left_in_a_process_of_its_own(self) -> None:
        """The same on a real reactor under a small limit: far more clients than descriptors, and all are served in the end."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.net.starve"], capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual((done.stdout, done.returncode), ("served 60, paused\n", 0), done.stderr)

    def test_adopted(self) -> None:
        """A socket that another process made and bound: the connections that waited on it are served."""
        made = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(made.getsockname())
        self._sockets.append(client)
        factory = Recorders()
        listener = Listener(self.loop, adopt(made.detach()), factory)
        self._listeners.append(listener)
        listener.startListening()
        client.sendall(b"waited")
        self.spin(lambda: factory.built and factory.built[0].data == b"waited")
        self.socket(listener)
        self.spin(lambda: len(factory.built) == 2)
        self.assertTrue(factory.built[1].transport.getTcpNoDelay())
        for protocol in factory.built:
            protocol.transport.loseConnection()

    def test_several_on_one_port(self) -> None:
        """With SO_REUSEPORT two loops (of two workers, later) share a port, and each gets some of the connections."""
        factories = [Recorders(), Recorders()]
        first = listening_socket("127.0.0.1", 0, reuse_port=True)
        port = first.getsockname()[1]
        for sock, factory in ((first, factories[0]), (listening_socket("127.0.0.1", port, reuse_port=True), factories[1])):
            listener = Listener(self.loop, sock, factory)
            self._listeners.append(listener)
            listener.startListening()
        for _ in range(60):
            self._sockets.append(socket.create_connection(("127.0.0.1", port)))
        self.spin(lambda: sum(len(factory.built) for factory in factories) == 60)
        self.assertTrue(all(factory.built for factory in factories))
        for sock in self._sockets:
            sock.close()

    def test_before_the_loop_runs(self) -> None:
        """A listener may start before the loop: its connections wait."""
        loop = Loop(self.reactor, self.loop.monotonic)
        factory = Recorders()
        listener = Listener(loop, listening_socket("127.0.0.1", 0), factory)
        listener.startListening()
        self.socket(listener)
        loop.start()
        while not factory.built:
            loop.doRead()
        loop.stop()
        self.assertEqual(factory.built[0].events, ["made", "lost"])


class EndpointTests(SteppedLoopCase):
    def test_listens(self) -> None:
        """`listen` gives a port that accepts for the factory."""
        factory = Recorders()
        port: Any = self.successResultOf(StreamServerEndpoint(self.loop, "127.0.0.1", 0).listen(factory))
        self._listeners.append(port)
        self.socket(port)
        self.spin(lambda: factory.built)
        factory.built[0].transport.loseConnection()

    def test_cannot_listen(self) -> None:
        """A `CannotListenError`, as Twisted's own endpoints give, with our text in it; also for what is no address."""
        taken = self.listen(Recorders())
        endpoint = StreamServerEndpoint(self.loop, "127.0.0.1", self.port_of(taken))
        failure = self.failureResultOf(endpoint.listen(Recorders()), CannotListenError)
        self.assertIn("`ss -ltnp", failure.getErrorMessage())
        self.failureResultOf(StreamServerEndpoint(self.loop, "localhost", 0).listen(Recorders()), CannotListenError)
