"""Tracing on the way of a request: what each try tells its endpoint, what is noted of it, and what it costs."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.otlp import CLIENT, INTERNAL, SERVER, said
from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, Wire
from tests.proxy.rig2 import ASK, Proxy2Case
from tests.proxy.test_call_count import ANSWER, REQUEST, CountCase
from voltgw.cluster.cluster import Limits
from voltgw.observe.spans import spans_of
from voltgw.routing.tracing import Terms, Tracing
from voltgw.values.exchange import Exchange
from voltgw.values.retry import RetryPlan
from voltgw.values.trace import B3, B3_MULTI, W3C

TRACE: Final = b"0af7651916cd43dd8448eb211c80319c"
SPAN: Final = b"b7ad6b7169203331"
PARENT: Final = b"00-%b-%b-01" % (TRACE, SPAN)
GET: Final = b"GET / HTTP/1.1\r\nHost: shop\r\nTraceparent: %b\r\n\r\n" % PARENT
_SENT: Final = re.compile(rb"(?i)traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\r\n")


def gate(**terms: Any) -> Tracing:
    """A gate whose ids are the same in every run."""
    values: dict[str, Any] = {"read": (W3C, B3, B3_MULTI), "write": (W3C,), "sample": 1.0, **terms}
    return Tracing(Terms(**values), Random(0).getrandbits, None)


def spans(exchange: Exchange) -> list[Span]:
    """The spans of an exchange as OpenTelemetry reads them."""
    found = []
    for each in spans_of(exchange, 1_800_000_000.0):
        one = Span()
        one.ParseFromString(each)
        found.append(one)
    return found


def tries(exchange: Exchange) -> list[Span]:
    """Those of its tries."""
    return [each for each in spans(exchange) if each.kind == CLIENT]


class TriesTests(RetryCase):
    """Three endpoints of HTTP/1.1."""

    def setUp(self) -> None:
        """With tracing."""
        super().setUp()
        self.route.request_filters = (gate(write=(W3C, B3_MULTI)).judge,)
        self.told: list[bytes] = []

    def arrived(self) -> Wire:
        """As in the base; the span by which the endpoint is called is kept."""
        origin = super().arrived()
        (trace, span), = _SENT.findall(self.came)
        self.assertEqual(trace, TRACE)
        self.assertEqual(re.findall(rb"x-b3-spanid: ([0-9a-f]{16})\r\n", self.came), [span])
        self.told.append(span)
        return origin

    def test_further_tries(self) -> None:
        """Each endpoint is called by a span of its own, and these are what the collector gets, with times and reasons."""
        client, origin = self.ask(GET)
        self.advance(0.25)
        origin.send(UNAVAILABLE)
        origin = self.next_try()
        origin.reset()
        origin = self.next_try()
        origin.send(EMPTY)
        self.turn()
        record = self.records[0]
        found = tries(record)
        self.assertEqual([each.span_id.hex().encode() for each in found], self.told)
        self.assertEqual(len(set(self.told)), 3)
        self.assertEqual([said(each).get("voltgw.retry.reason") for each in found],
                         [None, "503", "upstream_reset_before_response"])
        self.assertEqual([said(each).get("error.type") for each in found], ["503", "upstream_reset_before_response", None])
        self.assertEqual({said(each)["server.address"] for each in found}, {f"203.0.113.{n}" for n in (1, 2, 3)})
        for earlier, later in pairwise(found):
            self.assertLessEqual(earlier.end_time_unix_nano, later.start_time_unix_nano)
        self.assertEqual(found[0].end_time_unix_nano - found[0].start_time_unix_nano, 250_000_000)
        server = spans(record)[0]
        self.assertEqual((server.kind, server.parent_span_id.hex().encode(), server.status.code), (SERVER, SPAN, 0))
        self.assertEqual({each.parent_span_id for each in found}, {server.span_id})

    def test_an_endpoint_that_does_not_accept(self) -> None:
        """The try that came to nothing is a span with the reason, although its endpoint never heard of it."""
        client = self.client()
        client.send(GET)
        self.dialled.fail()
        self.turn()
        if not self.rig.dials:
            self.advance(self.pause)
        origin = self.arrived()
        origin.send(EMPTY)
        self.turn()
        first, second = tries(self.records[0])
        self.assertEqual(self.told, [second.span_id.hex().encode()])
        self.assertEqual((first.status.code, second.status.code), (2, 0))
        self.assertEqual(said(second)["voltgw.retry.reason"], said(first)["error.type"])

    def test_a_late_try_that_wins(self) -> None:
        """It was hedged: both are spans, the one that lost was given up when the other one answered."""
        self.plan("5xx", per_try_timeout_s=0.1, hedge=True, retries=2)
        client, origin = self.ask(GET)
        self.advance(0.1)
        self.arrived()
        self.advance(0.05)
        origin.send(EMPTY)
        self.turn()
        late, lost = tries(self.records[0])
        self.assertEqual([each.span_id.hex().encode() for each in (late, lost)], self.told)
        self.assertEqual((said(late)["http.response.status_code"], said(late).get("error.type")), (200, None))
        self.assertEqual((said(lost)["error.type"], said(lost)["voltgw.retry.reason"]), ("cancelled", "per_try_timeout"))
        self.assertEqual(late.end_time_unix_nano, lost.end_time_unix_nano)
        self.assertLess(late.start_time_unix_nano, lost.start_time_unix_nano)

    def test_one_that_gives_up(self) -> None:
        """The client leaves: the request has an error, its try was cancelled."""
        client, origin = self.ask(GET)
        client.reset()
        self.turn()
        server, one, *_ = spans(self.records[0])
        self.assertEqual((server.status.code, said(server)["error.type"], one.status.code), (2, "DC", 2))

    def test_many_tries_are_bounded(self) -> None:
        """Beyond `MAX_TRIES` they are counted, and not written down."""
        self.plan("5xx", retries=40, base_s=0.001, max_s=0.001)
        client, origin = self.ask(GET)
        for _ in range(40):
            origin.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            origin = self.next_try() if not self.rig.dials and self.hand.clock.getDelayedCalls() else self.arrived()
        origin.send(EMPTY)
        self.turn()
        record = self.records[0]
        self.assertEqual((record.attempts, len(tries(record))), (41, 32))
        self.assertEqual(said(spans(record)[0])["voltgw.attempts"], 41)


class ConnectionTests(RetryCase):
    endpoint_count = 1

    def test_connections_are_spans_below_their_try(self) -> None:
        """One that was made for a request, and none for the request that finds it there."""
        self.route.request_filters = (gate().judge,)
        client, origin = self.ask(GET)
        origin.send(EMPTY)
        self.turn()
        client.send(GET)
        self.turn()
        origin.send(EMPTY)
        self.turn()
        first, second = self.records
        connect, = (each for each in spans(first) if each.kind == INTERNAL)
        self.assertEqual((connect.name, connect.parent_span_id), ("connect", tries(first)[0].span_id))
        self.assertEqual([each.kind for each in spans(second)], [SERVER, CLIENT])


class WaitingTests(RetryCase):
    limits = Limits(connections=1)

    def test_a_request_that_waits_for_a_connection(self) -> None:
        """The endpoint that it gets in the end is the one in the span."""
        self.route.request_filters = (gate().judge,)
        first, origin = self.ask(GET)
        second = self.client()
        second.send(GET)
        self.turn()
        origin.send(EMPTY)
        self.turn()
        if self.rig.dials:
            origin = self.accept()
        origin.send(EMPTY)
        self.turn()
        one, = tries(self.records[1])
        self.assertEqual(said(one)["server.address"], origin.protocol.endpoint.address)


class Version2Tests(Proxy2Case):
    """Both sides speak HTTP/2."""

    origin_2 = True
    endpoint_count = 2

    def test_tries_over_version_2(self) -> None:
        """A stream that is refused, then one that is answered: each has its own span in traceparent, in one trace."""
        self.route.request_filters = (gate(write=(W3C, B3)).judge,)
        self.route.retry = RetryPlan(frozenset(("5xx",)), 1, base_s=0.0, max_s=0.0)
        client = self.client2()
        stream = client.ask([*ASK, (b"traceparent", PARENT), (b"tracestate", b"a=1")])
        told = []
        for status in (503, 200):
            self.turn()
            origin = self.accept2()
            self.settle(origin, client)
            asked, = origin.requests
            head = dict(origin.seen[asked].head)
            _, trace, span, _ = head[b"traceparent"].split(b"-")
            self.assertEqual((trace, head[b"tracestate"], head[b"b3"]), (TRACE, b"a=1", b"%b-%b-1" % (TRACE, span)))
            told.append(span)
            origin.answer(asked, status)
            self.settle(origin, client)
        self.assertEqual(client.seen[stream].status, 200)
        found = tries(self.records[0])
        self.assertEqual([each.span_id.hex().encode() for each in found], told)
        self.assertEqual(said(spans(self.records[0])[0])["network.protocol.version"], "2")
        self.assertEqual(said(found[1])["network.protocol.version"], "2")

    def test_trailers_say_nothing_of_traces(self) -> None:
        """What a client puts behind its body does not change whose trace it is."""
        tracing = gate()
        self.route.request_filters = (tracing.judge,)
        self.route.owned = tracing.owned
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"te", b"trailers")], ended=False)
        origin = self.accept2()
        client.send(stream, b"abc")
        self.settle(origin, client)
        client.trailers(stream, [(b"traceparent", PARENT), (b"x-sum", b"1")])
        self.settle(origin, client)
        asked, = origin.requests
        self.assertEqual(origin.seen[asked].trailers, [(b"x-sum", b"1")])
        origin.answer(asked)
        self.settle(origin, client)


class GrpcTests(Proxy2Case):
    origin_2 = True

    def test_codes(self) -> None:
        """The code stands in both spans; NOT_FOUND is an error of the try alone, UNAVAILABLE one of both."""
        self.route.request_filters = (gate().judge,)
        client = self.client2()
        call = [(b":method", b"POST"), *ASK[1:], (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        streams = [client.ask(call)]
        origin = self.accept2()
        for code, server_failed in ((0, False), (5, False), (14, True)):
            self.settle(client, origin)
            origin.answer(origin.requests[-1], 200, [(b"content-type", b"application/grpc")], ended=False)
            origin.trailers(origin.requests[-1], [(b"grpc-status", b"%d" % code)])
            self.settle(client, origin)
            self.assertTrue(client.seen[streams[-1]].ended)
            server, one = (each for each in spans(self.records[-1]) if each.kind in (SERVER, CLIENT))
            self.assertEqual([said(each)["rpc.grpc.status_code"] for each in (server, one)], [code, code])
            self.assertEqual((server.status.code == 2, one.status.code == 2), (server_failed, code != 0))
            if code < 14:
                streams.append(client.ask(call))


class CostTests(CountCase):
    def test_calls_of_a_warm_request(self) -> None:
        """Without tracing none; with it the gate's own, and one object: nothing else on the way to the endpoint and back."""
        plain: list[str] = []
        own = ["voltgw.routing.tracing.Tracing.judge", "voltgw.values.trace.Trace.__init__"]
        for filters in ((), (gate(sample=0.0).judge,), (gate().judge,)):
            self.route.request_filters = filters
            for _ in range(3):
                self.client.sendall(REQUEST)
                if not hasattr(self, "origin"):
                    self.accept()
                self.heard(self.origin)
                self.origin.sendall(ANSWER)
                self.heard(self.client)
            calls = self.calls_of_a_request()
            plain = plain or calls
            self.assertEqual(sorted(calls), sorted([*plain, *(own if filters else [])]))
