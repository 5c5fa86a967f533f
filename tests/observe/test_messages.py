"""Messages to daemons that keep logs: what they read, and what becomes of messages when they are slow, away, or come back."""

from __future__ import annotations

import array
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, a_connection, an_exchange
from voltgw.observe.journald import Native, send_large
from voltgw.observe.log import ProcessLog
from voltgw.observe.messages import AGAIN_S, ERROR, INFO, WAITING_BYTES, WARNING, DatagramSink, Message, StreamSink
from voltgw.observe.sink import Sink
from voltgw.observe.syslog import MAX_MESSAGE, Local, Rfc5424

#: RFC 5424 6: the grammar of a message without structured data.
GRAMMAR = re.compile(rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) "
                     rb"([!-~]{1,32}) - (.*)", re.DOTALL).fullmatch


def said(text: str = "hello", severity: int = INFO, **fields: str) -> Message:
    """A message."""
    return Message(text, severity, WALL, fields)


def fields_in(data: bytes) -> dict[str, bytes]:
    """What journald reads in a datagram."""
    found: dict[str, bytes] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8:8 + size], data[9 + size:]
        found[name.decode()] = value
    return found


class FramingTests(SynchronousTestCase):
    def test_rfc_5424(self) -> None:
        """Every part is where the grammar has it; the local0 facility and a warning make 132."""
        found = GRAMMAR(Rfc5424("local0", "edge 1", "voltgw", "access")(said("a b", WARNING)))
        assert found is not None
        self.assertEqual(found.groups()[:4], (b"132", b"2022-03-28T23:09:53.748000Z", b"edge1", b"voltgw"))
        self.assertEqual(found.groups()[4:], (b"%d" % os.getpid(), b"access", b"a b"))

    def test_what_is_no_ascii(self) -> None:
        """It begins with a BOM, as 6.4 has it, and is one line."""
        found = GRAMMAR(Rfc5424("local0", "", "", "")(said("\u00e9\nFAKE")))
        assert found is not None
        self.assertEqual((found[3], found[7]), (b"-", b"\xef\xbb\xbf\xc3\xa9\\nFAKE"))

    def test_counted(self) -> None:
        """RFC 6587 3.4.1: so many octets follow."""
        data = Rfc5424("local0", "h", "t", "m", counted=True)(said("\u00e9"))
        length, _, rest = data.partition(b" ")
        self.assertEqual(int(length), len(rest))

    def test_as_syslog_writes_it(self) -> None:
        """For a daemon of this host."""
        self.assertRegex(Local("daemon", "voltgw")(said("a b", ERROR)).decode(),
                         rf"\A<27>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d voltgw\[{os.getpid()}\]: a b\Z")

    def test_long_ones_are_cut(self) -> None:
        """In the middle of no character."""
        data = Rfc5424("local0", "h", "t", "m")(said("\u00e9" * MAX_MESSAGE))
        self.assertLessEqual(len(data), MAX_MESSAGE)
        data.decode()

    def test_native(self) -> None:
        """A value of several lines has its length before it; names of ours have a prefix, and are names."""
        found = fields_in(Native("voltgw", "access")(said("a\nMESSAGE=b", ERROR, status="503", **{"virtual host": "x=y"})))
        self.assertEqual(found, {
            "MESSAGE": b"a\nMESSAGE=b", "PRIORITY": b"3", "SYSLOG_IDENTIFIER": b"voltgw", "VOLTGW_LOG": b"access",
            "VOLTGW_STATUS": b"503", "VOLTGW_VIRTUAL_HOST": b"x=y"})


class DatagramTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = str(Path(mkdtemp(prefix="vg")) / "log")    # short: the name of a socket
        self.sinks: list[Any] = []
        self.addCleanup(self.end)

    def end(self) -> None:
        for sink in self.sinks:
            sink.close()
        if os.path.exists(self.path):
            os.unlink(self.path)
        os.rmdir(os.path.dirname(self.path))

    def daemon(self) -> socket.socket:
        """Whoever reads."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(self.path)
        sock.setblocking(False)
        self.addCleanup(sock.close)
        return sock

    def sink(self, framing: Any = None, large: Any = None) -> DatagramSink:
        sink = DatagramSink(self.path, framing or Local("daemon", "voltgw"), lambda: WALL, large)
        self.sinks.append(sink)
        return sink

    def heard(self, daemon: socket.socket) -> list[bytes]:
        """All that it has got."""
        found = []
        while True:
            try:
                found.append(daemon.recv(1 << 20))
            except BlockingIOError:
                return found

    def test_lines_of_an_access_log(self) -> None:
        """With the severity that goes with the outcome, and what one may search for."""
        daemon = self.daemon()
        bad = an_exchange()
        bad.response_code, bad.flag = 503, "UF"
        self.sink(Native("voltgw", "access")).put(["one\n", "two\n", "three\n"], [an_exchange(), bad, a_connection()])
        one, two, three = map(fields_in, self.heard(daemon))
        self.assertEqual((one["MESSAGE"], one["PRIORITY"], one["VOLTGW_STATUS"], one["VOLTGW_VIRTUAL_HOST"], one["VOLTGW_ENDPOINT"]),
                         (b"one", b"6", b"200", b"default/shop", b"10.0.0.5:9001"))
        self.assertEqual((two["PRIORITY"], two["VOLTGW_FLAGS"]), (b"4", b"UF"))
        self.assertNotIn("VOLTGW_STATUS", three)

    def test_nobody_reads(self) -> None:
        """What waits is bounded; the rest is dropped and counted. No call waits; whoever reads again gets the oldest."""
        daemon = self.daemon()
        sink = self.sink()
        count = 0
        while sink.dropped_blocked == 0:
            sink.send([said("x" * 8000)])
            count += 1
            self.assertLess(count, 10_000)
        self.assertTrue(sink.blocked)
        self.assertIn("as fast as they come", sink.problem)
        got = 0
        while sink.blocked:
            got += len(self.heard(daemon))
            sink.flush()
        got += len(self.heard(daemon))
        self.assertEqual((got, sink.lines, sink.problem), (count - sink.dropped_blocked, count, ""))

    def test_a_daemon_that_comes_later_and_again(self) -> None:
        """What is said meanwhile waits for it."""
        sink = self.sink()
        sink.send([said("before")])
        self.assertEqual((sink.blocked, sink.problem), (True, "No such file or directory"))
        daemon = self.daemon()
        sink.flush()
        self.assertEqual([each.rpartition(b" ")[2] for each in self.heard(daemon)], [b"before"])
        daemon.close()
        sink.send([said("between")])
        self.assertEqual(sink.problem, "Connection refused")
        daemon = self.daemon()
        sink.send([said("after")])
        self.assertEqual([each.rpartition(b" ")[2] for each in self.heard(daemon)], [b"between", b"after"])
        self.assertEqual((sink.problem, sink.dropped_failed, sink.dropped_blocked), ("", 0, 0))

    def test_too_long_for_a_datagram(self) -> None:
        """journald gets it in a memfd that nobody can change any more."""
        daemon = self.daemon()
        sink = self.sink(Native("voltgw", "process"), send_large)
        for count in (0, 5, 1, 6):
            more: dict[str, Any] = {f"f{number}": "y" * 60_000 for number in range(count)}
            sink.send([said("x" * 60_000, **more)])
        large = 0
        while True:
            try:
                data, ancillary, _, _ = daemon.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            except BlockingIOError:
                if not sink.blocked:
                    break
                sink.flush()
                continue
            if ancillary:
                (fd,) = array.array("i", ancillary[0][2])
                large += 1
                with os.fdopen(fd, "rb") as file:
                    data = os.pread(fd, 1 << 20, 0)
                    self.assertRaises(OSError, os.ftruncate, file.fileno(), 0)
            self.assertEqual(fields_in(data)["MESSAGE"], b"x" * 60_000)
        self.assertEqual((large, sink.failures, sink.dropped_failed, sink.dropped_blocked), (2, 0, 0, 0))

    def test_udp(self) -> None:
        """A datagram for each; nobody there costs nothing but the messages."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
            daemon.bind(("127.0.0.1", 0))
            daemon.settimeout(5)
            sink = DatagramSink(daemon.getsockname(), Rfc5424("local0", "h", "voltgw", "access"), lambda: WALL)
            self.sinks.append(sink)
            sink.send([said("one"), said("two")])
            self.assertEqual([daemon.recv(9000).rpartition(b" ")[2] for _ in range(2)], [b"one", b"two"])
        for _ in range(50):
            sink.send([said("three")])
        self.assertLessEqual(sink.lines, 52)
        self.assertGreater(sink.failures, 0)

    def test_the_process_log(self) -> None:
        """It turns from a file to a daemon and back; the daemon has level, logger and fields, and the traceback."""
        daemon = self.daemon()
        path = self.mktemp()
        log = ProcessLog(path)
        logger = Logger(namespace="voltgw.test", observer=log)
        logger.info("first")
        log.turn_to(self.sink(Native("voltgw", "process")))
        logger.warn("{count} left", count=3, event="gateway.drain_cut")
        try:
            raise ValueError("why")
        except ValueError:
            logger.failure("broken")
        warned, failed = map(fields_in, self.heard(daemon))
        self.assertEqual((warned["MESSAGE"], warned["PRIORITY"], warned["VOLTGW_LOGGER"], warned["VOLTGW_COUNT"], warned["VOLTGW_EVENT"]),
                         (b"voltgw.test: 3 left", b"4", b"voltgw.test", b"3", b"gateway.drain_cut"))
        self.assertTrue(failed["MESSAGE"].startswith(b"voltgw.test: broken: ValueError: why\nTraceback"))
        self.assertEqual(failed["PRIORITY"], b"2")
        other = self.mktemp()
        log.turn_to(Sink(other), "json")
        logger.info("last")
        log.close()
        self.assertIn("voltgw.test: first", Path(path).read_text())
        self.assertIn('"message": "last"', Path(other).read_text())

    def test_standard_error_that_journald_reads(self) -> None:
        """Each line begins with its priority (sd-daemon(3)), and has no time of its own."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        kept = os.dup(2)
        try:
            os.dup2(writing, 2)
            found = os.fstat(2)
            self.patch(os, "environ", {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
            log = ProcessLog(2)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(writing)
        Logger(namespace="voltgw.test", observer=log).error("bad\n<0>worse")
        log.close()
        self.assertEqual(os.read(reading, 4096), b"<3>voltgw.test: bad\\n<0>worse\n")


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(5)
        self.addCleanup(self.server.close)
        self.sink = StreamSink(self.server.getsockname(), Rfc5424("local0", "h", "voltgw", "access", counted=True), lambda: WALL,
                               self.clock.seconds)
        self.addCleanup(self.sink.close)

    def pump(self, true: Callable[[], Any]) -> None:
        """Flush, as an access log does, until something is so."""
        for _ in range(20_000):
            if true():
                return
            self.sink.flush()
        self.fail("it did not come")

    def read(self, peer: socket.socket) -> bytes:
        """One message, by its count."""
        length = b""
        while not length.endswith(b" "):
            length += peer.recv(1)
        size, data = int(length), b""
        while len(data) < size:
            data += peer.recv(size - len(data))
        return data.rpartition(b" ")[2]

    def test_many_messages(self) -> None:
        """They come whole and in order."""
        self.sink.send(said(str(number)) for number in range(2000))
        peer, _ = self.server.accept()
        self.addCleanup(peer.close)
        peer.settimeout(5)
        self.pump(lambda: not self.sink.blocked)
        self.assertEqual([self.read(peer) for _ in range(2000)], [b"%d" % number for number in range(2000)])
        self.assertEqual((self.sink.lines, self.sink.problem), (2000, ""))

    def test_nobody_reads(self) -> None:
        """The kernel's buffers and ours fill; then messages are dropped, and what was taken comes whole."""
        self.sink.send([said("first")])
        peer, _ = self.server.accept()
        self.addCleanup(peer.close)
        peer.settimeout(5)
        count = 1
        while not self.sink.dropped_blocked:
            self.sink.send([said(f"{count}-" + "x" * 7000)])
            count += 1
            self.assertLess(count, 10_000)
        self.assertGreater(self.sink._queued_bytes, WAITING_BYTES - 8000)
        got = []
        for _ in range(count - self.sink.dropped_blocked):
            self.sink.flush()
            got.append(self.read(peer).partition(b"-")[0])
        self.assertEqual(got, [b"first", *(b"%d" % number for number in range(1, count - 1))])

    def test_a_connection_that_is_lost(self) -> None:
        """It is made again after a while; what was not sent by then is sent, and nothing comes in halves."""
        self.sink.send([said("one")])
        peer, _ = self.server.accept()
        peer.settimeout(5)
        self.pump(lambda: not self.sink.blocked)
        self.assertEqual(self.read(peer), b"one")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

        def noticed() -> bool:
            if not self.sink.failures:
                self.sink.send([said("lost")])
            return self.sink.failures > 0

        self.pump(noticed)
        waiting = len(self.sink._queue)
        self.assertTrue(self.sink.problem)
        self.clock.advance(AGAIN_S * 0.9)
        self.sink.flush()
        self.assertIsNone(self.sink._sock)
        self.clock.advance(AGAIN_S)
        self.sink.send([said("two")])
        peer, _ = self.server.accept()
        self.addCleanup(peer.close)
        peer.settimeout(5)
        self.pump(lambda: not self.sink.blocked)
        self.assertEqual([self.read(peer) for _ in range(waiting + 1)], [b"lost"] * waiting + [b"two"])

    def test_nobody_listens(self) -> None:
        """It is tried less and less often; messages wait, and are dropped in the end."""
        self.server.close()
        tries = 0
        for _ in range(100):
            before = self.sink.failures
            self.sink.send([said("x" * 8000)])
            self.sink.flush()
            tries += self.sink.failures - before
            self.clock.advance(1.0)
        self.assertLess(tries, 10)
        for _ in range(200):
            self.sink.send([said("x" * 8000)])
        self.assertGreater(self.sink.dropped_failed, 0)
        self.assertLessEqual(self.sink._queued_bytes, WAITING_BYTES)
