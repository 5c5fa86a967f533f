"""What a new connection costs from accept to close, plain and with TLS: calls of Python, and calls into the kernel.

Bounds, not measurements: whoever adds a call to the way of every connection meets them here and has to say what it is for.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import voltgw
from tests.net.tls import NAME, TlsCase
from tests.support import Recorder, Recorders, compiled
from voltgw.net.sniff import Terminate
from voltgw.net.tls.context import server_context

_OURS = str(Path(voltgw.__file__).parent)
#: Calls of C that end in the kernel, once each.
_KERNEL = frozenset((
    "socket._accept", "socket.recv", "socket.send", "socket.close", "socket.setblocking", "socket.setsockopt",
    "socket.getsockopt", "socket.getsockname", "socket.getpeername", "socket.shutdown", "epoll.register", "epoll.modify",
    "epoll.unregister", "ioctl",
))


class Echo(Recorder):
    """Answers with what it was sent."""

    def dataReceived(self, data: bytes) -> None:
        """Back with it."""
        super().dataReceived(data)
        self.transport.write(data)


class NewConnectionTests(TlsCase):
    def counted(self, life: Callable[[], None]) -> tuple[Counter[str], Counter[str]]:
        """Python calls of voltgw and kernel calls in the turns of the loop that `life` takes."""
        if compiled():
            self.skipTest("calls within compiled modules cannot be counted")
        python: Counter[str] = Counter()
        kernel: Counter[str] = Counter()

        def watch(frame: Any, event: str, argument: Any) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(_OURS):
                python[frame.f_code.co_qualname] += 1
            elif event == "c_call" and argument.__qualname__ in _KERNEL:
                kernel[argument.__qualname__] += 1

        turn = self.loop.doRead

        def counted() -> None:
            sys.setprofile(watch)
            try:
                turn()
            finally:
                sys.setprofile(None)

        self.loop.doRead = counted          # type: ignore[method-assign]
        try:
            life()
        finally:
            self.loop.doRead = turn         # type: ignore[method-assign]
        for name in [name for name in python if name.startswith(("Loop.", "TimerFd", "MonotonicClock", "Deadlines.sweep"))]:
            if name not in ("Loop.watch", "Loop.take_over", "Loop.forget", "Loop.change"):
                del python[name]            # how often the loop turned, and its clock ticked, is the test's own doing
        return python, kernel

    def least(self, life: Callable[[], None]) -> tuple[Counter[str], Counter[str]]:
        """Of several lives the one with the fewest calls: what is remembered is remembered, and no sweep fell into it."""
        return min((self.counted(life) for _ in range(4)), key=lambda counts: counts[0].total() + counts[1].total())

    def test_plain(self) -> None:
        """A plain connection with one round trip: it enters the epoll set once, leaves it by closing, and nothing is asked."""
        factory = Recorders(Echo)
        listener = self.listen(factory)

        def life() -> None:
            built = len(factory.built)
            sock = self.socket(listener)
            self.spin(lambda: len(factory.built) > built)
            sock.sendall(b"x")
            self.spin(lambda: factory.built[-1].data)
            self.assertEqual(sock.recv(1), b"x")
            sock.close()
            self.spin(lambda: self.loop.open == 0)

        python, kernel = self.least(life)
        self.assertEqual(kernel, {
            "socket._accept": 1, "socket.setblocking": 1, "epoll.register": 1, "socket.recv": 2, "socket.send": 1,
            "socket.close": 1})
        self.assertLessEqual(python.total(), 28, python)
        self.assertGreater(python.total(), 15)              # else it counted nothing

    def test_tls(self) -> None:
        """A full handshake and one round trip: one entry in the epoll set from accept to close, one look at the hello."""
        factory = Recorders(Echo)
        terminate = Terminate(server_context(self.server_tls()), factory)
        listener = self.serve_hosts({NAME: terminate})

        def life() -> None:
            built = len(factory.built)
            client = self.stranger(listener)
            self.until_done(client.do_handshake)
            self.until_done(lambda: client.send(b"x"))
            self.assertEqual(self.until_done(lambda: client.recv(1)), b"x")
            self.assertGreater(len(factory.built), built)
            # what it has not read (its ticket) would make of its close an RST
            try:
                client.recv(1)
            except ssl.SSLWantReadError:
                pass
            client.close()
            self.spin(lambda: self.loop.open == 0)

        python, kernel = self.least(life)
        self.assertEqual(kernel, {
            "socket._accept": 1, "socket.setblocking": 1, "epoll.register": 1, "socket.recv": 1,
            "socket.close": 1})             # the rest is OpenSSL's own
        self.assertLessEqual(python.total(), 89, python)
        self.assertGreater(python.total(), 45)

    def test_a_hello_in_pieces_costs_what_it_must(self) -> None:
        """Only a client whose hello comes in pieces costs calls for the low-water mark of its socket."""
        factory = Recorders(Echo)
        listener = self.serve_hosts({NAME: Terminate(server_context(self.server_tls()), factory)})

        def life() -> None:
            ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = self.stranger_context().wrap_bio(ours, theirs, server_hostname=NAME)
            with self.assertRaises(ssl.SSLWantReadError):
                client.do_handshake()
            hello = theirs.read()
            sock = self.socket(listener)
            sock.sendall(hello[:100])
            self.spin(lambda: listener.under_way)
            self.assert_quiet()
            sock.sendall(hello[100:])
            sock.setblocking(False)
            self.until_done(lambda: sock.recv(5, socket.MSG_PEEK))
            sock.close()
            self.spin(lambda: not listener.under_way)

        _, kernel = self.least(life)
        self.assertEqual((kernel["socket.setsockopt"], kernel["epoll.register"]), (2, 1))
