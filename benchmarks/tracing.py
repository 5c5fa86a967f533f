"""What tracing costs a request, in microseconds: ``python -m benchmarks.tracing``."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from timeit import repeat
from typing import Final

from tests.routing.support import Endpoint, answer, exchange
from voltgw.observe.spans import spans_of
from voltgw.routing.tracing import Terms, Tracing
from voltgw.values.head import Field
from voltgw.values.trace import B3, B3_MULTI, W3C

FIELDS: Final[list[Field]] = [
    (b"user-agent", b"Mozilla/5.0"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip"), (b"accept-language", b"en"),
    (b"cookie", b"a=b"), (b"referer", b"http://shop.example/"), (b"cache-control", b"no-cache"), (b"dnt", b"1")]
PARENT: Final = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def microseconds(call: Callable[[], object], rounds: int) -> float:
    """The best of five."""
    return min(repeat(call, number=rounds, repeat=5)) / rounds * 1e6


def main() -> None:
    """Print the table."""
    gate = Tracing(Terms((W3C, B3, B3_MULTI), (W3C,), 0.0), Random(0).getrandbits, None)
    one = exchange(FIELDS)

    def judged(fields: list[Field]) -> float:
        def nothing() -> None:
            one.request.fields = fields.copy()

        def judge() -> None:
            one.request.fields = fields.copy()
            gate.judge(one)

        return microseconds(judge, 50_000) - microseconds(nothing, 50_000)

    print(f"a trace that begins here, not recorded: {judged(FIELDS):.1f} us")
    print(f"a trace of the caller's:                {judged([*FIELDS, PARENT]):.1f} us")
    one.response, one.response_code, one.endpoint, one.attempts = answer(), 200, Endpoint(), 1
    one.t_upstream_first_tx = one.t_upstream_first_rx = one.t_upstream_last_rx = one.t_downstream_last = one.t_start + 0.001
    spans = spans_of(one, 1.8e9)
    print(f"spans of a recorded request:            {microseconds(lambda: spans_of(one, 1.8e9), 5_000):.1f} us, "
          f"{sum(map(len, spans))} bytes in {len(spans)}")


if __name__ == "__main__":
    main()
