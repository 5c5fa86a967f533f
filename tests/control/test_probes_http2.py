"""Tests for `voltgw.control.probes.http2`; the endpoint is the `h2` library."""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport

from tests.control.fakes import FakeDial
from tests.control.test_probes import ProbeTestCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import round_robin
from voltgw.config.objects.healthcheck import HttpHealthCheck
from voltgw.config.values import FrozenMap
from voltgw.control.probes import http
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http import HttpProbe
from voltgw.control.probes.response import MAX_BODY_BYTES
from voltgw.control.probes.tcp import TcpProbe
from voltgw.values.tls import ClientTls, Handshake

_Fields = list[tuple[bytes, bytes]]
_OK: Final[_Fields] = [(b":status", b"200")]


class Http2ProbeTests(ProbeTestCase):
    def setUp(self) -> None:
        """An endpoint."""
        super().setUp()
        self.endpoint = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.endpoint.initiate_connection()

    def asked(self, options: HttpOptions, hostname: str = "") -> tuple[FakeDial, _Fields]:
        """A probe that has asked, and what."""
        dial = self.begin(HttpProbe(options), hostname)
        transport = dial.accept()
        (request,) = [each for each in self.endpoint.receive_data(transport.value()) if isinstance(each, RequestReceived)]
        transport.clear()
        self.assertIsNotNone(request.stream_ended)
        return dial, [(bytes(name), bytes(value)) for name, value in request.headers or ()]

    def say(self, dial: FakeDial) -> None:
        """Send what the endpoint has to send."""
        dial.protocol.dataReceived(self.endpoint.data_to_send())

    def answered(self, options: HttpOptions, head: _Fields, body: bytes = b"", trailers: _Fields | None = None) -> tuple[bool, str]:
        """The verdict on an answer, after which the connection is closed in good order."""
        self.endpoint = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.endpoint.initiate_connection()
        dial, _ = self.asked(options)
        self.endpoint.send_headers(1, head, end_stream=not body and not trailers)
        for start in range(0, len(body), 16000):
            self.endpoint.send_data(1, body[start:start + 16000], end_stream=start + 16000 >= len(body) and not trailers)
            if trailers is None:
                self.say(dial)
        if trailers:
            self.endpoint.send_headers(1, trailers, end_stream=True)
        self.say(dial)
        self.assertTrue(dial.transport.disconnecting)
        (end,) = [each for each in self.endpoint.receive_data(dial.transport.value()) if isinstance(each, ConnectionTerminated)]
        self.assertEqual(end.error_code, 0)
        dial.close(ConnectionDone())
        return self.verdict()

    def test_what_it_asks(self) -> None:
        """The same request as in HTTP/1.1, in the form of HTTP/2: names in lower case, nothing of one connection."""
        options = HttpOptions(b"/health?x=1", headers=((b"X-Who", b"probe"), (b"Keep-Alive", b"5"), (b"Connection", b"close")),
                              removed=frozenset((b"accept",)), version_2=True)
        _, fields = self.asked(options, "shop.example")
        self.assertEqual(fields[:4], [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.example"),
                                      (b":path", b"/health?x=1")])
        self.assertEqual([name for name, _ in fields[4:]], [b"user-agent", b"x-who"])

    def test_a_host_of_its_own(self) -> None:
        """Whether by `host_header` or among the headers, it is ``:authority``."""
        for options in (HttpOptions(b"/", host=b"named.example", version_2=True),
                        HttpOptions(b"/", headers=((b"Host", b"named.example"),), version_2=True)):
            self.endpoint = H2Connection(H2Configuration(client_side=False, header_encoding=None))
            _, fields = self.asked(options)
            self.assertIn((b":authority", b"named.example"), fields)
            self.assertNotIn(b"host", dict(fields))

    def test_statuses(self) -> None:
        """The status decides; a 503 at once."""
        options = HttpOptions(b"/", statuses=(range(200, 204),), version_2=True)
        for status, expected in ((b"200", True), (b"203", True), (b"204", False), (b"404", False), (b"503", False)):
            verdict = self.answered(options, [(b":status", status)])
            self.assertEqual(verdict, (expected, f"status {int(status)}"))
            self.assertEqual(self.at_once, status == b"503")

    def test_expected_bytes(self) -> None:
        """They may be anywhere in the first part of the body, whatever frames it comes in."""
        options = HttpOptions(b"/", expected=b"all well", version_2=True)
        self.assertEqual(self.answered(options, _OK, b"all well"), (True, "status 200 and the expected bytes"))
        self.assertEqual(self.answered(options, _OK, b"x" * 15996 + b"all well" + b"x"), (True, "status 200 and the expected bytes"))
        self.assertEqual(self.answered(options, _OK, b"all sick"), (False, "status 200, but not the expected bytes in the body"))
        self.assertEqual(self.answered(options, _OK), (False, "status 200, but not the expected bytes in the body"))
        self.assertEqual(self.answered(options, _OK, b"all sick", [(b"x-end", b"1")]),
                         (False, "status 200, but not the expected bytes in the body"))

    def test_a_long_body(self) -> None:
        """No more than its beginning is kept or looked at."""
        options = HttpOptions(b"/", expected=b"all well", version_2=True)
        dial, _ = self.asked(options)
        self.endpoint.send_headers(1, _OK)
        sent = 0
        while not self.verdicts and sent < 2 * MAX_BODY_BYTES:
            size = min(self.endpoint.local_flow_control_window(1), 16000)
            self.endpoint.send_data(1, b"x" * size)
            sent += size
            self.say(dial)
            self.endpoint.receive_data(dial.transport.value())
            dial.transport.clear()
        self.assertEqual(self.verdict(), (False, f"status 200, but not the expected bytes in the body's first {MAX_BODY_BYTES}"))

    def test_interim_answers(self) -> None:
        """A 103 is not the answer."""
        dial, _ = self.asked(HttpOptions(b"/", version_2=True))
        self.endpoint.send_headers(1, [(b":status", b"103")])
        self.say(dial)
        self.assertEqual(self.verdicts, [])
        self.endpoint.send_headers(1, _OK, end_stream=True)
        self.say(dial)
        self.assertEqual(self.verdict(), (True, "status 200"))

    def test_an_endpoint_of_version_1(self) -> None:
        """Who answers in HTTP/1.1 does not speak HTTP/2."""
        dial, _ = self.asked(HttpOptions(b"/", version_2=True))
        dial.protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        ok, reason = self.verdict()
        self.assertFalse(ok)
        self.assertIn("not valid HTTP/2", reason)

    def test_a_stream_that_is_reset(self) -> None:
        """The reason has the error's name."""
        dial, _ = self.asked(HttpOptions(b"/", version_2=True))
        self.endpoint.reset_stream(1, 7)
        self.say(dial)
        self.assertEqual(self.verdict(), (False, "the endpoint has reset the stream: REFUSED_STREAM"))

    def test_a_malformed_answer(self) -> None:
        """An answer that is none is a failure with its reason."""
        dial, _ = self.asked(HttpOptions(b"/", version_2=True))
        self.say(dial)
        dial.protocol.dataReceived(bytes.fromhex("000003010500000001") + b"\x08\x0120"[:3])
        ok, reason = self.verdict()
        self.assertFalse(ok)
        self.assertIn(":status", reason)

    def test_it_closes_without_an_answer(self) -> None:
        """A connection that ends is a failure."""
        dial, _ = self.asked(HttpOptions(b"/", version_2=True))
        dial.close(ConnectionDone())
        self.assertEqual(self.verdict(), (False, "the connection was closed before the answer was complete"))

    def test_what_tls_has_agreed_on(self) -> None:
        """Over TLS the endpoint must have chosen HTTP/2; the scheme is then https."""
        for alpn in (b"h2", b"http/1.1", b""):
            self.endpoint = H2Connection(H2Configuration(client_side=False, header_encoding=None))
            dial = self.begin(HttpProbe(HttpOptions(b"/", version_2=True)))
            transport: Any = dial.transport
            transport.handshake = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", alpn)
            dial.accept()
            if alpn == b"h2":
                (request,) = [each for each in self.endpoint.receive_data(transport.value())
                              if isinstance(each, RequestReceived)]
                self.assertIn((b":scheme", b"https"), request.headers)
                self.assertEqual(self.verdicts, [])
            else:
                self.assertEqual(self.verdict(), (False, "the endpoint did not choose HTTP/2 when TLS began (ALPN)"))
                self.assertNotIn(b"GET", transport.value())

    def test_from_the_configuration(self) -> None:
        """`use_http2` makes it one, and TLS then offers nothing but HTTP/2 to its connections, as it offers others theirs."""
        raw = HttpHealthCheck(path="/x", use_http2=True, headers=FrozenMap({}))
        probe = http.FACTORY.build(http.FACTORY.options(raw, None))
        self.assertTrue(probe.version_2)
        self.assertIsInstance(self.begin(probe).accept(), StringTransport)

        class Context:
            def __init__(self, *alpn: bytes) -> None:
                self.config = ClientTls(alpn=alpn)

        cluster = Cluster("default/shop", round_robin.FACTORY, lambda _: None, None)     # type: ignore[arg-type,return-value]
        either, one, two = Context(b"h2", b"http/1.1"), Context(), Context(b"h2")
        cluster.secure(either, one, two)
        self.assertIs(cluster.tls_of(probe), two)
        self.assertIs(cluster.tls_of(TcpProbe(b"", b"")), one)
        self.assertIs(cluster.tls_of(HttpProbe(HttpOptions(b"/"))), one)
