"""Remembers why past requests were answered as they were: all errors and a sample of the rest, within bounds.

Exchanges come in batches beside the traffic (`voltgw.observe.access`, `voltgw.observe.feed`). What is kept are plain values
without secrets: neither a connection, nor a route of a configuration that serves no more, is kept alive by a record.
Errors and samples have a ring each, so that a flood of the one does not wash away the other.
"""

from __future__ import annotations

import json
import marshal
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from twisted.logger import Logger

from voltgw.observe.decisions import plain_reason
from voltgw.observe.lines import VERSIONS, Stamps, ended, text_of
from voltgw.observe.redact import redact_path, redact_query
from voltgw.observe.sampling import sampled
from voltgw.proxy.replies import DETAILS
from voltgw.values.address import where
from voltgw.values.defaults import MAX_JOURNAL_BYTES, MAX_JOURNAL_RECORDS
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.values.exchange import Exchange

#: The part of the requests that are no errors and are kept all the same.
SHARE: Final = 0.01
#: So many more are kept in a second because their traces are recorded.
TRACES_PER_S: Final = 10
#: Longest text of one value that is kept.
_MOST_TEXT: Final = 1024
#: Working out why the rules decided as they did may take this part of the time, and so long at once (seconds).
_WORK_SHARE: Final = 0.02
_WORK_S: Final = 0.02

_TRACE_ID: Final = re.compile("[0-9a-f]{32}")
ERROR: Final = "error"
SAMPLE: Final = "sample"


class _Record(NamedTuple):
    """What is kept of one exchange. Its values are such that `marshal` can pack them."""

    request_id: str
    kind: str
    wall: float
    generation: int
    listener: str
    client: str
    method: str
    authority: str
    target: str
    minor: int
    host: str
    route: str
    cluster: str
    endpoint: str
    attempts: int
    tries: tuple[tuple[str, str], ...]
    status: int
    upstream: bool
    flag: str
    detail: str
    times: tuple[float | None, ...]
    bytes_in: int
    bytes_out: int
    decisions: str
    trace: str

    @classmethod
    def of(cls, exchange: Exchange, kind: str, wall: float, generation: int, decisions: str) -> _Record:
        """The record of an exchange that is over."""
        request, endpoint, route = exchange.request, exchange.endpoint, exchange.route
        target = redact_path(text_of(request.path))
        if request.query is not None:
            target = f"{target}?{redact_query(text_of(request.query))}"
        start = exchange.t_start
        return cls(
            text_of(exchange.request_id), kind, wall, generation, exchange.client.listener, exchange.client_address,
            _clip(text_of(request.method)), _clip(text_of(exchange.original_authority)), _clip(target), request.minor,
            "" if route is None else f"{route.host.namespace}/{route.host.name}", "" if route is None else route.name,
            "" if endpoint is None else endpoint.cluster,
            "" if endpoint is None else where(endpoint.address, endpoint.port), exchange.attempts,
            tuple((str(who), _clip(str(what))) for who, what in exchange.tries or ()),
            exchange.response_code, exchange.response is not None, exchange.flag, exchange.detail,
            tuple(round(moment - start, 6) if moment else None for moment in (
                exchange.t_upstream_first_tx, exchange.t_upstream_first_rx, exchange.t_downstream_first, ended(exchange))),
            exchange.bytes_in, exchange.bytes_out, decisions,
            exchange.trace.trace_id.decode("ascii") if exchange.trace is not None else "")

    def short(self) -> dict[str, Any]:
        """What it was, and what came of it."""
        return {
            "request_id": self.request_id, "kind": self.kind, "time": Stamps().exactly(self.wall), "listener": self.listener,
            "client": self.client, "method": self.method, "authority": self.authority, "target": self.target,
            "virtual_host": self.host or None, "route": self.route or None, "endpoint": self.endpoint or None,
            "status": self.status, "flag": self.flag}

    def packed(self) -> bytes:
        """All of it as one piece, which begins with what `_Ring.find` looks for."""
        return _mark(self.request_id) + marshal.dumps(tuple(self))

    def plain(self) -> dict[str, Any]:
        """All of it, with the decisions in words."""
        sent, answered, told, over = self.times
        by = "the endpoint" if self.upstream else "the gateway" if self.status else "nobody"
        return {
            "request_id": self.request_id, "trace_id": self.trace or None, "kind": self.kind,
            "time": Stamps().exactly(self.wall),
            "generation": self.generation, "listener": self.listener, "client": self.client, "method": self.method,
            "authority": self.authority, "target": self.target, "http_version": VERSIONS[self.minor],
            "virtual_host": self.host or None, "route": self.route or None, "cluster": self.cluster or None,
            "endpoint": self.endpoint or None, "attempts": self.attempts,
            "tries": [{"endpoint": who, "outcome": what} for who, what in self.tries],
            "status": self.status, "answered_by": by, "flag": self.flag, "detail": self.detail,
            "times_s": {"sent_to_endpoint": sent, "endpoint_answered": answered, "client_answered": told, "over": over},
            "bytes_in": self.bytes_in, "bytes_out": self.bytes_out,
            "decisions": [plain_reason(Reason("listener", self.listener, f"the client was {self.client}")), *self._rules(),
                          *map(plain_reason, self._words(by))],
        }

    def _rules(self) -> list[dict[str, Any]]:
        if self.decisions:
            rules: list[dict[str, Any]] = json.loads(self.decisions)
            return rules
        words = [Reason("virtual host", self.host or "none"), Reason("route", self.route or "none")]
        return [plain_reason(each) for each in words]

    def _words(self, by: str) -> list[Reason]:
        said: list[Reason] = []
        if self.endpoint or self.tries:
            steps = [Reason(f"try {number}", who, what) for number, (who, what) in enumerate(self.tries, 1)]
            steps.append(Reason(f"try {len(steps) + 1}", self.endpoint, "it answered" if self.upstream else "no answer of it"))
            said.append(Reason("endpoint", self.endpoint, f"of {self.cluster}, {_count(self.attempts, 'try', 'tries')}", None,
                               tuple(steps) if len(steps) > 1 else ()))
        meaning = "; ".join(part for part in (DETAILS.get(self.flag, ""), self.detail.replace("_", " ")) if part)
        flag = f"flag {self.flag}: " if self.flag else ""
        said.append(Reason("answer", str(self.status or "none"), f"by {by}; {flag}{meaning}".rstrip("; ")))
        names = ("sent to the endpoint", "the endpoint answered", "the client was answered", "over")
        steps = [Reason(name, f"{moment * 1e3:.3f} ms") for name, moment in zip(names, self.times, strict=True)
                 if moment is not None]
        return [*said, Reason("times", "after its beginning", "", None, tuple(steps))]


