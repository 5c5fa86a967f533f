"""Sends spans to a collector by OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp), in batches, beside the traffic.

Nothing here waits for the collector: what is offered goes into a queue with bounds, and one request at a time carries a batch.
What the queue has no room for, what could not be sent for too long, and what the collector refuses is dropped and counted.
"""

from __future__ import annotations

import gzip
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from voltgw.values.defaults import (
    MAX_TRACE_BATCH,
    MAX_TRACE_BYTES,
    MAX_TRACE_QUEUE,
    TRACE_DELAY_S,
    TRACE_FLUSH_S,
    TRACE_GIVE_UP_S,
    TRACE_RETRY_MAX_S,
    TRACE_RETRY_S,
    TRACE_TIMEOUT_S,
)
from voltgw.wire.otlp import export_request, partial_success, problem

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

#: What may be tried again (the OTLP/HTTP specification's table of retryable statuses).
RETRYABLE: Final = frozenset((429, 502, 503, 504))
CONTENT_TYPE: Final = "application/x-protobuf"
#: Longest answer that is read.
MAX_ANSWER_BYTES: Final = 64 * 1024
#: Trouble is told at most this often.
_QUIET_S: Final = 60.0


class Answer(NamedTuple):
    """What a collector says: status, its Retry-After ("" = none) and its body, of which there may be `MAX_ANSWER_BYTES`."""

    status: int
    retry_after: str
    body: bytes


#: Sends one request; the Deferred can be cancelled, and fails with whatever went wrong on the way.
Post = Callable[[bytes, Mapping[str, str]], "Deferred[Answer]"]


