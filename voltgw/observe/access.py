"""The access log: one append on the hot path; formatting and writing in batches, beside the traffic.

The data plane calls ``access.http(exchange)`` and ``access.connection(record)``. Both names are the bound `append` of
one list: no frame of ours runs and nothing is counted there. Everything else happens on the clock. After at most
`INTERVAL_S`, and sooner when `BATCH` records gather sooner, a batch is formatted and written with one system call. A
batch ends at `BATCH` records or after `SLICE_S`, and a turn of the reactor has one: no request waits for the log.

When the log falls behind, it loses lines, never requests: beyond `queue_limit` records the newest are dropped, and what
the sink cannot take is dropped there; each is counted by its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.logger import Logger

from voltgw.observe.explained import Explain
from voltgw.observe.fields import ACCESS_FIELDS, AccessField
from voltgw.observe.json_lines import Find
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.interfaces import Journal
    from voltgw.observe.outputs import Output
    from voltgw.values.record import ConnectionRecord

__all__ = ["ACCESS_FIELDS", "AccessField", "AccessLog", "Explain", "Find"]

#: How long a record waits at most, when nothing is behind, before its line is written.
INTERVAL_S: Final = 0.25
#: Records that are formatted and written at once, some 0.3 ms of work: whoever comes meanwhile waits for it.
BATCH: Final = 64
#: A batch ends after this much time at the latest, so that a turn stays below 5 ms; asked every `_CHECK` records.
SLICE_S: Final = 0.004
_CHECK: Final = 32
#: Lines for which pieces of former lines are kept (connections, routes, endpoints), if `INTERVAL_S` is not over before.
_REMEMBERED: Final = 1024
#: Records that may wait to be formatted; they hold the heads of their requests, some kilobytes each.
QUEUE_LIMIT: Final = 65_536
#: First pause before a blocked sink is tried again (it doubles).
_RETRY_S: Final = 0.01
#: Shortest pause between two batches.
_PAUSE_S: Final = 0.002
#: Trouble is told at most this often: a reader that is a little too slow would fill the process log instead.
_QUIET_S: Final = 60.0

class AccessLog:
    """Takes finished exchanges and ended connections and writes their lines to every one of `outputs`; an
    `interfaces.AccessSink`.

    `clock` must be the monotonic clock whose seconds the records hold; `wall` gives seconds since the epoch.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self, outputs: Sequence[Output], clock: IReactorTime, wall: Callable[[], float], *, queue_limit: int = QUEUE_LIMIT,
        journal: Journal | None = None,
    ) -> None:
        """`journal` is handed every exchange that is over, whether its line is written anywhere or not; if it has a method
        `relayed`, that is handed connections.
        """
        self.outputs = tuple(outputs)
        self.queue_limit = queue_limit
        self.quiet: frozenset[str] = frozenset()    # virtual hosts (namespace/name) of which nothing is written
        self.dropped_queue = 0              # records that were not formatted: they came faster than that goes
        self.reopen_failures = 0
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._pending: list[Exchange | ConnectionRecord] = []
        self._call: IDelayedCall | None = None
        self._since = 0.0                   # when the queue was empty last,
        self._taken = 0                     # and how many records were taken from it since
        self._forget_at = 0.0               # when outputs let go of pieces of former lines,
        self._lines_left = _REMEMBERED      # or after so many more
        self._retry_s = _RETRY_S
        self._lost = 0                      # lines lost and writes failed, as of the last batch
        self._failures = 0
        self._troubled = False              # we said that something is wrong, and not yet that it is over
        self._quiet_until = self._since
        self.http: Callable[[Exchange], None] = self._pending.append
        self.connection: Callable[[ConnectionRecord], None] = self._pending.append

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self._since = self._clock.seconds()
        self._call = self._clock.callLater(INTERVAL_S, self._turn)

    @property
    def pending(self) -> Sized:
        """The records that wait, for whoever watches how many they are."""
        return self._pending

    def relieve(self) -> None:
        """Write a batch now, because much waits; the next one is due as before."""
        try:
            self._batch(limit_s=SLICE_S)
        except Exception:                   # as in `_turn`
            self._log.failure("a batch of the access log failed")

    def reopen(self) -> bool:
        """Open the file by its name again, after it was rotated; False = that failed, the old one stays in use."""
        good = True
        for output in self.outputs:
            problem = output.sink.reopen()
            if problem:
                good = False
                self.reopen_failures += 1
                self._log.error("the access log {name} cannot be opened again, the old file stays in use: {problem}",
                                name=output.name, problem=problem, event="access_log.not_reopened")
        return good

    def close(self) -> None:
        """Write everything that waits, at once, and stop. What comes later is never written."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        while self._pending:
            self._batch(limit_s=float("inf"))
        for output in self.outputs:
            output.sink.close()

    @property
    def queued(self) -> int:
        """Records that wait to be formatted."""
        return len(self._pending)

    @property
    def dropped(self) -> int:
        """Lines lost so far, for whatever reason."""
        return self.dropped_queue + sum(output.dropped for output in self.outputs)

    @property
    def problem(self) -> str:
        """What is wrong now with the first of the logs that something is wrong with; "" = nothing."""
        return next((output.sink.problem for output in self.outputs if output.sink.problem), "")

    @property
    def failures(self) -> int:
        """Writes that failed."""
        return sum(output.sink.failures for output in self.outputs)

    @property
    def blocked(self) -> bool:
        """Whether something waits to be written."""
        return any(output.sink.blocked for output in self.outputs)

    def view(self) -> dict[str, Any]:
        """The log's own state, for the admin page: plain values, of all logs together and of each."""
        outputs = self.outputs
        return {
            "lines": sum(output.sink.lines for output in outputs), "bytes": sum(output.sink.bytes for output in outputs),
            "queued": self.queued, "problem": self.problem,
            "dropped": {"queue": self.dropped_queue, "format": sum(output.dropped_format for output in outputs),
                        "blocked": sum(output.sink.dropped_blocked for output in outputs),
                        "failed": sum(output.sink.dropped_failed for output in outputs)},
            "logs": [output.view() for output in outputs],
        }

    # -- batches ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Write one batch and decide when the next one is due."""
        try:
            self._batch(limit_s=SLICE_S)
        except Exception:                   # this must go on whatever happens; a failure of the log is no one's request
            self._log.failure("a batch of the access log failed")
        if self._pending:
            delay = 0.0                     # the rest of a burst: in the next turn
        elif self.blocked:
            delay = self._retry_s
            self._retry_s = min(delay * 2, INTERVAL_S)
        else:
            delay = self._pause()
            self._retry_s = _RETRY_S
        self._call = self._clock.callLater(delay, self._turn)

    def _pause(self) -> float:
        """How long `BATCH` records take to gather at the present rate: more traffic means more batches, not larger ones."""
        now = self._clock.seconds()
        elapsed, self._since = now - self._since, now
        taken, self._taken = self._taken, 0
        return min(max(elapsed * BATCH / taken, _PAUSE_S), INTERVAL_S) if taken else INTERVAL_S

    def _batch(self, limit_s: float) -> None:
        """Format and write up to `BATCH` records."""
        pending = self._pending
        over = len(pending) - self.queue_limit
        if over > 0:
            del pending[self.queue_limit:]
            self.dropped_queue += over
        if pending:
            self._format(pending[:BATCH], limit_s)
        forgets = self._forgets()
        for output in self.outputs:
            if forgets:
                output.forget()
            output.deliver()
        self._tell()

    def _forgets(self) -> bool:
        """Whether it is time to let go of what former lines were made of: no ended connection is kept alive for long."""
        now = self._clock.seconds()
        if self._lines_left > 0 and now < self._forget_at:
            return False
        self._lines_left, self._forget_at = _REMEMBERED, now + INTERVAL_S
        return True

    def _format(self, records: list[Exchange | ConnectionRecord], limit_s: float) -> None:
        """Format records until `limit_s` is over, and take those from the queue."""
        seconds = self._clock.seconds
        began = seconds()
        offset = self._wall() - began       # anew for each batch: the wall clock may be set
        note = None if self._journal is None else self._journal.note
        quiet = self.quiet
        done = 0
        while done < len(records):
            some = records[done:done + _CHECK]
            done += len(some)
            loud = [record for record in some if not _is_of(record, quiet)] if quiet else some
            for output in self.outputs:
                output.take(loud, offset)
            if note is not None:
                for record in some:
                    if type(record) is Exchange:
                        note(record)
            if seconds() - began > limit_s:
                break
        del self._pending[:done]
        self._taken += done
        self._lines_left -= done

    def _tell(self) -> None:
        """Say once that lines are lost or writes fail, and once that it is over."""
        lost, failures, problem = self.dropped, self.failures, self.problem
        worse = lost != self._lost or failures != self._failures
        self._lost, self._failures = lost, failures
        if self._troubled:
            if not worse and not problem:
                self._troubled = False
                self._log.info("the access log is written again; {lost} lines were lost so far", lost=lost,
                               event="access_log.written")
        elif worse and self._clock.seconds() >= self._quiet_until:
            self._troubled = True
            self._quiet_until = self._clock.seconds() + _QUIET_S
            self._log.error("the access log loses lines: {problem}; {lost} were lost so far", lost=lost,
                            problem=problem or "records come faster than they are written", event="access_log.loses")


def _is_of(record: Exchange | ConnectionRecord, hosts: frozenset[str]) -> bool:
    route = record.route
    return route is not None and f"{route.host.namespace}/{route.host.name}" in hosts
