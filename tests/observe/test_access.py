"""The access log: batches, bounds, and what it does when it cannot write."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.observe.making import START, WALL, a_connection, access_log, an_exchange
from tests.observe.test_sink import Disk, read
from tests.support import interpreted_only
from voltgw.interfaces import AccessSink
from voltgw.observe.access import BATCH, INTERVAL_S, AccessLog
from voltgw.observe.sink import WriteTo
from voltgw.values.exchange import Exchange
from voltgw.values.record import ConnectionRecord


class AccessLogTests(SynchronousTestCase):
    """On a clock that the test moves; it ends with no timer left."""

    def setUp(self) -> None:
        """Time is as the records have it."""
        self.clock = Clock()
        self.clock.advance(START)
        self.wall = WALL - START            # wall clock minus the clock's seconds
        self.logs: list[AccessLog] = []

    def tearDown(self) -> None:
        """No timer may be left when the log is closed."""
        for log in self.logs:
            log.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def log(self, path: str | int | None = None, format: str = "json", write: WriteTo | None = None,
            queue_limit: int = 65_536) -> AccessLog:
        """A log that was started."""
        log = access_log(path or self.mktemp(), format, self.clock, lambda: self.clock.seconds() + self.wall,
                        site="paris", hostname="edge-1", write=write, queue_limit=queue_limit)
        log.start()
        self.logs.append(log)
        return log

    def test_the_hot_path_is_one_append(self) -> None:
        """What the data plane calls is the `append` of a list: no Python frame of ours runs."""
        log = self.log()
        sink: AccessSink = log
        self.assertIsInstance(sink.http.__self__, list)  # type: ignore[attr-defined]
        sink.http(an_exchange())
        sink.connection(a_connection())
        self.assertEqual((log.queued, log.outputs[0].sink.lines), (2, 0))

    def test_much_that_waits_is_written_at_once(self) -> None:
        """`relieve` writes one batch now; the rest and the timer stay as they were."""
        log = self.log()
        for _ in range(BATCH + 1):
            log.http(an_exchange())
        self.assertEqual(len(log.pending), BATCH + 1)
        log.relieve()
        self.assertEqual((log.queued, log.outputs[0].sink.lines), (1, BATCH))

    def test_lines_are_written_after_a_quarter_of_a_second(self) -> None:
        """One batch, one write; HTTP and TCP records in the order in which they came."""
        disk = Disk()
        log = self.log(write=disk)
        log.http(an_exchange())
        log.connection(a_connection())
        log.http(an_exchange())
        self.clock.advance(INTERVAL_S - 0.01)
        self.assertEqual(disk.calls, 0)
        self.clock.advance(0.02)
        self.assertEqual(disk.calls, 1)
        records = [json.loads(line) for line in disk.taken.splitlines()]
        self.assertEqual([record["proxy_type"] for record in records], ["http", "tcp", "http"])
        self.assertEqual(records[0]["time"], "2022-03-28T23:09:53.748Z")
        self.assertEqual((records[0]["site"], records[0]["hostname"]), ("paris", "edge-1"))

    def test_nothing_to_write(self) -> None:
        """An idle log makes no system call."""
        disk = Disk()
        self.log(write=disk)
        self.clock.pump([INTERVAL_S] * 20)
        self.assertEqual(disk.calls, 0)

    def test_a_burst(self) -> None:
        """More than a batch is written in several turns, one right after the other, each with one write."""
        disk = Disk()
        log = self.log(write=disk)
        for _ in range(BATCH * 3 + 10):
            log.http(an_exchange())
        turns: list[float] = []
        later = self.clock.callLater

        def noted(delay: float, *call: Any) -> Any:
            turns.append(delay)
            return later(delay, *call)

        self.patch(self.clock, "callLater", noted)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(disk.lines, [BATCH, BATCH, BATCH, 10])
        self.assertEqual(turns[:3], [0, 0, 0])
        self.assertEqual((log.queued, log.outputs[0].sink.lines), (0, BATCH * 3 + 10))

    def test_what_is_kept_of_lines(self) -> None:
        """Pieces of former lines are kept for the next batch, and let go of after `INTERVAL_S`, though nothing more comes."""
        log = self.log()
        lines = log.outputs[0]._lines
        clients: Any = lines._clients       # type: ignore[attr-defined]
        log.http(an_exchange())
        log.relieve()                       # the first batch forgets
        for _ in range(3):
            log.http(an_exchange())
            log.relieve()
        self.assertEqual(len(clients), 3)
        self.clock.advance(INTERVAL_S)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(clients), 0)

    def test_steady_traffic(self) -> None:
        """At 20,000 requests a second batches come as often as `BATCH` records gather, and hold about so many."""
        disk = Disk()
        log = self.log(write=disk)
        exchange = an_exchange()
        waiting = []
        for _ in range(2000):
            for _ in range(20):
                log.http(exchange)
            self.clock.advance(0.001)
            waiting.append(log.queued)
        self.assertLess(max(waiting[1000:]), BATCH * 2)
        self.assertLess(disk.calls, 40_000 // BATCH * 3)

    def test_slow_formatting_ends_a_batch(self) -> None:
        """When records take long to format, a turn ends after some milliseconds and the next one goes on."""
        log = self.log()
        (output,) = log.outputs
        lines = output._lines

        class Slow:
            """Takes half a millisecond a record."""

            def http(this, exchange: Exchange, offset: float) -> str:
                """Time passes."""
                self.clock.advance(0.0005)
                return lines.http(exchange, offset)

            def connection(this, record: ConnectionRecord, offset: float) -> str:
                """As it was."""
                return lines.connection(record, offset)

            def forget(this) -> None:
                """As it was."""
                lines.forget()

        output._lines = Slow()
        for _ in range(100):
            log.http(an_exchange())
        log._batch(0.004)
        self.assertEqual(log.queued, 100 - 32)

    def test_more_than_the_queue_takes(self) -> None:
        """The newest beyond the bound are dropped and counted; the oldest are written."""
        log = self.log(queue_limit=100)
        for number in range(150):
            log.http(an_exchange(b"/%d" % number))
        self.clock.advance(INTERVAL_S)
        self.assertEqual((log.outputs[0].sink.lines, log.dropped_queue, log.dropped), (100, 50, 50))
        self.assertEqual(self.flushLoggedErrors(), [])

    @interpreted_only
    def test_a_record_that_cannot_be_formatted(self) -> None:
        """A bug costs its own line alone, is counted, and stands in the log once."""
        log = self.log()
        for number in range(4):
            exchange = an_exchange()
            if number % 2:
                exchange.request_id = None  # type: ignore[assignment]  # the bug
            log.http(exchange)
        self.clock.advance(INTERVAL_S)
        self.assertEqual((log.outputs[0].sink.lines, log.outputs[0].dropped_format), (2, 2))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_a_full_disk(self) -> None:
        """Lines are kept as far as they may, then dropped and counted; with room again, writing goes on by itself."""
        disk = Disk(room=100)
        log = self.log(write=disk)
        sink: Any = log.outputs[0].sink
        sink.tail_bytes = 10_000
        for _ in range(40):
            log.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        self.assertEqual(log.outputs[0].sink.problem, os.strerror(errno.ENOSPC))
        self.assertGreater(log.outputs[0].sink.dropped_failed, 0)
        disk.room = 1 << 20
        self.clock.pump([INTERVAL_S])
        self.assertEqual((log.outputs[0].sink.problem, log.outputs[0].sink.blocked), ("", False))
        written = [json.loads(line) for line in disk.taken.splitlines()]
        self.assertEqual(len(written) + log.dropped, 40)

    def test_a_full_pipe_is_tried_again_soon(self) -> None:
        """10 ms later, then more and more seldom, so that a reader that is a moment late costs nothing."""
        disk = Disk(room=0, error=errno.EAGAIN)
        log = self.log(write=disk)
        log.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        calls = disk.calls
        self.clock.pump([0.01] * 100)
        self.assertEqual(disk.calls - calls, 7)
        disk.room = 1 << 20
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(disk.taken.splitlines()), 1)
        self.assertEqual(log.dropped, 0)

    def test_trouble_is_told_once_and_its_end_too(self) -> None:
        """The process log hears of lost lines and of the end of it, not of every batch."""
        events: list[str] = []
        disk = Disk(room=0)
        log = self.log(write=disk)

        @implementer(ILogObserver)
        def heard(event: LogEvent) -> None:
            events.append(event["log_format"])

        self.patch(AccessLog, "_log", Logger("access", observer=heard))
        for _ in range(20):
            log.http(an_exchange())
            self.clock.advance(INTERVAL_S)
        disk.room = 1 << 20
        self.clock.pump([INTERVAL_S] * 5)
        self.assertEqual(len(events), 2)
        self.assertIn("loses lines", events[0])
        self.assertIn("written again", events[1])
        disk.room = 0                       # again, within the minute
        log.http(an_exchange())
        self.clock.pump([INTERVAL_S] * 5)
        self.assertEqual(len(events), 2)

    def test_the_wall_clock_is_set_back(self) -> None:
        """Lines of the next batch have the new time; batches do not come later."""
        disk = Disk()
        log = self.log(write=disk)
        self.wall -= 3600
        log.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        self.assertEqual(json.loads(disk.taken)["time"], "2022-03-28T22:09:53.748Z")

    def test_rotation(self) -> None:
        """After `reopen` lines go to a new file of the name; a failure is counted and keeps the old one."""
        path = self.mktemp()
        log = self.log(path)
        log.http(an_exchange(b"/one"))
        self.clock.advance(INTERVAL_S)
        os.rename(path, path + ".1")
        self.assertTrue(log.reopen())
        log.http(an_exchange(b"/two"))
        self.clock.advance(INTERVAL_S)
        self.assertIn(b"/one", read(path + ".1"))
        self.assertIn(b"/two", read(path))
        os.unlink(path)
        os.mkdir(path)
        self.assertFalse(log.reopen())
        self.assertEqual(log.reopen_failures, 1)

    def test_close_writes_what_waits(self) -> None:
        """However much it is, at once."""
        path = self.mktemp()
        log = self.log(path, "text")
        for _ in range(BATCH * 2 + 1):
            log.http(an_exchange())
        log.close()
        self.assertEqual(read(path).count(b"\n"), BATCH * 2 + 1)

    def test_the_view(self) -> None:
        """The admin page shows what was lost and why."""
        log = self.log(queue_limit=1)
        log.http(an_exchange())
        log.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        view = log.view()
        self.assertEqual(view["dropped"], {"queue": 1, "format": 0, "blocked": 0, "failed": 0})
        self.assertEqual((view["lines"], view["queued"], view["problem"]), (1, 0, ""))
