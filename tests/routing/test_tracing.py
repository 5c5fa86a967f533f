"""The gate of tracing: which traces are in a sample, and what it says without doing anything."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.routing.support import exchange
from voltgw.config.objects.extensions import RouteExtension
from voltgw.config.objects.route import RouteSpec, RouteType
from voltgw.config.objects.tracing import TracingType
from voltgw.routing.tracing import Terms, Tracing, threshold
from voltgw.values.head import Field
from voltgw.values.trace import B3, B3_MULTI, W3C
from voltgw.wire.tracecontext import TRACE_FIELDS, read

TRACE: Final = b"0af7651916cd43dd8448eb211c80319c"
SPAN: Final = b"b7ad6b7169203331"


def gate(of_host: TracingType | None = None, **terms: Any) -> Tracing:
    values: dict[str, Any] = {"read": (W3C, B3, B3_MULTI), "write": (W3C,), "sample": 0.5, **terms}
    return Tracing(Terms(**values), Random(0).getrandbits, of_host)


class SampleTests(SynchronousTestCase):
    def test_shares(self) -> None:
        """Of ten thousand traces that begin here about so many are recorded as `sample` says; 0 and 1 mean none and all."""
        for share in (0.0, 0.01, 0.25, 1.0):
            tracing = gate(sample=share)
            count = 0
            for _ in range(10_000):
                one = exchange()
                tracing.judge(one)
                count += one.trace.sampled
            self.assertLessEqual(abs(count / 10_000 - share), 4 * (share * (1 - share) / 10_000) ** 0.5, share)

    @examples(100)
    @given(st.integers(0, (1 << 128) - 1), st.floats(0, 1), st.floats(0, 1))
    def test_a_smaller_sample_is_part_of_a_larger_one(self, number: int, one: float, other: float) -> None:
        """By the last 56 bits of the id alone."""
        digits = b"%032x" % number
        smaller, larger = sorted((one, other))
        if digits[18:] >= threshold(smaller):
            self.assertGreaterEqual(digits[18:], threshold(larger))
        self.assertLess(digits[18:], threshold(0.0))
        self.assertGreaterEqual(digits[18:], threshold(1.0))

    def test_the_rule_of_consistent_sampling(self) -> None:
        """The rejection threshold of consistent sampling: recorded if the randomness is at least 2^56 times (1 - share)."""
        self.assertEqual(threshold(0.25), b"c0000000000000")
        self.assertEqual(threshold(0.5), b"80000000000000")


class GateTests(SynchronousTestCase):
    @examples(100)
    @given(st.sampled_from(["", "w3c", "b3", "b3_multi", "deferred", "bad"]), st.booleans(),
           st.lists(st.sampled_from([W3C, B3, B3_MULTI]), min_size=1, max_size=3, unique=True), st.booleans(), st.booleans())
    def test_what_goes_on_is_what_stays(self, how: str, sampled: bool, write: list[str], ignore: bool, restart: bool) -> None:
        """Whatever comes: the endpoint hears of one trace, in the formats that are asked for and no other, and of our try."""
        mark = b"1" if sampled else b"0"
        came: list[Field] = {
            "": [], "w3c": [(b"traceparent", b"00-%b-%b-0%b" % (TRACE, SPAN, mark)), (b"tracestate", b"a=1")],
            "b3": [(b"b3", b"%b-%b-%b" % (TRACE, SPAN, mark))], "deferred": [(b"b3", b"%b-%b" % (TRACE, SPAN))],
            "b3_multi": [(b"x-b3-traceid", TRACE), (b"x-b3-spanid", SPAN), (b"x-b3-sampled", mark)],
            "bad": [(b"traceparent", b"00-no"), (b"b3", b"?")]}[how]
        one = exchange([(b"accept", b"*/*"), *came, (b"x-last", b"1")])
        tracing = gate(write=tuple(write), ignore_decision=ignore, restart=restart)
        _, said = tracing.rehearse(one)
        shown = tracing.shown(one)
        self.assertIsNone(tracing.judge(one))
        trace = one.trace
        goes_on = how not in ("", "bad") and not restart
        self.assertEqual((trace.trace_id == TRACE, trace.parent_id), (goes_on, SPAN if goes_on else b""))
        if goes_on and not ignore and how != "deferred":
            self.assertEqual(trace.sampled, sampled)
        if goes_on:
            self.assertEqual(said.outcome, "recorded" if trace.sampled else "not recorded")
        self.assertEqual([name for name, _ in shown], [name for name, _ in one.request.fields])     # it was told before
        if goes_on:
            self.assertEqual([value.replace(b"(a new span)", trace.try_id(1)) for _, value in shown],
                             [value for _, value in one.request.fields])
        for format in (W3C, B3, B3_MULTI):
            found = read(one.request.fields, (format,))
            if format not in write:
                self.assertIsNone(found)
                continue
            assert found is not None
            self.assertEqual((found.trace_id, found.parent_id, found.sampled), (trace.trace_id, trace.try_id(1), trace.sampled))
        self.assertEqual([field for field in one.request.fields if field[0] not in TRACE_FIELDS],
                         [(b"accept", b"*/*"), (b"x-last", b"1")])
        self.assertEqual(trace.state, b"a=1" if how == "w3c" and not restart else b"")

    def test_a_rehearsal_changes_nothing(self) -> None:
        """Neither the request nor what the next one gets."""
        fields: list[Field] = [(b"b3", b"d"), (b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN))]
        one = exchange(fields)
        one_gate, other_gate = gate(), gate()
        for _ in range(3):
            one_gate.rehearse(one)
        self.assertEqual(one.request.fields, fields)
        self.assertIs(one.trace, None)
        first, second = exchange(), exchange()
        one_gate.judge(first)
        other_gate.judge(second)
        self.assertEqual(first.trace.trace_id, second.trace.trace_id)

    def test_who_says_what_of_a_rule(self) -> None:
        """The rule, then its route object, then the virtual host, then the gateway."""
        def of(host: TracingType | None, spec: TracingType | None, rule: TracingType | None) -> float | None:
            found = gate(host).for_rule(
                RouteType(voltgw=RouteExtension(tracing=rule)), "default", RouteSpec(routes=(), voltgw=RouteExtension(tracing=spec)))
            return None if found is None else found.share

        some, all_of_them, off = TracingType(sample=0.25), TracingType(sample=1.0), TracingType(disabled=True)
        self.assertEqual([of(None, None, None), of(some, None, None), of(some, all_of_them, None), of(off, None, some),
                          of(some, off, None), of(some, None, off)], [0.5, 0.25, 1.0, 0.25, None, None])

    def test_ids_are_never_zero(self) -> None:
        """Whatever chance says."""
        tracing = Tracing(Terms((W3C,), (W3C,), 1.0), lambda bits: (1 << bits) - 1, None)
        one = exchange()
        tracing.judge(one)
        self.assertEqual(one.trace.try_id(1), b"8000000000000001")
        tracing = Tracing(Terms((W3C,), (W3C,), 1.0), lambda bits: 0, None)
        tracing.judge(one)
        self.assertEqual((one.trace.span_id, one.trace.try_id(1)), (b"0000000000000001", b"0000000000000002"))
