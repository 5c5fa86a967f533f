"""Tests for the kinds of probes: `voltgw.control.probes.http`, `.tcp` and `.run`."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.control.fakes import FakeDial, FakeLoop, FakeNet
from voltgw.config.objects.healthcheck import HttpHealthCheck, TcpHealthCheck
from voltgw.config.values import FrozenMap, Range
from voltgw.control.probes import http, tcp
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http import HttpProbe, request_of
from voltgw.control.probes.run import ProbeRun
from voltgw.control.probes.target import Check, Probe, Target
from voltgw.control.probes.tcp import MAX_ANSWER_BYTES, TcpProbe
from voltgw.interfaces import IFactory

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ProbeTestCase(SynchronousTestCase):
    """Runs single probes with a timeout of 2 s."""

    def setUp(self) -> None:
        """A network."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.verdicts: list[tuple[bool, str]] = []
        self.at_once = False
        self.errno = 0

    def tearDown(self) -> None:
        """No probe leaves a timer."""
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])

    def probed(self, target: Target, changed: bool) -> None:
        """The observer's part, of which single runs make no use."""
        raise AssertionError("only the prober tells the observer")

    def finished(self, run: ProbeRun, ok: bool, reason: str, at_once: bool, errno: int) -> None:
        """Note the verdict."""
        self.verdicts.append((ok, reason))
        self.at_once = at_once
        self.errno = errno

    def begin(self, probe: Probe, hostname: str = "") -> FakeDial:
        """Start a probe of 192.0.2.1:8080."""
        check = Check("default/check", probe, 5.0, 2.0, 1, 1)
        target = Target(check, hostname, "192.0.2.1", 8080, self, None)
        target.new_run().begin(target, self.loop, self.net.dial, self.finished)
        return self.net.one()

    def verdict(self) -> tuple[bool, str]:
        """The only verdict since the last call."""
        (verdict,) = self.verdicts
        self.verdicts = []
        return verdict


class RunTests(ProbeTestCase):
    def test_refused(self) -> None:
        """A connection that is refused is a failure with its reason."""
        self.begin(TcpProbe(b"", b"")).refuse()
        self.assertEqual(self.verdict(), (False, "192.0.2.1:8080: Connection refused"))
        self.assertEqual(self.errno, 111)

    def test_nobody_answers_the_connection(self) -> None:
        """Connecting may take the whole timeout, not more."""
        dial = self.begin(TcpProbe(b"", b""))
        self.assertEqual((dial.address, dial.port, dial.timeout_s), ("192.0.2.1", 8080, 2.0))
        self.loop.advance(2.0)
        self.assertEqual(self.verdict(), (False, "192.0.2.1:8080 did not answer within 2 s"))

    def test_the_timeout_is_for_the_whole_probe(self) -> None:
        """What connecting took is missing for the answer; the connection is then cut."""
        dial = self.begin(HttpProbe(HttpOptions(b"/")))
        self.loop.advance(1.5)
        transport = dial.accept()
        self.loop.advance(0.4)
        self.assertEqual(self.verdicts, [])
        self.loop.advance(0.2)
        self.assertEqual(self.verdict(), (False, "no result within 2 s"))
        self.assertTrue(transport.disconnected)

    def test_bytes_that_trickle_in_do_not_extend_it(self) -> None:
        """An answer that never ends is over at the timeout."""
        dial = self.begin(HttpProbe(HttpOptions(b"/")))
        dial.accept()
        for byte in b"HTTP/1.1 200 OK\r\nX":
            dial.protocol.dataReceived(bytes((byte,)))
            self.loop.advance(0.1)
        self.loop.advance(0.3)
        self.assertEqual(self.verdict(), (False, "no result within 2 s"))

    def test_what_comes_after_the_verdict(self) -> None:
        """After its verdict a probe closes and nothing that still comes makes another verdict."""
        dial = self.begin(HttpProbe(HttpOptions(b"/")))
        dial.answer(OK)
        self.assertTrue(dial.transport.disconnecting)
        dial.protocol.dataReceived(b"more")
        dial.close(ConnectionLost())
        self.loop.advance(5)
        self.assertEqual(self.verdict(), (True, "status 200"))

    def test_abandoned(self) -> None:
        """A probe that nobody waits for any more ends without a verdict, while it dials and afterwards."""
        dialing, connected = (self.begin(HttpProbe(HttpOptions(b"/"))) for _ in range(2))
        connected.accept()
        for dial in (dialing, connected):
            dial.protocol.abandon()
            dial.protocol.abandon()
        self.assertTrue(dialing.cancelled)
        self.assertTrue(connected.transport.disconnected)
        connected.close(ConnectionDone())
        self.loop.advance(5)
        self.assertEqual(self.verdicts, [])

    def test_nothing_is_left_for_the_collector(self) -> None:
        """A finished probe is freed at once, without the garbage collector: there are thousands of them."""
        gc.disable()
        self.addCleanup(gc.enable)
        dial = self.begin(HttpProbe(HttpOptions(b"/")))
        dial.answer(OK)
        vars(dial.transport)["held"] = dial.protocol       # as a stream holds its protocol
        dial.close(ConnectionDone())
        probe = weakref.ref(dial.transport)
        self.verdict()
        del dial
        self.loop.advance(5)
        self.assertIsNone(probe())

    def test_a_bug_of_ours(self) -> None:
        """A probe whose handler raised ends as a failure instead of holding its place for ever."""
        dial = self.begin(HttpProbe(HttpOptions(b"/")))
        dial.accept()
        dial.protocol.crashed()
        self.assertEqual(self.verdict(), (False, "the probe failed inside the gateway"))