class _Ring:
    """The latest records of one kind, packed into one piece of memory that is there once and for all.

    Records live for minutes between objects that live for a millisecond. As objects of their own they would lie scattered over
    the heap and keep piece after piece of it from being given back: three megabytes more after ten minutes of load.
    """

    __slots__ = ("_count", "_end", "_first", "_room", "_sizes", "_starts", "bytes")

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self.bytes = 0
        self._room = bytearray(most_bytes)
        self._starts = array("L", bytes(array("L").itemsize * most_records))
        self._sizes = array("L", self._starts)
        self._first = 0                     # number of the oldest record in `_starts` and `_sizes`, which are rings as well
        self._count = 0
        self._end = 0                       # where in `_room` the next record goes, if there is room behind it

    def __len__(self) -> int:
        return self._count

    def add(self, record: _Record) -> None:
        """Take a record in; the oldest leave until there is room."""
        packed = record.packed()
        size = len(packed)
        start = self._end
        if size > len(self._room):
            return
        if start + size > len(self._room):
            while self._count and self._starts[self._first] >= start:
                self._forget()              # the rest of the room stays empty this time round
            start = 0
        while self._count and (self._count == len(self._starts) or start <= self._starts[self._first] < start + size):
            self._forget()
        self._room[start:start + size] = packed
        number = (self._first + self._count) % len(self._starts)
        self._starts[number], self._sizes[number] = start, size
        self._count += 1
        self.bytes += size
        self._end = start + size

    def find(self, request_id: str) -> _Record | None:
        """The latest record of a request."""
        mark = _mark(request_id)
        for back in range(self._count - 1, -1, -1):
            number = (self._first + back) % len(self._starts)
            start = self._starts[number]
            if self._room.startswith(mark, start):
                return _Record(*marshal.loads(self._room[start + len(mark):start + self._sizes[number]]))
        return None

    def of_trace(self, trace_id: str) -> _Record | None:
        """The latest record of a request of this trace. It looks through all of the memory, which takes some milliseconds."""
        wanted = trace_id.encode("ascii", "replace")
        for back in range(self._count - 1, -1, -1):
            number = (self._first + back) % len(self._starts)
            start, end = self._starts[number], self._starts[number] + self._sizes[number]
            if self._room.find(wanted, start, end) >= 0:
                begin = self._room.index(b"\0", start) + 1
                record = _Record(*marshal.loads(self._room[begin:end]))
                if record.trace == trace_id:
                    return record
        return None

    def latest(self, most: int) -> Iterator[_Record]:
        """At most so many, the newest first."""
        for back in range(self._count - 1, max(self._count - 1 - most, -1), -1):
            number = (self._first + back) % len(self._starts)
            packed = self._room[self._starts[number]:self._starts[number] + self._sizes[number]]
            yield _Record(*marshal.loads(packed.partition(b"\0")[2]))

    def _forget(self) -> None:
        self.bytes -= self._sizes[self._first]
        self._first = (self._first + 1) % len(self._starts)
        self._count -= 1


