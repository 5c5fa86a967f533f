"""Connections that probes leave to the next one (`voltgw.control.probes.keeping`); in HTTP/2 `h2` is the endpoint."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.control.fakes import FakeDial
from tests.control.test_probes import ProbeTestCase
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.grpc import GrpcOptions, GrpcProbe
from voltgw.control.probes.http import HttpProbe
from voltgw.control.probes.target import Check, Probe, Target

_HTTP = HttpProbe(HttpOptions(b"/", version_2=True))


class KeptTests(ProbeTestCase):
    def setUp(self) -> None:
        """A target whose check keeps its connection."""
        super().setUp()
        self.target = self.of(_HTTP)

    def of(self, probe: Probe, keep: bool = True) -> Target:
        """A target."""
        return Target(Check("default/check", probe, 5.0, 2.0, 1, 1, keep=keep), "", "192.0.2.1", 8080, self, None)

    def probe(self) -> None:
        """Begin one."""
        self.target.new_run().begin(self.target, self.loop, self.net.dial, self.finished)

    def endpoint(self, dial: FakeDial) -> H2Connection:
        """The other end of a connection."""
        made = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        made.initiate_connection()
        dial.accept()
        self.asked(dial, made)
        return made

    def asked(self, dial: FakeDial, endpoint: H2Connection) -> list[int]:
        """The streams of requests since the last look."""
        data = dial.transport.value()
        dial.transport.clear()
        self.streams = [each.stream_id or 0 for each in endpoint.receive_data(data) if isinstance(each, RequestReceived)]
        return self.streams

    def say(self, dial: FakeDial, endpoint: H2Connection) -> None:
        """Send what the endpoint has to send, to whoever listens."""
        dial.transport.protocol.dataReceived(endpoint.data_to_send())

    def answer(self, dial: FakeDial, endpoint: H2Connection, status: bytes = b"200") -> tuple[bool, str]:
        """The verdict on an answer."""
        (stream,) = self.streams
        endpoint.send_headers(stream, [(b":status", status)], end_stream=True)
        self.say(dial, endpoint)
        return self.verdict()

    def lose(self, dial: FakeDial) -> None:
        """The endpoint closes."""
        dial.transport.protocol.connectionLost(Failure(ConnectionDone()))

    def test_one_for_many(self) -> None:
        """Each probe is another stream of it; pings and settings between them are answered."""
        self.probe()
        dial = self.net.one()
        endpoint = self.endpoint(dial)
        self.assertEqual(self.answer(dial, endpoint), (True, "status 200"))
        for stream in (3, 5, 7):
            endpoint.ping(b"12345678")
            endpoint.update_settings({4: 70000 + stream})
            self.say(dial, endpoint)
            self.assertEqual(self.asked(dial, endpoint), [])
            self.probe()
            self.assertEqual((self.asked(dial, endpoint), self.net.dials), ([stream], []))
            self.assertEqual(self.answer(dial, endpoint), (True, "status 200"))
        self.assertFalse(dial.transport.disconnecting)
        self.target.let_go()
        self.assertTrue(dial.transport.disconnecting)
        self.assertTrue(any(isinstance(each, ConnectionTerminated) for each in endpoint.receive_data(dial.transport.value())))

    def test_only_where_it_is_asked_for_and_went_well(self) -> None:
        """Without it, and behind a failure, the connection is closed."""
        self.target = self.of(_HTTP, keep=False)
        self.probe()
        dial = self.net.one()
        self.answer(dial, self.endpoint(dial))
        self.assertTrue(dial.transport.disconnecting)
        self.target = self.of(_HTTP)
        self.probe()
        dial = self.net.one()
        self.assertEqual(self.answer(dial, self.endpoint(dial), b"500"), (False, "status 500"))
        self.assertTrue(dial.transport.disconnecting)
        self.assertIsNone(self.target.connection)

    def test_the_endpoint_closes_between_two(self) -> None:
        """Or says that it will: the next probe dials."""
        for announced in (True, False):
            self.probe()
            dial = self.net.one()
            endpoint = self.endpoint(dial)
            self.answer(dial, endpoint)
            if announced:
                endpoint.close_connection()
                self.say(dial, endpoint)
                self.assertTrue(dial.transport.disconnecting)
            self.lose(dial)
            self.assertIsNone(self.target.connection)

    def test_it_was_dead_already(self) -> None:
        """A kept connection that closes instead of an answer, or refuses the stream, says nothing: another one is asked."""
        for refused in (True, False):
            self.probe()
            dial = self.net.one()
            endpoint = self.endpoint(dial)
            self.answer(dial, endpoint)
            self.probe()
            self.asked(dial, endpoint)
            self.loop.advance(0.5)
            if refused:
                endpoint.reset_stream(self.streams[0], 7)
                self.say(dial, endpoint)
                self.loop.turn()
                self.assertTrue(dial.transport.disconnecting)
            self.lose(dial)
            again = self.net.one()
            self.assertAlmostEqual(again.timeout_s, 1.5)
            self.assertEqual(self.answer(again, self.endpoint(again)), (True, "status 200"))
            self.target.let_go()
            self.lose(again)

    def test_a_new_connection_that_refuses_is_a_failure(self) -> None:
        """And so is one that closes, or a kept one that does not answer in time."""
        self.probe()
        dial = self.net.one()
        endpoint = self.endpoint(dial)
        endpoint.reset_stream(self.streams[0], 7)
        self.say(dial, endpoint)
        self.assertEqual(self.verdict(), (False, "the endpoint has reset the stream: REFUSED_STREAM"))
        self.probe()
        dial = self.net.one()
        self.answer(dial, self.endpoint(dial))
        self.probe()
        self.loop.advance(2.1)
        self.assertEqual(self.verdict(), (False, "no result within 2 s"))
        self.assertIsNone(self.target.connection)

    def test_grpc(self) -> None:
        """The same for calls."""
        self.target = self.of(GrpcProbe(GrpcOptions()))
        self.probe()
        dial = self.net.one()
        endpoint = self.endpoint(dial)
        for stream in (1, 3):
            endpoint.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/grpc")])
            endpoint.send_data(stream, b"\0\0\0\0\x02\x08\x01")
            endpoint.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
            self.say(dial, endpoint)
            self.assertEqual(self.verdict(), (True, "SERVING"))
            self.probe()
            self.assertEqual(self.asked(dial, endpoint), [stream + 2])
        self.target.let_go()


class Kept1Tests(ProbeTestCase):
    """The same in HTTP/1.1."""

    def setUp(self) -> None:
        """A target whose check keeps its connection."""
        super().setUp()
        self.of(HttpOptions(b"/x", statuses=(range(200, 300),)))

    def of(self, options: HttpOptions) -> None:
        """Another one."""
        self.target = Target(
            Check("default/check", HttpProbe(options), 5.0, 2.0, 1, 1, keep=True), "a.example", "192.0.2.1", 8080, self, None)

    def asked(self, answer: bytes) -> FakeDial:
        """A probe on a new connection, and what it is answered."""
        self.target.new_run().begin(self.target, self.loop, self.net.dial, self.finished)
        dial = self.net.one()
        dial.accept()
        self.assertTrue(dial.transport.value().startswith(b"GET /x HTTP/1.1\r\nhost: a.example\r\n"))
        self.assertNotIn(b"connection", dial.transport.value().lower())
        self.assertTrue(dial.transport.value().endswith(b"\r\n\r\n"))
        dial.transport.clear()
        dial.protocol.dataReceived(answer)
        return dial

    def again(self, dial: FakeDial, answer: bytes) -> None:
        """The next one, on the same connection."""
        self.target.new_run().begin(self.target, self.loop, self.net.dial, self.finished)
        self.assertEqual(self.net.dials, [])
        self.assertTrue(dial.transport.value().endswith(b"\r\n\r\n"))
        dial.transport.clear()
        dial.transport.protocol.dataReceived(answer)

    def test_one_for_many(self) -> None:
        """Each answer is read to its end, however that is told, before the next question."""
        answers = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n")
        dial = self.asked(answers[0])
        self.assertEqual(self.verdict(), (True, "status 200"))
        for answer in answers[1:] * 3:
            self.again(dial, answer[:-1])
            self.assertEqual(self.verdicts, [])
            dial.transport.protocol.dataReceived(answer[-1:])
            self.assertEqual(self.verdict(), (True, "status 200"))
        self.assertFalse(dial.transport.disconnecting)
        self.target.let_go()
        self.assertTrue(dial.transport.disconnecting)

    def test_answers_behind_which_nothing_can_follow(self) -> None:
        """The probe passes, and the connection is closed."""
        large = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(70000)
        for answer in (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
                       b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", large):
            dial = self.asked(answer)
            self.assertEqual(self.verdict(), (True, "status 200"), answer[:60])
            self.assertTrue(dial.transport.disconnecting)
            self.assertIsNone(self.target.connection)
        dial = self.asked(b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n")
        self.assertEqual((self.verdict(), dial.transport.disconnecting), ((False, "status 500"), True))

    def test_expected_bytes(self) -> None:
        """Found in the middle, the rest is read all the same."""
        self.of(HttpOptions(b"/x", expected=b"b"))
        dial = self.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
        self.assertEqual(self.verdicts, [])
        dial.protocol.dataReceived(b"c")
        self.assertEqual((self.verdict(), dial.transport.disconnecting), ((True, "status 200 and the expected bytes"), False))
        self.target.let_go()

    def test_what_nobody_asked_for(self) -> None:
        """A kept connection on which something comes is closed."""
        dial = self.asked(b"HTTP/1.1 204 No\r\n\r\n")
        self.verdict()
        dial.transport.protocol.dataReceived(b"HTTP/1.1 408 Too late\r\n\r\n")
        self.assertTrue(dial.transport.disconnecting)
        self.assertIsNone(self.target.connection)

    def test_it_was_dead_already(self) -> None:
        """It is closed instead of answered: a new one is asked."""
        dial = self.asked(b"HTTP/1.1 204 No\r\n\r\n")
        self.verdict()
        self.target.new_run().begin(self.target, self.loop, self.net.dial, self.finished)
        dial.transport.protocol.connectionLost(Failure(ConnectionDone()))
        again = self.net.one()
        again.accept()
        again.protocol.dataReceived(b"HTTP/1.1 204 No\r\n\r\n")
        self.assertEqual(self.verdict(), (True, "status 204"))
        self.target.let_go()
