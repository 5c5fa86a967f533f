"""What a request knows of the trace that it is part of, where its virtual host takes part in tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.values.exchange import EndpointLabels

#: Formats in which programs tell each other of a trace: W3C Trace Context, Zipkin's B3 in one field, and in several.
W3C: Final = "w3c"
B3: Final = "b3"
B3_MULTI: Final = "b3_multi"
#: Tries of one request that are written down one by one; further ones are only counted (`Exchange.attempts`).
MAX_TRIES: Final = 32


class Try:
    """One try of a request that had more than one: times are monotonic seconds, `ended` 0.0 = it was given up.

    `outcome` says why it is not the one that was answered, "" = it is.
    """

    __slots__ = ("began", "ended", "endpoint", "outcome")

    def __init__(self, endpoint: EndpointLabels, began: float) -> None:
        self.endpoint = endpoint
        self.began = began
        self.ended = 0.0
        self.outcome = ""


class Trace:
    """The place of one request in its trace.

    `trace_id` and `parent_id` are hexadecimal; `parent_id` is the caller's span, b"" where the trace begins here. `base` is
    the number of our own span, and the n-th try's is `base` + n: so a try needs no object of its own to be told apart.
    `sampled` is what was decided before the request went on, and told to endpoints. `debug` (B3) asked for it.
    `connected` has when a connection that was made for this request stood: (began, TCP stood, TLS stood), 0.0 = without.
    """

    __slots__ = ("base", "connected", "debug", "looked_up", "parent_id", "sampled", "state", "trace_id", "tries")

    def __init__(self, trace_id: bytes, base: int, parent_id: bytes, sampled: bool) -> None:
        self.trace_id = trace_id
        self.base = base
        self.parent_id = parent_id
        self.sampled = sampled
        self.debug = False
        self.state = b""
        self.tries: list[Try] | None = None
        self.connected: list[tuple[float, float, float]] | None = None
        self.looked_up: list[tuple[str, float, float]] | None = None

    @property
    def span_id(self) -> bytes:
        """Our own span."""
        return b"%016x" % self.base

    def try_id(self, number: int) -> bytes:
        """The span of the try of this number, from 1."""
        return b"%016x" % (self.base + number)
