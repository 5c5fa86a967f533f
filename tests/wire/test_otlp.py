"""OTLP by hand: whatever we write, OpenTelemetry's own messages read, and its answers we read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.otlp import (
    CLIENT,
    MAX_TEXT,
    Value,
    attribute,
    event,
    export_request,
    partial_success,
    problem,
    resource,
    scope,
    span,
)

VALUES = st.one_of(st.text(max_size=140), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1))


def read(value: Value) -> object:
    """An attribute's value, there and back."""
    found = KeyValue()
    found.ParseFromString(attribute("k", value))
    return getattr(found.value, str(found.value.WhichOneof("value")))


class OtlpTests(SynchronousTestCase):
    def test_text_of_every_length(self) -> None:
        """Around the lengths where one more octet says how long it is; beyond the bound it is cut."""
        for size in (0, 1, 123, 124, 125, 126, 127, 128, 129, MAX_TEXT, MAX_TEXT + 1):
            self.assertEqual(read("x" * size), "x" * min(size, MAX_TEXT), size)
        self.assertEqual(read("\udcff é"), "? é")

    @examples(100)
    @given(VALUES)
    def test_values(self, value: Value) -> None:
        """Text, numbers and truth are what they were, false and 0 too."""
        self.assertEqual((read(value), type(read(value))), (value, type(value)))

    @examples(60)
    @given(st.binary(min_size=16, max_size=16), st.integers(1, (1 << 64) - 1), st.dictionaries(st.sampled_from("abc"), VALUES),
           st.one_of(st.none(), st.text(max_size=9)), st.booleans(), st.integers(0, 1))
    def test_spans(self, trace_id: bytes, end: int, values: dict[str, Value], error: str | None, remote: bool, flags: int) -> None:
        """Every field of a span, in a whole request."""
        one = span(trace_id, b"\1" * 8, b"\2" * 8, "GET r/0", CLIENT, 5, end, values, state=b"a=1", error=error,
                   events=[event(7, "e", values)], trace_flags=flags, remote=remote)
        request = ExportTraceServiceRequest()
        request.ParseFromString(export_request(resource({"service.name": "t"}), scope("voltgw", "1"), [one, one]))
        (of,) = request.resource_spans
        (scoped,) = of.scope_spans
        self.assertEqual((of.resource.attributes[0].key, scoped.scope.name, scoped.scope.version), ("service.name", "voltgw", "1"))
        found, other = scoped.spans
        self.assertEqual(found, other)
        self.assertEqual((found.trace_id, found.span_id, found.parent_span_id, found.trace_state),
                         (trace_id, b"\1" * 8, b"\2" * 8, "a=1"))
        self.assertEqual((found.name, found.kind, found.start_time_unix_nano, found.end_time_unix_nano),
                         ("GET r/0", CLIENT, 5, end))
        self.assertEqual((found.flags & 1, bool(found.flags & 0x200), bool(found.flags & 0x100)), (flags, remote, True))
        self.assertEqual((found.status.code, found.status.message), (0, "") if error is None else (2, error))
        self.assertEqual([each.key for each in found.attributes], list(values))
        self.assertEqual((found.events[0].time_unix_nano, found.events[0].name, len(found.events[0].attributes)), (7, "e", len(values)))

    @examples(60)
    @given(st.integers(0, (1 << 63) - 1), st.text(max_size=60))
    def test_what_was_not_taken(self, count: int, words: str) -> None:
        """The number, and the words."""
        said = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=count, error_message=words))
        shown = "".join(each if each.isprintable() else " " for each in words)
        self.assertEqual(partial_success(said.SerializeToString()), (count, shown))
        self.assertTrue(shown.isprintable())
        negative = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=-1))
        self.assertEqual(partial_success(negative.SerializeToString()), (0, ""))

    @examples(200)
    @given(st.binary(max_size=60))
    def test_answers_that_are_none(self, answer: bytes) -> None:
        """They raise ValueError, or say something; nothing else."""
        self.assertIsInstance(problem(answer), str)
        try:
            rejected, _ = partial_success(answer)
        except ValueError:
            return
        self.assertGreaterEqual(rejected, 0)
