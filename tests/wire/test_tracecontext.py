"""Trace context: the rules of W3C and B3 one by one, and OpenTelemetry's propagators as second opinion."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.values.head import Field
from voltgw.values.trace import B3, B3_MULTI, W3C
from voltgw.wire.tracecontext import Context, bounded_state, read, write

TRACE: Final = b"0af7651916cd43dd8448eb211c80319c"
SPAN: Final = b"b7ad6b7169203331"
ALL: Final = (W3C, B3, B3_MULTI)


def of_parent(*values: bytes) -> Context | None:
    return read([(b"traceparent", value) for value in values], (W3C,))


class W3cTests(SynchronousTestCase):
    def test_the_example_of_the_recommendation(self) -> None:
        """Version 00, sampled; level 2's flag says that the id is random."""
        self.assertEqual(of_parent(b"00-%b-%b-01" % (TRACE, SPAN)), Context(TRACE, SPAN, True))
        self.assertEqual(of_parent(b"00-%b-%b-02" % (TRACE, SPAN)), Context(TRACE, SPAN, False, random=True))
        self.assertEqual(of_parent(b" 00-%b-%b-00\t" % (TRACE, SPAN)), Context(TRACE, SPAN, False))

    def test_what_is_invalid_begins_a_new_trace(self) -> None:
        """Each of these is as good as no traceparent."""
        for value in (
            b"", b"00", b"ff-%b-%b-01" % (TRACE, SPAN), b"00-%b-%b-01-more" % (TRACE, SPAN), b"00-%b-%b-01-" % (TRACE, SPAN),
            b"00-%b-%b-01" % (b"0" * 32, SPAN), b"00-%b-%b-01" % (TRACE, b"0" * 16), b"00-%b-%b-01" % (TRACE.upper(), SPAN),
            b"00-%b-%b-1" % (TRACE, SPAN), b"0-%b-%b-01" % (TRACE, SPAN), b"00-%b-%b-0g" % (TRACE, SPAN),
            b"00-%b-%b-01" % (TRACE[:-1], SPAN), b"cc-%b-%b-01.what" % (TRACE, SPAN), b"00 %b %b 01" % (TRACE, SPAN),
        ):
            self.assertIsNone(of_parent(value), value)
        valid = b"00-%b-%b-01" % (TRACE, SPAN)
        self.assertIsNone(of_parent(valid, valid))

    def test_later_versions_are_read_as_far_as_they_are_known(self) -> None:
        """A version above 00 may have more behind it (3.2.4)."""
        for value in (b"cc-%b-%b-01" % (TRACE, SPAN), b"cc-%b-%b-01-what-the-future" % (TRACE, SPAN),
                      b"fe-%b-%b-01-" % (TRACE, SPAN)):
            self.assertEqual(of_parent(value), Context(TRACE, SPAN, True), value)

    def test_tracestate_comes_with_a_valid_parent_only(self) -> None:
        """Several lines are one list; without a valid traceparent there is none."""
        state = [(b"tracestate", b"rojo=00f067aa0ba902b7 ,, congo=t61"), (b"tracestate", b"a@b=1")]
        found = read([(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN)), *state], ALL)
        assert found is not None
        self.assertEqual(found.state, b"rojo=00f067aa0ba902b7,congo=t61,a@b=1")
        self.assertIsNone(read(state, ALL))

    def test_a_broken_member_takes_the_whole_list_with_it(self) -> None:
        """Keys and values have their alphabets and lengths (3.3.1.3)."""
        for line in (b"foo", b"foo=", b"=1", b"FOO=1", b"foo=1=2", b"foo =1", b"foo=\x01", b"a" * 257 + b"=1",
                     b"foo=" + b"1" * 257, b"foo=1,bar", b".a=1"):
            self.assertEqual(bounded_state([line]), b"", line)
        for line in (b"foo=1", b"1a=2", b"a" * 256 + b"=1", b"foo=" + b"1" * 256, b"t@v=a b", b"a*-_/=!~"):
            self.assertEqual(bounded_state([line]), line)

    def test_tracestate_is_bounded(self) -> None:
        """More than 32 members are dropped; of more than 512 characters long members go first, then the last ones."""
        self.assertEqual(bounded_state([b",".join(b"a%d=1" % n for n in range(33))]), b"")
        most = b",".join(b"a%d=1" % n for n in range(32))
        self.assertEqual(bounded_state([most]), most)
        long = b"long=" + b"x" * 200
        short = [b"k%02d=%b" % (n, b"y" * 20) for n in range(15)]           # 25 characters each, with the comma
        self.assertEqual(bounded_state([b",".join([long, *short])]), b",".join(short))
        many = [b"k%02d=%b" % (n, b"y" * 40) for n in range(20)]
        kept = bounded_state([b",".join(many)])
        self.assertEqual(kept, b",".join(many[:11]))                        # 45 each: eleven are 494
        self.assertLessEqual(len(kept), 512)