def _mark(request_id: str) -> bytes:
    return request_id.encode("utf-8", "surrogatepass") + b"\0"


class Journal:
    """An `interfaces.Journal` that can be asked.

    `explain` says by which rules an exchange went; it is asked only as long as that takes little of the time. `generation`
    is the configuration that serves now. `share` is the part of the requests without an error that is kept.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self, wall: Callable[[], float], monotonic: Callable[[], float], *,
        explain: Callable[[Exchange], Sequence[Reason]] | None = None, share: float = SHARE,
        most_records: int = MAX_JOURNAL_RECORDS, most_bytes: int = MAX_JOURNAL_BYTES,
    ) -> None:
        self.share = share
        self.generation = 1
        self.failures = 0                   # exchanges that could not be noted: bugs, all of them
        self._wall = wall
        self._monotonic = monotonic
        self._explain = explain
        self._rings: dict[str, Any] = {kind: _Ring(most_records, most_bytes) for kind in (ERROR, SAMPLE)}
        self._work_left_s = _WORK_S
        self._worked = monotonic()
        self._second = -1
        self._traces_left = 0               # in this second

    def note(self, exchange: Exchange, /) -> None:
        """Keep an exchange that went wrong, or is in the sample."""
        if exchange.flag or exchange.response_code >= 500 or not exchange.response_code:
            kind = ERROR
        elif sampled(exchange.request_id, self.share) or (
                exchange.trace is not None and exchange.trace.sampled and self._traced()):
            kind = SAMPLE
        else:
            return
        try:
            wall = self._wall() - self._monotonic() + exchange.t_start
            self._rings[kind].add(_Record.of(exchange, kind, wall, self.generation, self._decisions(exchange)))
        except Exception:                   # a record less harms nobody, an exception here would cost a batch of log lines
            if not self.failures:
                self._log.failure("an exchange could not be noted for `why`; others will only be counted")
            self.failures += 1

    def _traced(self) -> bool:
        """Whether one more request is kept because its trace is recorded: whoever looks at that may ask why."""
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._traces_left = second, TRACES_PER_S
        self._traces_left -= 1
        return self._traces_left >= 0

    def send_to(self, rings: Mapping[str, Any]) -> None:
        """Keep nothing: have `rings` take what is noted, by its kind; each has `add(record)`, a length and `bytes`."""
        self._rings = dict(rings)

    def take(self, kind: str, fields: Sequence[Any]) -> None:
        """Keep a record that was noted in another process and has come as JSON. Raises ValueError for what is none."""
        ring = self._rings.get(kind)
        try:
            values = dict(zip(_Record._fields, fields, strict=True))
            values["tries"] = tuple([(str(who), str(what)) for who, what in values["tries"]])
            values["times"] = tuple(values["times"])        # JSON has no tuples
            record = _Record(**values)
            VERSIONS[record.minor]
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"no record: {error}") from error
        if ring is not None:
            ring.add(record)

    def find(self, request_id: str) -> dict[str, Any] | None:
        """What is known of a request, as plain data; None = nothing (any more). `request_id` may also be that of its trace."""
        for ring in self._rings.values():
            record = ring.find(request_id)
            if record is None and _TRACE_ID.fullmatch(request_id):
                record = ring.of_trace(request_id)
            if record is not None:
                plain: dict[str, Any] = record.plain()
                return plain
        return None

    def recent(self, most: int) -> list[dict[str, Any]]:
        """The latest that are kept, errors and samples, at most so many, the newest first."""
        found = [record for ring in self._rings.values() for record in ring.latest(most)]
        found.sort(key=lambda record: record.wall, reverse=True)
        return [record.short() for record in found[:most]]

    def view(self) -> dict[str, Any]:
        """How much is kept, for the admin page."""
        return {kind: {"records": len(ring), "bytes": ring.bytes} for kind, ring in self._rings.items()}

    def numbers(self) -> dict[str, float]:
        """The same for the metrics, all kinds together."""
        rings = self._rings.values()
        return {"journal_records": sum(map(len, rings)), "journal_bytes": sum(ring.bytes for ring in rings),
                "journal_failures": self.failures}

    def _decisions(self, exchange: Exchange) -> str:
        """By which rules it went, as JSON; "" when finding that out would take too much of the time."""
        if self._explain is None:
            return ""
        began = self._monotonic()
        self._work_left_s = min(self._work_left_s + (began - self._worked) * _WORK_SHARE, _WORK_S)
        self._worked = began
        if self._work_left_s <= 0:
            return ""
        reasons = self._explain(exchange)
        said = json.dumps([plain_reason(each) for each in reasons], separators=(",", ":")) if reasons else ""
        self._work_left_s -= self._monotonic() - began
        return said


def _clip(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "..."


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