class HttpProbeTests(ProbeTestCase):
    def ask(self, answer: bytes, **options: Any) -> tuple[bool, str]:
        """The verdict on an answer, after which the endpoint closes."""
        dial = self.begin(HttpProbe(HttpOptions(b"/healthz", **options)))
        dial.answer(answer)
        dial.close(ConnectionDone())
        return self.verdict()

    def test_what_is_sent(self) -> None:
        """One GET with the endpoint's authority as Host, on a connection that ends with it."""
        transport = self.begin(HttpProbe(HttpOptions(b"/healthz"))).accept()
        lines = transport.value().split(b"\r\n")
        self.assertEqual(lines[0], b"GET /healthz HTTP/1.1")
        self.assertEqual(lines[1], b"host: 192.0.2.1:8080")
        self.assertIn(b"connection: close", lines)
        self.assertEqual(lines[-2:], [b"", b""])

    def test_the_name_of_the_endpoint(self) -> None:
        """An endpoint with a DNS name is asked under that name."""
        transport = self.begin(HttpProbe(HttpOptions(b"/")), "app.internal").accept()
        self.assertIn(b"\r\nhost: app.internal\r\n", transport.value())

    def test_status_200_by_default(self) -> None:
        """200 passes; any other status fails, redirects among them."""
        self.assertEqual(self.ask(OK), (True, "status 200"))
        for status in (b"204 No Content", b"302 Found", b"404 Not Found", b"500 Oops"):
            answer = b"HTTP/1.1 " + status + b"\r\nLocation: http://192.0.2.9/\r\n\r\n"
            self.assertEqual(self.ask(answer), (False, f"status {status[:3].decode()}"))

    def test_expected_statuses(self) -> None:
        """Any status of the ranges passes, the ends included."""
        statuses = (Range(200, 200), Range(300, 302))
        for status, ok in ((200, True), (201, False), (300, True), (302, True), (303, False)):
            self.assertEqual(
                self.ask(b"HTTP/1.1 %d X\r\n\r\n" % status, statuses=statuses), (ok, f"status {status}"))

    def test_only_503_counts_at_once(self) -> None:
        """503 takes an endpoint out at once, unless it is expected; 500 and 502 do not."""
        for status, at_once in ((500, False), (502, False), (503, True)):
            self.ask(b"HTTP/1.1 %d X\r\n\r\n" % status)
            self.assertIs(self.at_once, at_once)
        self.assertEqual(self.ask(b"HTTP/1.1 503 X\r\n\r\n", statuses=(Range(503, 503),)), (True, "status 503"))

    def test_expected_bytes(self) -> None:
        """Bytes that are asked for must stand in the body, wherever."""
        self.assertEqual(self.ask(OK, expected=b"k"), (True, "status 200 and the expected bytes"))
        self.assertEqual(self.ask(OK, expected=b"OK"), (False, "status 200, but not the expected bytes in the body"))
        self.assertEqual(self.ask(b"HTTP/1.1 200 OK\r\n\r\nfine", expected=b"ok"),
                         (False, "status 200, but not the expected bytes in the body"))

    def test_a_body_that_is_too_large(self) -> None:
        """A huge body is not read to its end; the verdict says so."""
        ok, reason = self.ask(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000 + b"ok", expected=b"ok")
        self.assertEqual((ok, "first 65536" in reason), (False, True))

    def test_a_bad_status_needs_no_body(self) -> None:
        """Expected bytes cannot make up for the status, so the verdict does not wait for them."""
        self.begin(HttpProbe(HttpOptions(b"/", expected=b"ok"))).answer(b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual((self.verdict(), self.at_once), ((False, "status 503"), True))

    def test_answers_that_are_none(self) -> None:
        """Garbage, a TLS alert and an early end are failures with their reasons."""
        self.assertEqual(self.ask(b"\x15\x03\x01\x00\x02\x02\x0a"), (False, "the answer is not HTTP/1.x"))
        self.assertEqual(self.ask(b"HTTP/1.1 200 OK\r\n"), (False, "the connection was closed before the answer was complete"))
        self.assertEqual(self.ask(b""), (False, "the connection was closed before the answer was complete"))


class RequestTests(SynchronousTestCase):
    def test_headers(self) -> None:
        """Given fields are added or replace ours, removed ones are left out."""
        options = HttpOptions(
            b"/", headers=((b"X-Probe", b"1"), (b"User-Agent", b"me")), removed=frozenset((b"accept",)))
        self.assertEqual(
            request_of(options, b"a.example"),
            b"GET / HTTP/1.1\r\nhost: a.example\r\nX-Probe: 1\r\nUser-Agent: me\r\nconnection: close\r\n\r\n")

    def test_framing_cannot_be_changed(self) -> None:
        """Fields that would change the framing are not sent, Host may be replaced, and removing it is no option."""
        options = HttpOptions(b"/", headers=(
            (b"Content-Length", b"5"), (b"transfer-encoding", b"chunked"), (b"Connection", b"keep-alive"), (b"Host", b"b")),
            removed=frozenset((b"host", b"connection", b"user-agent", b"accept")))
        self.assertEqual(request_of(options, b"a"), b"GET / HTTP/1.1\r\nHost: b\r\nconnection: close\r\n\r\n")
        bare = HttpOptions(b"/", removed=frozenset((b"host", b"connection", b"user-agent", b"accept")))
        self.assertEqual(request_of(bare, b"a"), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")


class TcpProbeTests(ProbeTestCase):
    def test_being_accepted_is_enough(self) -> None:
        """Without bytes to send and to expect, the probe passes when it is connected, and sends nothing."""
        transport = self.begin(TcpProbe(b"", b"")).accept()
        self.assertEqual(self.verdict(), (True, "accepted"))
        self.assertEqual(transport.value(), b"")
        self.assertTrue(transport.disconnecting)

    def test_send_and_expect(self) -> None:
        """The payload is sent, and the expected bytes may come in pieces with others around them."""
        dial = self.begin(TcpProbe(b"PING\r\n", b"PONG"))
        self.assertEqual(dial.accept().value(), b"PING\r\n")
        for piece in (b"+", b"PO", b"N"):
            dial.protocol.dataReceived(piece)
        self.assertEqual(self.verdicts, [])
        dial.protocol.dataReceived(b"G\r\n")
        self.assertEqual(self.verdict(), (True, "answered as expected"))

    def test_another_answer(self) -> None:
        """Other bytes pass only until the endpoint closes, the bound is reached or the time is up."""
        dial = self.begin(TcpProbe(b"", b"PONG"))
        dial.answer(b"-ERR")
        dial.close(ConnectionDone())
        self.assertEqual(self.verdict(), (False, "the connection was closed after 4 bytes without the expected ones"))
        self.begin(TcpProbe(b"", b"PONG")).answer(b"x" * MAX_ANSWER_BYTES)
        ok, reason = self.verdict()
        self.assertEqual((ok, "first 65536" in reason), (False, True))
        dial = self.begin(TcpProbe(b"", b"PONG"))
        dial.accept()
        dial.close(ConnectionLost())
        self.assertEqual(self.verdict(), (False, "the connection was closed before an answer"))
        self.begin(TcpProbe(b"", b"PONG")).answer(b"-ERR")
        self.loop.advance(2)
        self.assertEqual(self.verdict(), (False, "no result within 2 s"))


class FactoriesTests(SynchronousTestCase):
    def test_they_are_factories(self) -> None:
        """The registry finds what it needs."""
        verifyObject(IFactory, http.FACTORY)
        verifyObject(IFactory, tcp.FACTORY)

    def test_http_options(self) -> None:
        """Everything of the configuration arrives; what is absent has its default."""
        self.assertEqual(http.FACTORY.options(HttpHealthCheck(path="/"), None), HttpOptions(b"/"))
        self.assertEqual(
            http.FACTORY.options(HttpHealthCheck(
                path="/h?x=1", host_header="a.example:8080", headers=FrozenMap({"X-A": "b"}),
                request_headers_to_remove=("Accept",), expected_status_codes=(Range(200, 204),),
                expected_response=b"\x00\xff",
            ), None),
            HttpOptions(b"/h?x=1", b"a.example:8080", ((b"X-A", b"b"),), frozenset((b"accept",)), (Range(200, 204),),
                        b"\x00\xff"))

    def test_nothing_can_be_smuggled_into_the_request(self) -> None:
        """Line ends and spaces where they would end a line or the target are refused."""
        refused: list[dict[str, Any]] = [
            {"path": "/ HTTP/1.1\r\nX: y"}, {"path": "/a b"}, {"path": "a"}, {"host_header": "a\r\nX: y"},
            {"headers": {"X": "a\nb"}}, {"headers": {"X y": "a"}}, {"headers": {"": "a"}},
        ]
        for values in refused:
            with self.assertRaises(ValueError, msg=str(values)):
                http.FACTORY.options(HttpHealthCheck(**{"path": "/", **values}), None)

    def test_tcp_options(self) -> None:
        """Payload and expected bytes; absent ones are empty."""
        given = TcpHealthCheck(send_payload=b"a", expected_response=b"b")
        self.assertEqual(tcp.FACTORY.options(given, None), (b"a", b"b"))
        absent = TcpHealthCheck(send_payload=None, expected_response=None)
        self.assertEqual(tcp.FACTORY.options(absent, None), (b"", b""))
