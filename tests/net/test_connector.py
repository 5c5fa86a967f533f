"""`voltgw.net.connector`: dials and the client endpoint."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet import error as twisted_error
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from tests.support import Recorder, Recorders, SteppedLoopCase, interpreted_only
from voltgw.errors import ConnectFailed, ConnectTimeout, Exhausted
from voltgw.net.connector import StreamClientEndpoint, dial
from voltgw.net.deadlines import TICK_S


class ConnectorCase(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.errors: list[Any] = []

    def server(self, family: socket.AddressFamily = socket.AF_INET, backlog: int = 10) -> socket.socket:
        """A plain listening socket."""
        sock = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family, backlog=backlog)
        self._sockets.append(sock)
        return sock

    def accepted(self, server: socket.socket) -> socket.socket:
        """The next connection that it has."""
        sock = server.accept()[0]
        sock.settimeout(5)
        self._sockets.append(sock)
        return sock

    def silent_port(self) -> int:
        """A port that answers no SYN: its backlog is full."""
        server = self.server(backlog=0)
        for _ in range(2):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
            self._sockets.append(sock)
        return int(server.getsockname()[1])

    def closed_port(self) -> int:
        """A port on which nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            return int(sock.getsockname()[1])


class DialTests(ConnectorCase):
    def test_connected(self) -> None:
        """`makeConnection` comes later, with a stream that knows both its addresses; `failed` is never called."""
        server, protocol = self.server(), Recorder()
        port = server.getsockname()[1]
        self.dial(port, protocol, self.errors.append)
        self.assertEqual(protocol.events, [])
        self.spin(lambda: protocol.transport)
        sock = self.accepted(server)
        self.assertEqual((protocol.transport.peer, protocol.transport.local), (("127.0.0.1", port), sock.getpeername()))
        protocol.transport.write(b"hello")
        self.assertEqual(sock.recv(10), b"hello")
        self.assertTrue(protocol.transport.getTcpNoDelay())
        protocol.transport.loseConnection()
        self.advance(10)
        self.assertEqual((self.errors, protocol.events), ([], ["made", "lost"]))

    def test_ipv6(self) -> None:
        """An address with colons is dialled as IPv6."""
        server, protocol = self.server(socket.AF_INET6), Recorder()
        dial(self.loop, "::1", server.getsockname()[1], protocol, 5, self.errors.append)
        self.spin(lambda: protocol.transport)
        self.assertEqual(protocol.transport.getPeer().host, "::1")
        protocol.transport.loseConnection()

    def test_from_a_source(self) -> None:
        """`source` is bound first."""
        server, protocol = self.server(), Recorder()
        dial(self.loop, "127.0.0.1", server.getsockname()[1], protocol, 5, self.errors.append, ("127.0.0.7", 0))
        self.spin(lambda: protocol.transport)
        self.assertEqual(protocol.transport.local[0], "127.0.0.7")
        protocol.transport.loseConnection()

    def test_refused(self) -> None:
        """`failed` is called once, later, with where and why; the protocol hears nothing."""
        protocol, port = Recorder(), self.closed_port()
        self.dial(port, protocol, self.errors.append)
        self.assertEqual(self.errors, [])
        self.spin(lambda: self.errors)
        self.advance(10)
        self.assertEqual([str(e) for e in self.errors], [f"127.0.0.1:{port}: Connection refused"])
        self.assertEqual([e.errno for e in self.errors], [errno.ECONNREFUSED])
        self.assertIs(type(self.errors[0]), ConnectFailed)
        self.assertEqual(protocol.events, [])

    def test_no_answer(self) -> None:
        """`ConnectTimeout` when the time is over, at most a tick late, and not before."""
        self.dial(self.silent_port(), Recorder(), self.errors.append, 1.0)
        self.advance(0.9)
        self.assertEqual(self.errors, [])
        self.advance(0.1 + TICK_S)
        self.assertEqual([type(e) for e in self.errors], [ConnectTimeout])
        self.assertIn("did not answer within 1 s", str(self.errors[0]))
        self.assertEqual(self.loop._owners(), [])

    def test_cancelled(self) -> None:
        """Neither call is made, whether the dial is under way, about to fail, or through; nothing is left."""
        protocol = Recorder()
        under_way = self.dial(self.silent_port(), protocol, self.errors.append, 1.0)
        refused = dial(self.loop, "not an address", 1, protocol, 1.0, self.errors.append)
        through = self.dial(int(self.server().getsockname()[1]), protocol, self.errors.append, 1.0)
        for each in (under_way, refused, through):
            each.cancel()
            each.cancel()
        self.advance(5)
        self.assertEqual((self.errors, protocol.events), ([], []))

    def test_cancelled_by_another_event_of_its_batch(self) -> None:
        """A dial that is through, and cancelled by a handler before it in the same batch, connects nobody."""
        server, protocols = self.server(), [Recorder(), Recorder()]
        dials: list[Any] = []

        class Jealous(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                for each in dials:
                    each.cancel()

        protocols = [Jealous(), Jealous()]
        dials += [self.dial(server.getsockname()[1], protocol, self.errors.append) for protocol in protocols]
        while len(self.loop._epoll.poll(0)) < 2:
            pass
        self.turn()
        self.advance(10)
        self.assertEqual(sorted(p.events for p in protocols), [[], ["made"]])
        self.assertEqual(self.errors, [])
        for protocol in protocols:
            if protocol.transport:
                protocol.transport.loseConnection()

    def test_cannot_be_begun(self) -> None:
        """No address, no descriptor, no such source, no route: all come through `failed`, later, and leave nothing open."""
        before = os.listdir("/proc/self/fd")
        self.patch(socket, "getaddrinfo", self.fail)
        for address, source in (("localhost", None), ("127.0.0.1", ("192.0.2.1", 0)), ("fe80::1%nowhere", None)):
            self.errors.clear()
            dial(self.loop, address, 80, Recorder(), 1, self.errors.append, source)
            self.assertEqual(self.errors, [])
            self.turn()
            self.assertEqual([type(e) for e in self.errors], [ConnectFailed])

        def none_left(*_: object) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        self.errors.clear()
        self.patch(socket, "SocketType", none_left)
        self.dial(80, Recorder(), self.errors.append)
        self.turn()
        self.assertIn("Too many open files", str(self.errors[0]))
        self.assertIsInstance(self.errors[0], Exhausted)
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_an_error_of_connect_itself(self) -> None:
        """What connect(2) refuses at once (here: a broadcast address) is told like the rest."""
        dial(self.loop, "255.255.255.255", 80, Recorder(), 1, self.errors.append)
        self.turn()
        self.assertEqual([type(e) for e in self.errors], [ConnectFailed])

    def test_connected_to_itself(self) -> None:
        """Nobody listens, and the kernel picks the target as our own port: TCP connects to itself. It counts as refused."""
        protocol, port = Recorder(), self.closed_port()
        dial(self.loop, "127.0.0.1", port, protocol, 1, self.errors.append, ("127.0.0.1", port))
        self.spin(lambda: self.errors)
        self.assertIn("Connection refused", str(self.errors[0]))
        self.assertEqual(protocol.events, [])

    @interpreted_only
    def test_no_room_in_the_set(self) -> None:
        """A kernel that will not watch the socket is a failed dial; a stream then stays where its dial was."""
        def watch(*args: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        port = self.server().getsockname()[1]
        protocol = Recorder()
        self.dial(port, protocol, self.errors.append)
        patched = self.patch(self.loop, "watch", watch)
        self.spin(lambda: protocol.events)
        self.assertEqual((protocol.events[0], self.errors), ("made", []))
        self.dial(port, Recorder(), self.errors.append)
        self.spin(lambda: self.errors)
        self.assertIn("No space left", str(self.errors[0]))
        patched.restore()
        protocol.transport.abortConnection()
        self.turn()
        self.assertEqual((self.loop.open, self.loop._owners()), (0, []))

    def test_a_protocol_that_raises(self) -> None:
        """A protocol that fails in `makeConnection` ends its own connection; `failed` is not called as well."""
        class Bad(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                raise ValueError("no")

        server, protocol = self.server(), Bad()
        self.dial(server.getsockname()[1], protocol, self.errors.append)
        self.spin(lambda: protocol.reason)
        self.assertEqual((self.errors, protocol.events), ([], ["made", "lost"]))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_failed_that_raises(self) -> None:
        """Is a bug that the guard logs; the dial is over."""
        self.dial(self.closed_port(), Recorder(), lambda error: 1 // 0)
        self.spin(lambda: self.loop.failures)
        self.assertEqual(self.loop._owners(), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Stock(Protocol):
    """A plain Twisted protocol."""

    lost: Any = None

    def connectionLost(self, reason: Any = None) -> None:
        """Over."""
        self.lost = reason


class Told(Factory):
    """A factory that counts its starts and stops, and keeps what it built for whom."""

    noisy = False
    protocol = Stock

    def __init__(self) -> None:
        self.events: list[Any] = []

    def startFactory(self) -> None:
        """First use."""
        self.events.append("start")

    def stopFactory(self) -> None:
        """Last use."""
        self.events.append("stop")

    def buildProtocol(self, addr: Any) -> Any:
        """One connection."""
        self.events.append((addr.host, addr.port))
        return super().buildProtocol(addr)


class EndpointTests(ConnectorCase):
    def test_interface(self) -> None:
        """It is an IStreamClientEndpoint."""
        verifyObject(IStreamClientEndpoint, StreamClientEndpoint(self.loop, "127.0.0.1", 80))

    def test_connected(self) -> None:
        """The Deferred gives the protocol, connected; the factory is told of start, address and stop."""
        server, factory = self.server(), Told()
        port = server.getsockname()[1]
        done = StreamClientEndpoint(self.loop, "127.0.0.1", port).connect(factory)
        self.assertEqual(factory.events, ["start"])
        self.spin(lambda: done.called)
        protocol = self.successResultOf(done)
        self.assertEqual(protocol.connected, 1)
        protocol.transport.write(b"hello")
        sock = self.accepted(server)
        self.assertEqual(sock.recv(10), b"hello")
        sock.close()
        self.spin(lambda: protocol.lost)
        self.assertEqual(factory.events, ["start", ("127.0.0.1", port), "stop"])

    def test_refused(self) -> None:
        """ConnectError, and the factory is stopped without having built anything."""
        factory = Told()
        done = StreamClientEndpoint(self.loop, "127.0.0.1", self.closed_port()).connect(factory)
        self.spin(lambda: done.called)
        failure = self.failureResultOf(done, twisted_error.ConnectError)
        self.assertIn("Connection refused", failure.getErrorMessage())
        self.assertEqual(factory.events, ["start", "stop"])

    def test_no_answer(self) -> None:
        """Twisted's TimeoutError, which is a ConnectError."""
        done = StreamClientEndpoint(self.loop, "127.0.0.1", self.silent_port(), 1.0).connect(Told())
        self.advance(2)
        self.failureResultOf(done, twisted_error.TimeoutError)

    def test_cancelled(self) -> None:
        """ConnectingCancelledError with the address; the factory is stopped, nothing is left."""
        factory = Told()
        port = self.silent_port()
        done = StreamClientEndpoint(self.loop, "127.0.0.1", port).connect(factory)
        done.cancel()
        failure = self.failureResultOf(done, twisted_error.ConnectingCancelledError)
        self.assertEqual(failure.value.address.port, port)
        self.assertEqual(factory.events, ["start", "stop"])
        self.assertEqual(self.loop._owners(), [])

    def test_a_factory_that_refuses_or_raises(self) -> None:
        """None is NoProtocol; an exception is handed on. The connection is closed, the factory stopped."""
        class Refusing(Told):
            def buildProtocol(self, addr: Any) -> Any:
                return None

        class Failing(Told):
            def buildProtocol(self, addr: Any) -> Any:
                raise KeyError(addr)

        server = self.server()
        for factory, kind in ((Refusing(), twisted_error.NoProtocol), (Failing(), KeyError)):
            done = StreamClientEndpoint(self.loop, "127.0.0.1", server.getsockname()[1]).connect(factory)
            self.spin(lambda done=done: done.called)                    # type: ignore[misc]
            self.failureResultOf(done, kind)
            self.turn()
            self.assertEqual(factory.events, ["start", "stop"])
            self.assertEqual(self.loop.open, 0)

    def test_a_protocol_that_raises(self) -> None:
        """What `makeConnection` raises fails the Deferred, and the protocol hears of its end."""
        class Bad(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                raise KeyError("no")

        factory = Recorders(Bad)
        done = StreamClientEndpoint(self.loop, "127.0.0.1", self.server().getsockname()[1]).connect(factory)
        self.spin(lambda: done.called)
        self.failureResultOf(done, KeyError)
        self.turn()
        self.assertEqual(factory.built[0].events, ["made", "lost"])

    def test_the_loop_stops(self) -> None:
        """Nobody is left with a Deferred that never fires."""
        done = StreamClientEndpoint(self.loop, "127.0.0.1", self.silent_port()).connect(Told())
        self.loop.stop()
        self.failureResultOf(done, twisted_error.ConnectError)
        late = StreamClientEndpoint(self.loop, "127.0.0.1", 80).connect(Told())
        self.failureResultOf(late, twisted_error.ConnectError)
