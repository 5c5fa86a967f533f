"""What a worker tells the control process once a second: counts, records for ``why``, whom it keeps out; and its log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from zope.interface import implementer

from voltgw.app.counted import Books, CountKey
from voltgw.app.worker_messages import answer
from voltgw.control.workers.deltas import difference, numbers_of
from voltgw.observe.events import event_text

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.worker_service import WorkerGateway
    from voltgw.net.passing import Channel

#: How often counts are told.
INTERVAL_S: Final = 1.0
#: How often records for ``why`` are handed over: somebody may ask soon.
RECORDS_S: Final = 0.25
#: Objects whose counts go with one message, and records for ``why`` that wait for the next one; beyond that they are dropped.
AT_ONCE: Final = 2_000
MOST_RECORDS: Final = 2_000
#: Longest line of a log that is passed on; of a traceback the end.
_MOST_TEXT: Final = 16 * 1024


class Outbox:
    """Records of one kind for the journal of the control process; in the place of a ring."""

    bytes = 0

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.dropped = 0
        self._records: list[Any] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Any) -> None:
        """Wait for the next report, if there is room."""
        if len(self._records) < MOST_RECORDS:
            self._records.append(record)
        else:
            self.dropped += 1

    def find(self, request_id: str) -> None:
        """Nobody asks a worker."""

    def take(self) -> list[Any]:
        """All that wait; they wait no longer."""
        records, self._records = self._records, []
        return records


class Reports:
    """The reports of one worker. Where the control process does not read, or is gone, what can wait waits for the next one."""

    _log = Logger()

    def __init__(self, worker: WorkerGateway, channel: Channel) -> None:
        self.skipped = 0                    # times that the control process did not read
        self.boxes = {kind: Outbox(kind) for kind in ("error", "sample")}
        self._worker = worker
        self._channel = channel
        self._books = Books(worker)
        self._told: dict[CountKey, tuple[Any, dict[str, Any]]] = {}   # objects with what was told of them
        self._out: dict[str, dict[str, str]] = {}
        self._busy = False

    def start(self) -> None:
        """Begin."""
        self._worker.loop.clock.callLater(INTERVAL_S, self._turn)
        self._worker.loop.clock.callLater(RECORDS_S, self._records_turn)

    def _records_turn(self) -> None:
        self._worker.loop.clock.callLater(RECORDS_S, self._records_turn)
        if not self._channel.closed and not self._channel.full:
            self._send_records()

    def _turn(self) -> None:
        self._worker.loop.clock.callLater(INTERVAL_S, self._turn)
        if self._channel.closed or self._busy:
            return
        if self._channel.full:
            self.skipped += 1
            return
        self._busy = True
        Deferred.fromCoroutine(self._worker.slices.run(self._steps())).addErrback(self._failed).addCallback(self._over)

    def _over(self, result: object) -> None:
        self._busy = False

    def _failed(self, failure: Failure) -> None:
        self._log.failure("a report to the control process failed", failure)

    def now(self) -> None:
        """Tell everything in one go: counters are about to be forgotten."""
        if not self._channel.closed:
            for _ in self._steps():
                pass

    def _steps(self) -> Generator[None, None, None]:
        seen: set[CountKey] = set()
        more: list[tuple[CountKey, Any]] = []
        generation = self._worker.generation    # a reload may come between two steps
        for count, (key, thing, only) in enumerate(self._books.all(), 1):
            seen.add(key)
            before, told = self._told.get(key, (None, None))
            if before is not thing:         # another one took its place and has begun at nothing
                told = None
            if not _unchanged(key[0], thing, told):
                numbers = numbers_of(thing, only)
                change = difference(numbers, told)
                self._told[key] = thing, numbers
                if change is not None:
                    more.append((key, change))
            if len(more) >= AT_ONCE:
                self._channel.send(answer("counts", generation=generation, counts=more))
                more = []
            if count % 16 == 0:
                yield
        for key in self._told.keys() - seen:
            del self._told[key]
        followed: dict[str, Any] = dict(self._worker.memberships)
        out = {name: {str(key): why for key, why in each.out().items()} for name, each in followed.items()}
        out = {name: each for name, each in out.items() if each}
        self._channel.send(answer("counts", generation=generation, counts=more, longest_turn_s=self._worker.loop.longest_turn_s,
                                  **({"out": out} if out != self._out else {})))
        self._out = out
        self._send_records()

    def _send_records(self) -> None:
        records = [(box.kind, record) for box in self.boxes.values() for record in box.take()]
        if records:
            self._channel.send(answer("journal", records=records))


def _unchanged(kind: str, thing: Any, told: dict[str, Any] | None) -> bool:
    """Whether nothing of those that are many has changed: seen at a glance."""
    if kind == "route":
        if told is None:
            return not thing.bytes_in and not any(thing.status)
        return bool(told["bytes_in"] == thing.bytes_in and told["bytes_out"] == thing.bytes_out
                    and told["status"] == thing.status)
    if kind == "endpoint":
        if told is None:
            return not (thing.requests or thing.active or thing.connections or thing.connect_failures)
        return bool(told["requests"] == thing.requests and told["active"] == thing.active and told["status"] == thing.status
                    and told["connections"] == thing.connections and told["connect_failures"] == thing.connect_failures)
    return False


@implementer(ILogObserver)
class LogToControl:
    """Hands events of the process log over; `fallback` writes them where there is nobody to hand them to."""

    def __init__(self, fallback: Callable[[LogEvent], None]) -> None:
        self.channel: Channel | None = None
        self.least = LogLevel.info
        self.dropped = 0
        self._fallback = fallback

    def __call__(self, event: LogEvent) -> None:
        """One event. Never raises."""
        level = event.get("log_level", LogLevel.info)
        if level < self.least:
            return
        channel = self.channel
        if channel is None or channel.closed:
            self._fallback(event)
            return
        if channel.full:
            self.dropped += 1
            return
        try:
            text = event_text(event)
            failure = event.get("log_failure")
            trace = failure.getTraceback()[-_MOST_TEXT:] if failure is not None else ""
            name = event.get("event")
            channel.send(answer("log", level=level.name, namespace=str(event.get("log_namespace", "")), text=text[:_MOST_TEXT],
                                trace=trace, event=name if isinstance(name, str) else ""))
        except Exception:                   # a log must not end what is logged
            self._fallback(event)