class B3Tests(SynchronousTestCase):
    def test_the_single_field(self) -> None:
        """Ids of 64 and 128 bits, every sampling state, a parent that nobody needs."""
        for value, expected in (
            (b"%b-%b-1" % (TRACE, SPAN), Context(TRACE, SPAN, True)),
            (b"%b-%b-0-%b" % (TRACE, SPAN, b"05e3ac9a4f6e3b90"), Context(TRACE, SPAN, False)),
            (b"%b-%b" % (TRACE, SPAN), Context(TRACE, SPAN, None)),
            (b"%b-%b-d" % (TRACE, SPAN), Context(TRACE, SPAN, True, True)),
            (b"%b-%b-1" % (SPAN, SPAN), Context(b"0" * 16 + SPAN, SPAN, True)),
            (b"%b-%b-1" % (TRACE.upper(), SPAN.upper()), Context(TRACE, SPAN, True)),
            (b"0", Context(b"", b"", False)), (b"1", Context(b"", b"", True)), (b"d", Context(b"", b"", True, True)),
        ):
            self.assertEqual(read([(b"b3", value)], (B3,)), expected, value)
        for value in (b"", b"x", TRACE, b"%b-%b-9" % (TRACE, SPAN), b"%b-%b-1-x" % (TRACE, SPAN), b"a-b-c-d-e",
                      b"%b-%b-1" % (b"0" * 32, SPAN), b"%b-%b-1" % (TRACE, b"0" * 16), b"%b-%b-1" % (TRACE[1:], SPAN)):
            self.assertIsNone(read([(b"b3", value)], (B3,)), value)

    def test_several_fields(self) -> None:
        """The flag of debug decides over what is said of sampling; a decision may come alone."""
        ids = [(b"x-b3-traceid", TRACE), (b"x-b3-spanid", SPAN), (b"x-b3-parentspanid", b"05e3ac9a4f6e3b90")]
        for more, sampled, debug in (
            ([], None, False), ([(b"x-b3-sampled", b"1")], True, False), ([(b"x-b3-sampled", b"false")], False, False),
            ([(b"x-b3-sampled", b"0"), (b"x-b3-flags", b"1")], True, True),
        ):
            self.assertEqual(read([*ids, *more], (B3_MULTI,)), Context(TRACE, SPAN, sampled, debug))
        self.assertEqual(read([(b"x-b3-sampled", b"0")], (B3_MULTI,)), Context(b"", b"", False))
        self.assertIsNone(read([(b"x-b3-traceid", TRACE)], (B3_MULTI,)))
        self.assertIsNone(read([(b"x-b3-parentspanid", SPAN)], (B3_MULTI,)))
        self.assertIsNone(read([*ids, (b"x-b3-traceid", TRACE)], (B3_MULTI,)))

    def test_formats_are_tried_in_their_order(self) -> None:
        """The first one that says something holds; one that is not asked for does not count."""
        other = TRACE[::-1]
        fields: list[Field] = [(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN)), (b"b3", b"%b-%b-0" % (other, SPAN))]
        self.assertEqual(read(fields, (W3C, B3)), Context(TRACE, SPAN, True))
        self.assertEqual(read(fields, (B3, W3C)), Context(other, SPAN, False))
        self.assertIsNone(read(fields, (B3_MULTI,)))
        self.assertEqual(read([(b"traceparent", b"no"), fields[1]], (W3C, B3)), Context(other, SPAN, False))


class SecondOpinionTests(SynchronousTestCase):
    """What we write, OpenTelemetry's propagators read, and the other way round."""

    JUDGES: Final = ((W3C, TraceContextTextMapPropagator()), (B3, B3SingleFormat()), (B3_MULTI, B3MultiFormat()))

    @examples(60)
    @given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())
    def test_they_agree(self, trace_id: int, span_id: int, sampled: bool) -> None:
        """Ids and the decision arrive as they were, in all three formats, both ways."""
        ids = b"%032x" % trace_id, b"%016x" % span_id
        for format, judge in self.JUDGES:
            written = {name.decode(): value.decode() for name, value in write((format,), *ids, sampled)}
            context = trace.get_current_span(judge.extract(written)).get_span_context()
            self.assertEqual((context.trace_id, context.span_id, context.trace_flags.sampled), (trace_id, span_id, sampled))
            said: dict[str, str] = {}
            span = trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(sampled)))
            judge.inject(said, trace.set_span_in_context(span))
            found = read([(name.lower().encode(), value.encode()) for name, value in said.items()], (format,))
            assert found is not None
            self.assertEqual((found.trace_id, found.parent_id, found.sampled), (*ids, sampled))

    def test_all_formats_at_once(self) -> None:
        """Each has its own fields; tracestate goes with traceparent, debug with B3."""
        self.assertEqual(write((W3C, B3, B3_MULTI), TRACE, SPAN, True, debug=True, state=b"a=1"), [
            (b"traceparent", b"00-%b-%b-03" % (TRACE, SPAN)), (b"tracestate", b"a=1"), (b"b3", b"%b-%b-d" % (TRACE, SPAN)),
            (b"x-b3-traceid", TRACE), (b"x-b3-spanid", SPAN), (b"x-b3-flags", b"1")])
        self.assertEqual(write((W3C,), TRACE, SPAN, False, random=False), [(b"traceparent", b"00-%b-%b-00" % (TRACE, SPAN))])

    @examples(200)
    @given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"b3", b"x-b3-sampled", b"x-b3-traceid"]),
                              st.binary(max_size=60)), max_size=6))
    def test_nothing_raises(self, fields: list[Field]) -> None:
        """Whatever a client sends, there is a context with ids of the right form, or none."""
        found = read(fields, ALL)
        if found is not None and found.trace_id:
            self.assertEqual((len(found.trace_id), len(found.parent_id)), (32, 16))
