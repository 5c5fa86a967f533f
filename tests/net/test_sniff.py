"""The first words of a client: how they are awaited, who is chosen by them, and what becomes of those who say nothing useful."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from functools import partial
from typing import Any

from tests.net.certificates import authority
from tests.net.streams import reset
from tests.net.tls import NAME, TlsCase
from tests.support import Recorder, Recorders
from voltgw.errors import TlsFailed
from voltgw.net.connector import dial
from voltgw.net.listener import ACCEPTS_PER_TURN, MAX_HANDSHAKES_IN_LINE, Listener
from voltgw.net.sniff import Pass, Refuse, Terminate
from voltgw.net.tls.context import server_context
from voltgw.net.tls.handshakes import STEPS_PER_TURN


def hello_of(name: str | None = NAME) -> tuple[bytes, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A hello as Python's ssl says it, and what goes on with the handshake."""
    context = ssl.create_default_context(cadata=authority().pem.decode())
    context.check_hostname = name is not None
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(heard, said, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read(), client, heard, said


def _accepted(listener: Listener, count: int) -> bool:
    return listener.counters.accepted == count


class HelloTests(TlsCase):
    def _finish(self, sock: socket.socket, client: ssl.SSLObject, heard: ssl.MemoryBIO, said: ssl.MemoryBIO) -> None:
        sock.setblocking(False)

        def step() -> None:
            try:
                client.do_handshake()
            finally:
                sock.sendall(said.read())
                try:
                    heard.write(sock.recv(65536))
                except BlockingIOError:
                    pass

        self.until_done(step)

    def test_byte_by_byte(self) -> None:
        """A hello that comes a byte at a time is understood, the bytes are still there, and nothing spins meanwhile."""
        listener, factory = self.serve()
        hello, client, heard, said = hello_of()
        sock = self.socket(listener)
        self.spin(lambda: listener.under_way)
        turns = self.loop.turns
        for byte in hello:
            sock.send(bytes((byte,)))
            self.assert_quiet()
        self.assertLess(self.loop.turns - turns, 20)            # SO_RCVLOWAT: not one look per byte
        self._finish(sock, client, heard, said)
        self.spin(lambda: factory.built)
        self.assertEqual((factory.built[0].transport.handshake.sni, listener.under_way), (NAME, {}))

    def test_in_two_records(self) -> None:
        """A hello that spans records reaches the context of its name (RFC 8446 5.1)."""
        listener, factory = self.serve()
        hello, client, heard, said = hello_of()
        body = hello[5:]
        sock = self.socket(listener)
        for piece in (body[:1], body[1:70], body[70:]):
            sock.send(hello[:3] + len(piece).to_bytes(2, "big") + piece)
            self.assert_quiet()
        self._finish(sock, client, heard, said)
        self.spin(lambda: factory.built)

    def test_plain_http_is_told_so(self) -> None:
        """A browser that forgot the s in https gets an answer that it can show."""
        listener, factory = self.serve()
        sock = self.socket(listener)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        self.spin(lambda: self.turned)
        answer = self.read_all(sock)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b"content-length: %d\r\n" % len(body), head + b"\r\n")
        self.assertEqual((listener.counters.tls_refused, self.turned[0].detail), (1, "tls_hello_refused"))

    def test_nobody_of_that_name(self) -> None:
        """An unknown name, or none, is refused by the alert unrecognized_name; the reason is kept."""
        listener, _ = self.serve()
        listener.sniffer.table.pop("")
        for name in ("else.example", None):
            stranger = self.stranger(listener, name, self._lax())
            with self.assertRaises(ssl.SSLError) as caught:
                self.until_done(stranger.do_handshake)
            self.assertIn("UNRECOGNIZED_NAME", str(caught.exception))
        self.assertEqual([each.sni for each in self.turned], ["else.example", ""])
        self.assertEqual((listener.counters.open, listener.counters.tls_refused), (0, 2))

    def _lax(self) -> ssl.SSLContext:
        context = self.stranger_context()
        context.check_hostname = False
        return context

    def test_who_says_nothing_or_too_little(self) -> None:
        """A client without a hello in time is let go, as is one that leaves in the middle; nothing of either stays."""
        listener, _ = self.serve()
        hello = hello_of()[0]
        silent, slow, gone, cut = (self.socket(listener) for _ in range(4))
        slow.send(hello[:100])
        gone.send(hello[:100])
        gone.shutdown(socket.SHUT_WR)
        cut.send(hello[:7])
        reset(cut)
        self.spin(lambda: len(self.turned) == 2)
        self.advance(5.5)
        self.spin(lambda: len(self.turned) == 4)
        self.assertEqual((listener.counters.tls_timeouts, listener.counters.tls_refused, listener.counters.open), (2, 2, 0))
        self.assertEqual(silent.recv(10), b"")

    def test_a_handshake_that_stops(self) -> None:
        """After its hello a client has ten seconds in all."""
        listener, factory = self.serve()
        sock = self.socket(listener)
        sock.send(hello_of()[0])
        self.spin(lambda: self.loop.handshakes.steps == 1)
        self.advance(9)
        self.assertEqual(self.turned, [])
        self.advance(1.5)
        self.spin(lambda: self.turned)
        self.assertEqual((self.turned[0].detail, self.turned[0].sni, factory.built), ("tls_timeout", NAME, []))

    def test_rubbish(self) -> None:
        """Whatever comes, it is turned away at once, counted once, and is no failure of ours."""
        listener, _ = self.serve()
        samples = (os.urandom(1) + b"\xff" * 600, b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x16\x02", b"\x15\x03\x01\0\2\1\0",
                   b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x00\x04\x02\0\0\0", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff")
        for sample in samples:
            sock = self.socket(listener)
            sock.sendall(sample)
            self.spin(lambda: self.turned)
            self.assertEqual(self.turned.pop().detail, "tls_hello_refused")
        self.assertEqual((listener.counters.tls_refused, listener.counters.open, self.loop.failures), (len(samples), 0, 0))

    def test_passed_through(self) -> None:
        """A host that does not end TLS here gets the very bytes, and its stream knows the hello."""
        factory = Recorders()
        listener = self.serve_hosts({NAME: Pass(factory)})
        hello = hello_of()[0]
        sock = self.socket(listener)
        for at in range(0, len(hello), 50):
            sock.send(hello[at:at + 50])
            self.assert_quiet()
        self.spin(lambda: factory.built and len(factory.built[0].data) == len(hello))
        self.assertEqual(factory.built[0].data, hello)
        sock.send(b"x")
        self.spin(lambda: factory.built[0].data.endswith(b"x"))      # SO_RCVLOWAT is as it was
        self.assertEqual(listener.counters.tls_refused, 0)

    def test_plain_bytes_where_somebody_wants_them(self) -> None:
        """A sniffer that takes what is no TLS gets it, HTTP or not."""
        factory = Recorders()

        class Any_:
            def choose(self, hello: Any, peer: Any) -> Pass | Refuse:
                """Plain only."""
                return Pass(factory) if hello is None else Refuse(112, "no")

        listener = self.listen(Recorders(), sniffer=Any_())
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n"):
            sock = self.socket(listener)
            sock.sendall(words)
            self.spin(lambda: factory.built and factory.built[0].data)
            self.assertEqual(factory.built.pop().data, words)


