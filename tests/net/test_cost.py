"""What a stream costs: bytes while it idles, Python frames per event, system calls. Bounds, not measurements."""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc
from typing import Any

from tests.support import Recorder, Recorders, SteppedLoopCase, compiled, interpreted_only
from voltgw.net.listener import Listener

#: Bytes of an idle stream with a small protocol, in user space.
IDLE_BYTES = 8 * 1024


class CostTests(SteppedLoopCase):
    def test_an_idle_stream(self) -> None:
        """Five thousand idle connections fit into 40 MiB: at most 8 KiB each, with the protocol (measured on 500)."""
        count = 500
        factory = Recorders()
        listener = self.listen(factory)
        socks = [self.socket(listener) for _ in range(count)]
        gc.collect()
        tracemalloc.start()
        try:
            self.spin(lambda: len(factory.built) == count)
            for sock in socks:
                sock.sendall(b"hello")                  # a stream that has been used may have grown
            self.spin(lambda: all(p.data for p in factory.built))
            gc.collect()
            each = tracemalloc.get_traced_memory()[0] / count
        finally:
            tracemalloc.stop()
        self.assertLess(each, IDLE_BYTES)
        self.assertGreater(each, 500)                   # else it measured nothing
        for sock in socks:
            sock.close()
        self.spin(lambda: self.loop.open == 0)

    def test_frames_per_event(self) -> None:
        """An echo round trip is three calls of Python: the stream's handler, `dataReceived`, `write`."""
        if compiled():
            self.skipTest("calls within compiled modules cannot be counted")
        protocol, sock = self.pair(Recorder())

        class Echo:
            """The least that answers."""

            def __init__(self) -> None:
                self.write = protocol.transport.write

            def dataReceived(self, data: bytes) -> None:
                """Answer."""
                protocol.transport.write(data)

            def connectionLost(self, reason: Any) -> None:
                """Over."""

        protocol.transport.protocol = Echo()
        calls: list[str] = []

        def watch(frame: Any, event: str, arg: object) -> None:
            if event == "call":
                calls.append(frame.f_code.co_qualname)

        def frames() -> list[str]:
            sock.sendall(b"x")
            self.wait(1)
            calls.clear()
            sys.setprofile(watch)
            try:
                self.loop.doRead()
            finally:
                sys.setprofile(None)
            self.assertEqual(sock.recv(1), b"x")
            return [call for call in calls if "Loop." not in call or call == "Loop.doRead"]

        frames()
        seen = min((frames() for _ in range(3)), key=len)      # a tick of the clock may fall into one of them
        self.assertEqual(
            [call for call in seen if "lambda" not in call],
            ["Loop.doRead", "Stream._ready", "CostTests.test_frames_per_event.<locals>.Echo.dataReceived", "Outgoing.write"])
        protocol.transport.loseConnection()
        self.turn()

    @interpreted_only
    def test_no_epoll_calls_while_data_flows(self) -> None:
        """A request and its answer change nothing in the epoll set (Twisted's transports: 4.3 changes a request)."""
        protocol, sock = self.pair(Recorder(lambda protocol, data: protocol.transport.write(data)))
        changes: list[Any] = []
        for name in ("watch", "change", "forget"):
            self.patch(self.loop, name, lambda *args: changes.append(args))
        for _ in range(10):
            sock.sendall(b"x" * 1000)
            heard = 0
            while heard < 1000:
                self.wait(1)
                self.turn()
                sock.setblocking(False)
                try:
                    heard += len(sock.recv(1000))
                except BlockingIOError:
                    pass
                sock.setblocking(True)
        self.assertEqual(changes, [])
        for name in ("watch", "change", "forget"):
            delattr(self.loop, name)
        protocol.transport.loseConnection()
        self.turn()

    def test_accepting_wraps_a_socket_once(self) -> None:
        """The raw accept is used: a socket that was examined again would cost three system calls more."""
        made: list[Any] = []
        real = socket.SocketType

        class Counting(real):                           # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **kw: Any) -> None:
                made.append((args, kw))
                super().__init__(*args, **kw)

        factory = Recorders()
        listener: Listener = self.listen(factory)
        self.socket(listener)
        self.patch(socket, "SocketType", Counting)
        self.spin(lambda: factory.built)
        self.assertEqual(len(made), 1)
        self.assertNotEqual(made[0][0][0], -1)          # family and kind are given, not asked of the kernel
        factory.built[0].transport.loseConnection()