class Exporter:
    """Queue, batches and tries. `head` is the request's beginning: the resource and the scope of all spans.

    `clock` is monotonic, `wall` seconds since the epoch, `random` a number in [0, 1). Counters: spans `sent`, and `dropped` by
    reason (``queue``, ``rejected``, ``unsent``); `requests` by outcome.
    """

    _log = Logger()

    def __init__(
        self, post: Post, resource: bytes, scope: bytes, clock: IReactorTime, wall: Callable[[], float],
        random: Callable[[], float], *, compress: bool = True, delay_s: float = TRACE_DELAY_S,
        timeout_s: float = TRACE_TIMEOUT_S, most: int = MAX_TRACE_QUEUE,
    ) -> None:
        self.sent = 0
        self.dropped = {"queue": 0, "rejected": 0, "unsent": 0}
        self.requests = {"ok": 0, "retried": 0, "failed": 0}
        self.problem = ""                   # why nothing could be sent last, "" = it could
        self._post = post
        self._resource, self._scope = resource, scope
        self._clock, self._wall, self._random = clock, wall, random
        self._compress = compress
        self._delay_s, self._timeout_s, self._most = delay_s, timeout_s, most
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._timer: IDelayedCall | None = None
        self._urgent = False                # it is due at once
        self._batch: list[bytes] = []       # on its way, or between two tries
        self._body = b""
        self._since = 0.0                   # when it was tried first
        self._pause_s = TRACE_RETRY_S
        self._asked: Deferred[Any] | None = None
        self._limit: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None
        self._until = 0.0
        self._last: IDelayedCall | None = None
        self._quiet_until = 0.0
        self._stopped = False

    @property
    def queued(self) -> int:
        """Spans that wait, those on their way included."""
        return len(self._queue) + len(self._batch)

    def offer(self, spans: Sequence[bytes]) -> None:
        """Have these sent; those for which there is no room are dropped."""
        if self._stopped:
            self.dropped["unsent"] += len(spans)
            return
        for one in spans:
            if len(self._queue) + len(self._batch) >= self._most or self._bytes + len(one) > MAX_TRACE_BYTES:
                self.dropped["queue"] += 1
                continue
            self._queue.append(one)
            self._bytes += len(one)
        if self._batch:
            return                          # whatever becomes of it looks at the queue again
        if len(self._queue) >= MAX_TRACE_BATCH:
            if not self._urgent:
                self._set_timer(0.0)
        elif self._timer is None and self._queue:
            self._set_timer(self._delay_s)

    def stop(self, limit_s: float = TRACE_FLUSH_S) -> Deferred[None]:
        """Send what waits, for at most `limit_s`; the Deferred fires when nothing is under way any more."""
        if self._stopping is None:
            self._stopped = True
            self._stopping = Deferred()
            self._until = self._clock.seconds() + limit_s
            if limit_s <= 0:
                self._flushed()
                return self._stopping
            self._last = self._clock.callLater(limit_s, self._flushed)
            if self._asked is None:         # nothing is under way, or it stood between two tries
                self._set_timer(0.0)
        return self._stopping

    def numbers(self) -> dict[str, Any]:
        """The same for the metrics and the admin page."""
        return {"sent": self.sent, "dropped": dict(self.dropped), "exports": dict(self.requests), "queued": self.queued,
                "queued_bytes": self._bytes, "problem": self.problem}

    # -- sending -----------------------------------------------------------------------------------------------------------

    def _set_timer(self, delay_s: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(delay_s, self._due)
        self._urgent = not delay_s

    def _due(self) -> None:
        self._timer = None
        self._urgent = False
        if self._asked is not None:
            return
        if not self._batch:
            if not self._queue:
                self._rest()
                return
            self._take()
        headers = {"content-type": CONTENT_TYPE}
        if self._compress:
            headers["content-encoding"] = "gzip"
        try:
            asked = self._post(self._body, headers)
        except Exception:                   # a request that cannot even be made is a bug, and no reason to stop for ever
            self._log.failure("spans cannot be sent")
            self._give_up("internal error", "failed")
            return
        self._asked = asked
        self._limit = self._clock.callLater(self._timeout_s, asked.cancel)
        asked.addCallbacks(self._answered, self._failed)
        asked.addErrback(self._crashed)

    def _take(self) -> None:
        queue = self._queue
        self._batch = [queue.popleft() for _ in range(min(len(queue), MAX_TRACE_BATCH))]
        body = export_request(self._resource, self._scope, self._batch)
        self._body = gzip.compress(body, 1) if self._compress else body
        self._since = self._clock.seconds()
        self._pause_s = TRACE_RETRY_S

    def _over(self) -> None:
        self._asked = None
        limit, self._limit = self._limit, None
        if limit is not None and limit.active():
            limit.cancel()

    def _answered(self, answer: Answer) -> None:
        self._over()
        status = answer.status
        if 200 <= status < 300:
            self._taken(answer)
        elif status in RETRYABLE:
            self._again(f"it answers with {status} {problem(answer.body)}".rstrip(), self._hint_s(answer.retry_after))
        else:
            self._give_up(f"it answers with {status} {problem(answer.body)}".rstrip(), "failed", "rejected")

    def _taken(self, answer: Answer) -> None:
        self.requests["ok"] += 1
        try:
            rejected, words = partial_success(answer.body)
        except ValueError:
            rejected, words = 0, ""         # 2xx: it has them, however it says so
        rejected = min(rejected, len(self._batch))
        self.sent += len(self._batch) - rejected
        self.dropped["rejected"] += rejected
        if rejected or words:
            self._say("the collector has not taken {rejected} spans: {words}", rejected=rejected, words=words)
        elif self.problem:
            self._log.info("spans are sent again", event="tracing.sent")
        self.problem = ""
        self._next()

    def _failed(self, failure: Failure) -> None:
        self._over()
        why = "it does not answer in time" if failure.check(CancelledError) else _words(failure)
        self._again(f"it cannot be reached: {why}" if not failure.check(CancelledError) else why, 0.0)

    def _crashed(self, failure: Failure) -> None:
        self._log.failure("an answer to spans could not be dealt with", failure)
        self._over()
        self._give_up("internal error", "failed")

    def _again(self, why: str, hint_s: float) -> None:
        """Not now; later, if it may still come to something."""
        now = self._clock.seconds()
        pause_s = max(self._pause_s * (0.5 + self._random() / 2), min(hint_s, TRACE_RETRY_MAX_S))
        self._pause_s = min(self._pause_s * 2, TRACE_RETRY_MAX_S)
        stopping = self._stopping is not None
        if now + pause_s > (self._until if stopping else self._since + TRACE_GIVE_UP_S):
            self._give_up(why, "failed")
            return
        self.requests["retried"] += 1
        self._trouble(why)
        self._set_timer(pause_s)

    def _give_up(self, why: str, outcome: str, reason: str = "unsent") -> None:
        self.requests[outcome] += 1
        self.dropped[reason] += len(self._batch)
        self._trouble(why)
        self._next()

    def _next(self) -> None:
        """The batch is dealt with."""
        self._bytes -= sum(map(len, self._batch))
        self._batch = []
        self._body = b""
        if self._stopping is not None or len(self._queue) >= MAX_TRACE_BATCH:
            self._set_timer(0.0)
        elif self._queue:
            self._set_timer(self._delay_s)

    def _rest(self) -> None:
        """Nothing waits."""
        if self._stopping is not None and not self._stopping.called:
            if self._last is not None and self._last.active():
                self._last.cancel()
            self._stopping.callback(None)

    def _flushed(self) -> None:
        """The time for what waited at the end is over."""
        stopping = self._stopping
        if stopping is None or stopping.called:
            return
        self.dropped["unsent"] += len(self._queue)
        self._bytes -= sum(map(len, self._queue))
        self._queue.clear()
        if self._asked is not None:
            self._asked.cancel()            # `_failed` gives the batch up, as there is no time for another try
        elif self._batch:
            self._give_up("the gateway stops", "failed")
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._rest()

    # -- words -------------------------------------------------------------------------------------------------------------

    def _hint_s(self, value: str) -> float:
        """What Retry-After asks for (RFC 9110 10.2.3), in seconds from now; 0.0 = nothing, or nonsense."""
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        try:
            return max(parsedate_to_datetime(value).timestamp() - self._wall(), 0.0) if value else 0.0
        except (ValueError, OverflowError):
            return 0.0

    def _trouble(self, why: str) -> None:
        self.problem = why
        self._say("spans cannot be sent, they wait: {problem}", problem=why, event="tracing.not_sent")

    def _say(self, text: str, **fields: Any) -> None:
        now = self._clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_S
            self._log.warn(text, **fields)


def _words(failure: Failure) -> str:
    """What went wrong on the way, in a sentence: of a client's list of reasons, the first."""
    error: Any = failure.value
    reasons = getattr(error, "reasons", None)
    while reasons:
        error = reasons[0].value
        reasons = getattr(error, "reasons", None)
    return str(error) or type(error).__name__
