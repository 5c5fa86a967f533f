"""The first gate of a virtual host whose requests take part in tracing: in whose trace a request is, and if it is recorded.

What it decides goes to the endpoint in the request's own fields, and stays on the exchange (`voltgw.values.trace`); nothing
else is done for it while the request is under way. Spans are made when it is over, of what its record says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.values.reason import Reason
from voltgw.values.trace import W3C, Trace
from voltgw.wire.tracecontext import TRACE_FIELDS, Context, read, write

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.config.objects.tracing import TracingType
    from voltgw.routing.route import Route
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field
    from voltgw.values.reply import Reply

#: A trace is in a sample by the last 56 bits of its id, as OpenTelemetry's consistent sampling has it: who else samples by the
#: same rule has the same traces. Compared as the 14 hexadecimal digits that they are.
_DIGITS: Final = 14
_ALL: Final = 1 << 4 * _DIGITS
_NEVER: Final = b"g"
_FROM: Final = 32 - _DIGITS
_NEW: Final = b"(a new one for each request)"

#: So many random bits.
Bits = Callable[[int], int]


class Terms(NamedTuple):
    """What ``gateway.tracing`` says. `believed` None: every caller is; else the virtual host's word on its peer counts."""

    read: Sequence[str]
    write: Sequence[str]
    sample: float
    trusted_only: bool = False
    restart: bool = False
    ignore_decision: bool = False


class Tracing:
    """A gate that refuses nobody: see `voltgw.routing.route.Guard`. It counts nothing; what spans are made is counted."""

    name: Final = "tracing"
    answer_filter = None
    owned = TRACE_FIELDS                    # no client adds to them behind a body

    __slots__ = ("_bits", "_host", "_threshold", "_w3c", "share", "terms")

    def __init__(self, terms: Terms, bits: Bits, of_host: TracingType | None, share: float | None = None) -> None:
        self.terms = terms
        self._bits = bits
        self._host = of_host
        self.share = terms.sample if share is None else share
        self._threshold = threshold(self.share)
        self._w3c = tuple(terms.write) == (W3C,)

    @property
    def text(self) -> str:
        """What it does."""
        callers = "begins a trace" if self.terms.restart else "goes on with the caller's trace or begins one"
        return f"{callers}; {self.share:.6g} of those that begin here are recorded"

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> Tracing | None:
        """The gate of one rule: what it says itself wins over its route object, that over the virtual host."""
        said = (rule.voltgw and rule.voltgw.tracing) or (spec.voltgw and spec.voltgw.tracing) or self._host
        if said is None:
            return self
        if said.disabled:
            return None
        return self if said.sample is None else Tracing(self.terms, self._bits, self._host, said.sample)

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """It gives none."""
        return ()

    def judge(self, exchange: Exchange) -> Reply | None:
        """The request filter."""
        fields = exchange.request.fields
        for name, _ in fields:
            if name in TRACE_FIELDS:
                self._received(exchange)
                return None
        trace_id = b"%032x" % self._bits(128)
        base = self._bits(63) + 1
        sampled = trace_id[_FROM:] >= self._threshold
        exchange.trace = Trace(trace_id, base, b"", sampled)
        if self._w3c:                       # by far the most
            fields.append((b"traceparent", b"00-%b-%016x-0%d" % (trace_id, base + 1, 3 if sampled else 2)))
        else:
            fields += write(self.terms.write, trace_id, b"%016x" % (base + 1), sampled)
        return None

    def _received(self, exchange: Exchange) -> None:
        """The caller speaks of a trace."""
        head = exchange.request
        context = self._context(exchange)
        head.fields[:] = [field for field in head.fields if field[0] not in TRACE_FIELDS]
        random = debug = False
        if context is None or not context.trace_id:
            trace_id, parent_id, random = b"%032x" % self._bits(128), b"", True
        else:
            trace_id, parent_id, random = context.trace_id, context.parent_id, context.random
        sampled, _ = self._decide(context, trace_id)
        exchange.trace = trace = Trace(trace_id, self._bits(63) + 1, parent_id, sampled)
        if context is not None:
            trace.debug = debug = context.debug and not self.terms.ignore_decision
            trace.state = context.state
        head.fields += write(
            self.terms.write, trace_id, trace.try_id(1), sampled, random=random, debug=debug, state=trace.state)

    def _context(self, exchange: Exchange) -> Context | None:
        terms = self.terms
        if terms.restart:
            return None
        if terms.trusted_only:
            host: Route = exchange.route        # type: ignore[assignment]  # the records' view of it
            identity = host.host.identity
            if identity is None or not identity.believes(exchange.client.peer_address):
                return None
        return read(exchange.request.fields, terms.read)

    def _decide(self, context: Context | None, trace_id: bytes) -> tuple[bool, str]:
        """Whether the request is recorded, and why."""
        if context is not None and not self.terms.ignore_decision and context.sampled is not None:
            how = "asks to debug it" if context.debug else "has decided so"
            return context.sampled, f"the caller {how}"
        return trace_id[_FROM:] >= self._threshold, f"by the trace's id, {self.share:.6g} of all"

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """What it would decide, and why."""
        context = self._context(exchange)
        if context is not None and context.trace_id:
            sampled, why = self._decide(context, context.trace_id)
            return None, Reason(self.name, "recorded" if sampled else "not recorded",
                                f"the caller's trace {context.trace_id.decode('ascii')} goes on; {why}")
        ignored = any(name in TRACE_FIELDS for name, _ in exchange.request.fields) and context is None
        begun = "a trace begins here" + ("; what the caller says of one is not followed" if ignored else "")
        if context is not None and context.sampled is not None and not self.terms.ignore_decision:
            return None, Reason(self.name, "recorded" if context.sampled else "not recorded",
                                f"{begun}; {self._decide(context, b'')[1]}")
        outcome = {0.0: "not recorded", 1.0: "recorded"}.get(self.share, f"recorded with probability {self.share:.6g}")
        return None, Reason(self.name, outcome, begun)

    def shown(self, exchange: Exchange) -> list[Field]:
        """The request's fields as `judge` would leave them, with words in the place of what is made anew for each request."""
        context = self._context(exchange)
        fields = [field for field in exchange.request.fields if field[0] not in TRACE_FIELDS]
        trace_id = b"" if context is None else context.trace_id
        said = context is not None and context.sampled is not None and not self.terms.ignore_decision
        sampled: bool | None
        if context is not None and (trace_id or said):
            sampled, _ = self._decide(context, trace_id)
        else:
            sampled = {0.0: False, 1.0: True}.get(self.share)       # else chance decides
        if sampled is None:
            return fields + [(name, _NEW) for name, _ in write(self.terms.write, b"", b"", False)]
        return fields + write(
            self.terms.write, trace_id or b"(a new trace)", b"(a new span)", sampled,
            random=context is None or not trace_id or context.random,
            debug=context is not None and context.debug and said, state=b"" if context is None else context.state)


def threshold(share: float) -> bytes:
    """What the last 14 digits of a trace's id must reach, so that `share` (0 to 1) of all do."""
    if share >= 1:
        return b""
    number = round((1 - share) * _ALL)
    return b"%014x" % number if number < _ALL else _NEVER       # a share too small to be written is none


def in_sample(trace_id: bytes, share: float) -> bool:
    """Whether a trace, by its id in 32 hexadecimal digits, is in a sample of `share` (0 to 1) of all."""
    return trace_id[_FROM:] >= threshold(share)
