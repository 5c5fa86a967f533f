"""The access log: one append on the hot path; formatting and writing in batches, beside the traffic.

The data plane calls ``access.http(exchange)`` and ``access.connection(record)``. Both names are the bound `append` of
one list: no frame of ours runs and nothing is counted there. Everything else happens on the clock. After at most
`INTERVAL_S`, and sooner when `BATCH` records gather sooner, a batch is formatted and written with one system call. A
batch ends at `BATCH` records or after `SLICE_S`, and a turn of the reactor has one: no request waits for the log.

When the log falls behind, it loses lines, never requests: beyond `queue_limit` records the newest are dropped, and what
the sink cannot take is dropped there; each is counted by its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.observe.explained import Explain, ExplainedLines
from voltgw.observe.fields import ACCESS_FIELDS, AccessField
from voltgw.observe.json_lines import Find, JsonLines
from voltgw.observe.lines import Lines
from voltgw.observe.sink import Sink, WriteTo
from voltgw.observe.text_lines import TextLines
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.interfaces import Journal
    from voltgw.values.record import ConnectionRecord

__all__ = ["ACCESS_FIELDS", "AccessField", "AccessLog", "Explain", "Find"]

#: How long a record waits at most, when nothing is behind, before its line is written.
INTERVAL_S: Final = 0.25
#: Records that are formatted and written at once: some 2 ms of work.
BATCH: Final = 512
#: A batch ends after this much time at the latest, so that a turn stays below 5 ms; asked every `_CHECK` records.
SLICE_S: Final = 0.004
_CHECK: Final = 32
#: Records that may wait to be formatted; they hold the heads of their requests, some kilobytes each.
QUEUE_LIMIT: Final = 65_536
#: First pause before a blocked sink is tried again (it doubles), and shortest pause between two batches.
_RETRY_S: Final = 0.01
#: Trouble is told at most this often: a reader that is a little too slow would fill the process log instead.
_QUIET_S: Final = 60.0

FORMATS: Final = ("json", "text")


class AccessLog:
    """Takes finished exchanges and ended connections and writes their lines; an `interfaces.AccessSink`.

    `clock` must be the monotonic clock whose seconds the records hold; `wall` gives seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self, path: str | int, format: str, clock: IReactorTime, wall: Callable[[], float], *, site: str = "local",
        hostname: str = "", network: str = "site-local-vn", queue_limit: int = QUEUE_LIMIT,
        write: WriteTo | None = None, journal: Journal | None = None, explain: Explain | None = None,
        explain_share: float = 0.0, find: Find | None = None,
    ) -> None:
        """Open `path` (``-`` = standard output); `format` is ``json`` or ``text``.

        `find` says where an address is, which JSON records have then. `journal` is handed every exchange whose line is
        written. `explain` says why an exchange went where it went; with `explain_share` (0 to 1) that stands in this part
        of the records, if they are JSON.

        Raises OSError when the file cannot be opened and ValueError for another format. `write` stands for os.write.
        """
        if format not in FORMATS:
            raise ValueError(f"an access log is written as one of {', '.join(FORMATS)}, not as {format!r}")
        self.sink = Sink(path, write=write)
        self.queue_limit = queue_limit
        self.dropped_queue = 0              # records that were not formatted: they came faster than that goes
        self.dropped_format = 0             # records that could not be formatted: bugs, all of them
        self.reopen_failures = 0
        self._lines: Lines = JsonLines(site, hostname, network, find) if format == "json" else TextLines()
        if format == "json" and explain is not None and explain_share:
            self._lines = ExplainedLines(self._lines, explain, explain_share)
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._pending: list[Exchange | ConnectionRecord] = []
        self._call: IDelayedCall | None = None
        self._since = 0.0                   # when the queue was empty last,
        self._taken = 0                     # and how many records were taken from it since
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
        problem = self.sink.reopen()
        if problem:
            self.reopen_failures += 1
            self._log.error("the access log cannot be opened again, the old file stays in use: {problem}",
                            problem=problem, event="access_log.not_reopened")
        return not problem

    def close(self) -> None:
        """Write everything that waits, at once, and stop. What comes later is never written."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        while self._pending:
            self._batch(limit_s=float("inf"))
        self.sink.close()

    @property
    def queued(self) -> int:
        """Records that wait to be formatted."""
        return len(self._pending)

    @property
    def dropped(self) -> int:
        """Lines lost so far, for whatever reason."""
        return self.dropped_queue + self.dropped_format + self.sink.dropped_blocked + self.sink.dropped_failed

    def view(self) -> dict[str, Any]:
        """The log's own state, for the admin page: plain values."""
        sink = self.sink
        return {
            "lines": sink.lines, "bytes": sink.bytes, "queued": self.queued, "problem": sink.problem,
            "dropped": {"queue": self.dropped_queue, "format": self.dropped_format, "blocked": sink.dropped_blocked,
                        "failed": sink.dropped_failed},
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
        elif self.sink.blocked:
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
        return min(max(elapsed * BATCH / taken, _RETRY_S), INTERVAL_S) if taken else INTERVAL_S

    def _batch(self, limit_s: float) -> None:
        """Format and write up to `BATCH` records."""
        pending = self._pending
        over = len(pending) - self.queue_limit
        if over > 0:
            del pending[self.queue_limit:]
            self.dropped_queue += over
        if pending:
            texts = self._format(pending[:BATCH], limit_s)
            self.sink.write("".join(texts).encode("ascii"), len(texts))
        elif self.sink.blocked:
            self.sink.flush()
        self._tell()

    def _format(self, records: list[Exchange | ConnectionRecord], limit_s: float) -> list[str]:
        """Format records until `limit_s` is over, and take those from the queue."""
        seconds = self._clock.seconds
        began = seconds()
        offset = self._wall() - began       # anew for each batch: the wall clock may be set
        http, connection = self._lines.http, self._lines.connection
        note = None if self._journal is None else self._journal.note
        texts: list[str] = []
        done = 0
        for record in records:
            try:
                texts.append(http(record, offset) if type(record) is Exchange
                             else connection(record, offset))  # type: ignore[arg-type]  # there are only these two
            except Exception:
                if not self.dropped_format:
                    self._log.failure("a record of the access log could not be formatted; others will only be counted")
                self.dropped_format += 1
            if note is not None and type(record) is Exchange:
                note(record)
            done += 1
            if not done % _CHECK and seconds() - began > limit_s:
                break
        del self._pending[:done]
        self._taken += done
        self._lines.forget()
        return texts

    def _tell(self) -> None:
        """Say once that lines are lost or writes fail, and once that it is over."""
        lost, failures = self.dropped, self.sink.failures
        worse = lost != self._lost or failures != self._failures
        self._lost, self._failures = lost, failures
        if self._troubled:
            if not worse and not self.sink.problem:
                self._troubled = False
                self._log.info("the access log is written again; {lost} lines were lost so far", lost=lost,
                               event="access_log.written")
        elif worse and self._clock.seconds() >= self._quiet_until:
            self._troubled = True
            self._quiet_until = self._clock.seconds() + _QUIET_S
            self._log.error("the access log loses lines: {problem}; {lost} were lost so far", lost=lost,
                            problem=self.sink.problem or "records come faster than they are written", event="access_log.loses")
