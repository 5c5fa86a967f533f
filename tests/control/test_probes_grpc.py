"""Tests for `voltgw.control.probes.grpc`; the endpoint is the `h2` library."""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.control.fakes import FakeDial
from tests.control.test_probes import ProbeTestCase
from tests.fuzz.settings import examples
from voltgw.config.objects.healthcheck_extension import GrpcHealthCheck
from voltgw.control.probes import grpc
from voltgw.control.probes.grpc import MAX_MESSAGE_BYTES, GrpcOptions, GrpcProbe, health_in, request_of, varint
from voltgw.errors import NOWHERE
from voltgw.interfaces import IFactory

_Fields = list[tuple[bytes, bytes]]
_OK: Final[_Fields] = [(b":status", b"200"), (b"content-type", b"application/grpc+proto")]
_DONE: Final[_Fields] = [(b"grpc-status", b"0")]
_SERVING: Final = b"\0\0\0\0\x02\x08\x01"


class MessageTests(SynchronousTestCase):
    def test_the_request(self) -> None:
        """Nothing for the server as a whole, else field 1 with the name, by protobuf's rules."""
        self.assertEqual(request_of(""), bytes(5))
        self.assertEqual(request_of("a.B"), b"\0\0\0\0\x05\x0a\x03a.B")
        name = "\u00e4" * 128
        self.assertEqual(request_of(name), b"\0\0\0\x01\x03\x0a\x80\x02" + name.encode())
        self.assertEqual([varint(number) for number in (0, 127, 128, 300)], [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"])

    def test_the_health(self) -> None:
        """Field 1, wherever it stands and however often (the last one counts); absent is 0; other fields are passed over."""
        for message, health in ((b"", 0), (b"\x08\x01", 1), (b"\x08\x02", 2), (b"\x08\x01\x08\x03", 3), (b"\x12\x03abc\x08\x01", 1),
                                (b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x10\x96\x01\x08\x01", 1)):
            self.assertEqual(health_in(b"\0" + len(message).to_bytes(4, "big") + message), health, message)

    def test_what_is_no_answer(self) -> None:
        """Each has its words; none is taken for a health."""
        for framed, why in ((b"\0\0\0", "cut off"), (b"\1\0\0\0\x02\x08\x01", "compressed"), (b"\0\0\0\0\x03\x08\x01", "another length"),
                            (b"\0\0\0\0\x02\x12\x05", "field is cut off"), (b"\0\0\0\0\x01\x08", "number is cut off"),
                            (b"\0\0\0\0\x0c\x08" + b"\xff" * 11, "too long"), (b"\0\0\0\0\x01\x0b", "unknown form")):
            with self.assertRaises(ValueError, msg=framed) as caught:
                health_in(framed)
            self.assertIn(why, str(caught.exception))

    @examples(200)
    @given(st.binary(max_size=64))
    def test_any_octets(self, message: bytes) -> None:
        """Whatever a server sends, it is a number or a ValueError."""
        try:
            self.assertGreaterEqual(health_in(b"\0" + len(message).to_bytes(4, "big") + message), 0)
        except ValueError:
            pass


class GrpcProbeTests(ProbeTestCase):
    def asked(self, options: GrpcOptions, hostname: str = "") -> tuple[FakeDial, _Fields, bytes]:
        """A probe that has asked: the fields and the body of its request."""
        self.endpoint = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.endpoint.initiate_connection()
        dial = self.begin(GrpcProbe(options), hostname)
        transport = dial.accept()
        events = self.endpoint.receive_data(transport.value())
        transport.clear()
        (request,) = [each for each in events if isinstance(each, RequestReceived)]
        self.assertTrue(any(isinstance(each, StreamEnded) for each in events))
        body = b"".join(each.data for each in events if isinstance(each, DataReceived))
        return dial, [(bytes(name), bytes(value)) for name, value in request.headers or ()], body

    def say(self, dial: FakeDial) -> None:
        """Send what the endpoint has to send."""
        dial.protocol.dataReceived(self.endpoint.data_to_send())

    def answered(self, head: _Fields, body: bytes = b"", trailers: _Fields | None = None) -> tuple[bool, str]:
        """The verdict on an answer."""
        dial, _, _ = self.asked(GrpcOptions())
        self.endpoint.send_headers(1, head, end_stream=not body and trailers is None)
        if body:
            self.endpoint.send_data(1, body, end_stream=trailers is None)
        if trailers is not None:
            self.endpoint.send_headers(1, trailers, end_stream=True)
        self.say(dial)
        self.assertTrue(dial.transport.disconnecting)
        dial.close(ConnectionDone())
        return self.verdict()

    def test_what_it_asks(self) -> None:
        """The call, with the service's name, as gRPC over HTTP/2 has it; the deadline is the check's timeout."""
        dial, fields, body = self.asked(GrpcOptions("shop.Orders"), "shop.example")
        self.assertEqual(fields[:4], [
            (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"shop.example"),
            (b":path", b"/grpc.health.v1.Health/Check")])
        rest = dict(fields[4:])
        self.assertEqual((rest[b"te"], rest[b"content-type"], rest[b"grpc-timeout"]), (b"trailers", b"application/grpc", b"2000m"))
        self.assertEqual(body, request_of("shop.Orders"))
        _, fields, body = self.asked(GrpcOptions(authority=b"named.example"))
        self.assertEqual((fields[2], body), ((b":authority", b"named.example"), bytes(5)))

    def test_what_is_answered(self) -> None:
        """SERVING alone is good. Every other answer has its words."""
        self.assertEqual(self.answered(_OK, _SERVING, _DONE), (True, "SERVING"))
        for message, word in ((b"", "UNKNOWN"), (b"\x08\x03", "SERVICE_UNKNOWN"), (b"\x08\x09", "health 9")):
            framed = b"\0\0\0\0" + bytes((len(message),)) + message
            self.assertEqual(self.answered(_OK, framed, _DONE), (False, word))
            self.assertFalse(self.at_once)
        self.assertEqual(self.answered(_OK, b"\0\0\0\0\x02\x08\x02", _DONE), (False, "NOT_SERVING"))
        self.assertTrue(self.at_once, "it says itself that it wants no traffic")

    def test_errors(self) -> None:
        """With a body or without one (trailers only), known or not; the server's own words, made one line."""
        for status, text, words in (
            (b"5", b"x", "NOT_FOUND: the server does not know the service"),
            (b"12", b"", "UNIMPLEMENTED: the server has no health service"),
            (b"14", b"not%20now%0Aplease", "UNAVAILABLE: not now please"), (b"16", b"", "UNAUTHENTICATED"),
            (b"99", b"", "status 99"), (b"x", b"", "the answer has no status (grpc-status)"),
            (b"9999", b"", "the answer has no status (grpc-status)"), (b"13", b"%C3", "INTERNAL: \ufffd"),
        ):
            trailers = [(b"grpc-status", status), (b"grpc-message", text)]
            self.assertEqual(self.answered([*_OK, *trailers]), (False, words))
            self.assertEqual(self.answered(_OK, _SERVING, trailers), (False, words))

    def test_what_is_not_grpc(self) -> None:
        """A web server, a proxy's error, an answer without end or status, too much of it, a message that is none."""
        self.assertEqual(self.answered([(b":status", b"404")]), (False, "status 404, not an answer of gRPC"))
        self.assertEqual(self.answered([(b":status", b"503")]), (False, "status 503, not an answer of gRPC"))
        self.assertTrue(self.at_once)
        self.assertEqual(self.answered([(b":status", b"200"), (b"content-type", b"text/html")], b"<html>"),
                         (False, "the answer is not gRPC's"))
        self.assertEqual(self.answered(_OK, _SERVING), (False, "the answer has no status (grpc-status)"))
        self.assertEqual(self.answered(_OK, b"\0\0\0\0\x09\x08\x01", _DONE),
                         (False, "the answer is not valid: it has another length than it says"))
        self.assertEqual(self.answered(_OK, bytes(MAX_MESSAGE_BYTES + 1), _DONE), (False, "the answer has more than 4096 bytes"))

    def test_a_server_that_does_not_answer(self) -> None:
        """A reset, a closed connection and silence are failures; the last one when the time is up."""
        dial, _, _ = self.asked(GrpcOptions())
        self.endpoint.reset_stream(1, 7)
        self.say(dial)
        self.assertEqual(self.verdict(), (False, "the endpoint has reset the stream: REFUSED_STREAM"))
        dial, _, _ = self.asked(GrpcOptions())
        dial.close(ConnectionDone())
        self.assertEqual(self.verdict(), (False, "the connection was closed before the answer was complete"))
        self.asked(GrpcOptions())
        self.loop.advance(2.1)
        self.assertEqual(self.verdict(), (False, "no result within 2 s"))

    def test_the_factory(self) -> None:
        """It reads the configuration's message."""
        verifyObject(IFactory, grpc.FACTORY)
        factory: Any = grpc.FACTORY
        options = factory.options(GrpcHealthCheck(service="a.B", authority="c.example:1"), NOWHERE)
        self.assertEqual(options, GrpcOptions("a.B", b"c.example:1"))
        self.assertEqual(factory.options(GrpcHealthCheck(), NOWHERE), GrpcOptions())
        probe = factory.build(options)
        self.assertEqual((probe.version_2, probe.host_header), (True, "c.example:1"))
