"""The exporter of spans on a clock of the test's own, with a collector that says whatever the test wants."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestTransmissionFailed

from voltgw.observe.exporter import Answer, Exporter
from voltgw.values.defaults import (
    MAX_TRACE_BATCH,
    MAX_TRACE_BYTES,
    TRACE_DELAY_S,
    TRACE_FLUSH_S,
    TRACE_GIVE_UP_S,
    TRACE_TIMEOUT_S,
)
from voltgw.wire.otlp import SERVER, partial_success, problem, resource, scope, span

OK = Answer(200, "", b"")


def a_span(name: str = "GET shop/0") -> bytes:
    return span(b"\1" * 16, b"\2" * 8, b"", name, SERVER, 10**18, 10**18 + 5, {"http.request.method": "GET"})


class ExporterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[bytes, Mapping[str, str]]] = []
        self.asked: list[Deferred[Answer]] = []
        self.says: Answer | None = OK               # None: nothing, until the test says it
        self.exporter = self.make()

    def make(self, **options: int) -> Exporter:
        return Exporter(self.post, resource({"service.name": "t"}), scope("voltgw", "1"), self.clock,
                        lambda: 1_800_000_000.0 + self.clock.seconds(), lambda: 1.0, compress=False, **options)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[Answer]:
        self.sent.append((body, headers))
        if self.says is not None:
            return succeed(self.says)
        asked: Deferred[Answer] = Deferred()
        self.asked.append(asked)
        return asked

    def names(self) -> list[list[str]]:
        """The names of the spans in each request."""
        found = []
        for body, headers in self.sent:
            request = ExportTraceServiceRequest()
            request.ParseFromString(gzip.decompress(body) if "content-encoding" in headers else body)
            found.append([each.name for each in request.resource_spans[0].scope_spans[0].spans])
        return found

    def test_a_span_waits_for_company_and_a_full_batch_for_nobody(self) -> None:
        """After the delay what is there is sent at once; `MAX_TRACE_BATCH` spans go in the next turn."""
        self.exporter.offer([a_span("a")])
        self.clock.advance(TRACE_DELAY_S - 0.1)
        self.assertEqual(self.sent, [])
        self.exporter.offer([a_span("b")])
        self.clock.advance(0.1)
        self.assertEqual(self.names(), [["a", "b"]])
        self.assertEqual((self.exporter.sent, self.exporter.queued, self.exporter.numbers()["queued_bytes"]), (2, 0, 0))
        self.exporter.offer([a_span()] * (MAX_TRACE_BATCH + 3))
        self.clock.advance(0)
        self.assertEqual([len(each) for each in self.names()[1:]], [MAX_TRACE_BATCH])
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual([len(each) for each in self.names()[1:]], [MAX_TRACE_BATCH, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_request_at_a_time(self) -> None:
        """While the collector thinks, spans gather; its answer lets the next batch go."""
        self.says = None
        self.exporter.offer([a_span("a")])
        self.clock.advance(TRACE_DELAY_S)
        self.exporter.offer([a_span("b")] * (2 * MAX_TRACE_BATCH))
        self.clock.advance(1)
        self.assertEqual(len(self.sent), 1)
        self.says = OK
        self.asked[0].callback(OK)
        self.clock.pump([0, 0])
        self.assertEqual([len(each) for each in self.names()], [1, MAX_TRACE_BATCH, MAX_TRACE_BATCH])

    def test_the_queue_has_bounds(self) -> None:
        """In spans and in bytes; what is over is dropped and counted, and those on their way count as well."""
        self.says = None
        exporter = self.make(most=600)
        exporter.offer([a_span()] * 700)
        self.clock.advance(0)
        self.assertEqual((exporter.queued, exporter.dropped["queue"]), (600, 100))
        exporter.offer([a_span()])
        self.assertEqual(exporter.dropped["queue"], 101)
        large = b"x" * (MAX_TRACE_BYTES // 4)
        other = self.make()
        other.offer([large] * 5)
        self.assertEqual((other.queued, other.dropped["queue"]), (4, 1))

    def test_what_may_be_tried_again_is(self) -> None:
        """429, 502, 503 and 504, each time after a longer pause; Retry-After is heeded, within bounds."""
        answers = [(Answer(503, "", b""), 1.0), (Answer(429, "7", b""), 7.0), (Answer(504, "99999", b""), 30.0),
                   (Answer(502, "nonsense", b""), 8.0), (Answer(503, "Fri, 15 Jan 2027 08:01:15 GMT", b""), 27.0)]
        self.says = answers[0][0]
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        for number, (answer, pause) in enumerate(answers, 1):
            self.says = answers[number][0] if number < len(answers) else OK
            self.clock.advance(pause - 0.125)
            self.assertEqual(len(self.sent), number, answer)
            self.clock.advance(0.125)
            self.assertEqual(len(self.sent), number + 1, answer)
        self.assertEqual((self.exporter.sent, self.exporter.requests), (1, {"ok": 1, "retried": 5, "failed": 0}))
        self.assertEqual(self.exporter.problem, "")

    def test_what_may_not_is_dropped(self) -> None:
        """400 and the like: the batch is refused, with the collector's words, and the next one goes."""
        self.says = Answer(400, "", b"\x08\x03\x12\x08bad span")
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual((self.exporter.dropped["rejected"], self.exporter.requests["failed"]), (1, 1))
        self.assertEqual(self.exporter.problem, "it answers with 400 bad span")
        self.says = OK
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual((self.exporter.sent, self.exporter.problem), (1, ""))

    def test_a_collector_that_is_gone(self) -> None:
        """Tries end after a while; what could not be sent by then is dropped and counted, and the next batch has its own time."""
        self.says = None
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        spent = 0.0
        while not self.exporter.dropped["unsent"]:
            self.asked[-1].errback(ConnectionRefusedError("nobody there"))
            count = len(self.asked)
            while len(self.asked) == count and not self.exporter.dropped["unsent"]:
                self.clock.advance(1)
                spent += 1
                self.assertLess(spent, TRACE_GIVE_UP_S + 31)
        self.assertEqual(self.exporter.queued, 0)
        self.assertIn("cannot be reached", self.exporter.problem)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_answer_in_time(self) -> None:
        """The request is given up after the timeout, and comes again."""
        self.says = None
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.clock.advance(TRACE_TIMEOUT_S)
        self.assertEqual((self.exporter.problem, self.exporter.requests["retried"]), ("it does not answer in time", 1))
        self.says = OK
        self.clock.advance(1)
        self.assertEqual(self.exporter.sent, 1)

    def test_why_it_failed_in_words(self) -> None:
        """Of the HTTP client's list of reasons, the first."""
        self.says = None
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.asked[0].errback(RequestTransmissionFailed([Failure(ConnectionRefusedError("nobody there"))]))
        self.assertIn("nobody there", self.exporter.problem)
        self.exporter.stop(0)

    def test_partial_success(self) -> None:
        """What the collector has not taken is counted as rejected; nonsense with status 200 is a yes."""
        answer = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="old"))
        self.says = Answer(200, "", answer.SerializeToString())
        self.exporter.offer([a_span()] * 3)
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual((self.exporter.sent, self.exporter.dropped["rejected"]), (1, 2))
        self.says = Answer(200, "", b"{}")
        self.exporter.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual(self.exporter.sent, 2)
        self.assertEqual(partial_success(answer.SerializeToString()), (2, "old"))
        self.assertEqual(problem(b"\xff\xff"), "")

    def test_stop_sends_what_waits(self) -> None:
        """Batch by batch, without delay; then it is over, and what comes later is dropped and counted."""
        self.exporter.offer([a_span()] * (MAX_TRACE_BATCH - 1))
        stopped = self.exporter.stop()
        self.assertNoResult(stopped)
        self.clock.pump([0, 0, 0])
        self.successResultOf(stopped)
        self.assertEqual(self.exporter.sent, MAX_TRACE_BATCH - 1)
        self.exporter.offer([a_span()])
        self.assertEqual(self.exporter.dropped["unsent"], 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_does_not_wait_for_ever(self) -> None:
        """Neither for an answer that does not come, nor for the time of another try."""
        self.says = None
        self.exporter.offer([a_span()] * 3)
        stopped = self.exporter.stop()
        self.clock.advance(0)
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(TRACE_FLUSH_S)
        self.successResultOf(stopped)
        self.assertEqual((self.exporter.dropped["unsent"], self.exporter.queued), (3, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        other = self.make()
        self.says = Answer(503, "25", b"")
        other.offer([a_span()])
        self.clock.advance(TRACE_DELAY_S)
        self.assertEqual(other.queued, 1)
        stopped = other.stop(1.0)
        self.assertNoResult(stopped)
        self.clock.advance(0)               # once more, at once; another pause would be too long
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual((other.dropped["unsent"], other.queued), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_at_once(self) -> None:
        """Nobody is waited for: what waits is dropped and counted."""
        self.exporter.offer([a_span()] * 3)
        self.successResultOf(self.exporter.stop(0))
        self.assertEqual((self.exporter.dropped["unsent"], self.sent), (3, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