class FloodTests(TlsCase):
    def test_handshakes_have_a_share_of_each_turn(self) -> None:
        """Forty hellos at once: no turn advances more than its share, and an open connection is answered meanwhile."""
        listener, factory = self.serve()
        echo = Recorders(lambda: Recorder(lambda recorder, data: recorder.transport.write(data)))
        plain = self.listen(echo)
        open_one = self.socket(plain)
        open_one.settimeout(None)
        self.spin(lambda: echo.built)
        hello = hello_of()[0]
        socks = [self.socket(listener) for _ in range(40)]
        for sock in socks:
            sock.send(hello)
        steps = self.loop.handshakes.steps
        most = answered = 0
        open_one.setblocking(False)
        open_one.send(b"?")
        for _ in range(2000):
            if self.loop.handshakes.steps >= 40:
                break
            self.wait(0.05)
            self.turn()
            now = self.loop.handshakes.steps
            most = max(most, now - steps)
            steps = now
            try:
                open_one.recv(1)
            except BlockingIOError:
                continue
            answered += 1
            open_one.send(b"?")
        self.assertEqual(self.loop.handshakes.steps, 40)
        self.assertLessEqual(most, STEPS_PER_TURN)
        self.assertGreaterEqual(answered, 40 // STEPS_PER_TURN - 1)
        for sock in socks:
            reset(sock)
        self.spin(lambda: not listener.under_way)

    def test_a_long_line_stops_accepting(self) -> None:
        """More than can be done: clients wait in the backlog, the line stays bounded, and all get their turn in the end."""
        listener, factory = self.serve()
        hello = hello_of()[0]
        socks = [self.socket(listener) for _ in range(300)]
        for sock in socks:
            sock.send(hello)
        longest = 0
        while self.loop.handshakes.steps < 300:
            self.assertTrue(self.wait(5.0))
            self.turn()
            longest = max(longest, len(self.loop.handshakes))
        self.assertGreater(longest, MAX_HANDSHAKES_IN_LINE)
        self.assertLess(longest, MAX_HANDSHAKES_IN_LINE + 4 * ACCEPTS_PER_TURN)
        for sock in socks:
            reset(sock)
        self.spin(lambda: not listener.under_way)

    def test_too_many_at_a_time(self) -> None:
        """At the bound, the one that has kept us waiting longest goes; an honest client among the silent gets in."""
        listener, factory = self.serve()
        listener.max_handshakes = 5
        silent = []
        for n in range(8):
            silent.append(self.socket(listener))
            self.spin(partial(_accepted, listener, n + 1))
        self.assertEqual((len(listener.under_way), listener.counters.tls_crowded), (5, 3))
        with self.assertRaises(OSError) as caught:
            silent[0].recv(1)
        self.assertEqual(caught.exception.errno, errno.ECONNRESET)
        self.assertNotIsInstance(self.connect(listener), TlsFailed)
        self.spin(lambda: factory.built)
        self.assertEqual(self.turned[-1].detail, "tls_crowded")

    def test_a_dial_is_cancelled_in_its_handshake(self) -> None:
        """Nothing is said to anybody, nothing stays."""
        factory = Recorders()
        listener = self.listen(factory)
        outcome: list[Any] = []
        dialled = dial(self.loop, "127.0.0.1", self.port_of(listener), Recorder(), 5.0, outcome.append,
                       tls=(self.client_tls(), NAME))
        self.spin(lambda: factory.built and factory.built[0].data)
        dialled.cancel()
        self.spin(lambda: factory.built[0].reason)
        self.assertEqual(outcome, [])

    def test_a_dial_whose_endpoint_says_nothing(self) -> None:
        """The handshake is bounded in time."""
        factory = Recorders()
        listener = self.listen(factory)
        outcome: list[Any] = []
        dial(self.loop, "127.0.0.1", self.port_of(listener), Recorder(), 5.0, outcome.append, tls=(self.client_tls(), NAME))
        self.spin(lambda: factory.built and factory.built[0].data)
        self.advance(10.5)
        self.spin(lambda: outcome)
        self.assertIn("too long", str(outcome[0]))
        self.spin(lambda: factory.built[0].reason)

    def test_a_factory_that_wants_nobody(self) -> None:
        """`buildProtocol` may say None: the connection ends, the count is right."""
        class Nobody(Recorders):
            def buildProtocol(self, addr: Any) -> Any:
                """No."""
                return None

        listener = self.serve_hosts({NAME: Terminate(server_context(self.server_tls()), Nobody())})
        client = self.connect(listener)
        if not isinstance(client, TlsFailed):
            self.spin(lambda: client.reason)
        self.spin(lambda: listener.counters.open == 0)
