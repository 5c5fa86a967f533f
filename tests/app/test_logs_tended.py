"""The process log at a syslog daemon: what it could not take at once does not wait for the next event."""

from __future__ import annotations

import socket
import time
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.logs import TEND_S, Logs
from voltgw.observe.events import EventRing
from voltgw.observe.log import ProcessLog
from voltgw.observe.messages import StreamSink
from voltgw.observe.syslog import Rfc5424


class TendedTests(SynchronousTestCase):
    def test_one_line_by_tcp(self) -> None:
        """The first line makes the connection, and comes when that stands, though nothing is said after it."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        server.settimeout(5)
        process, clock = ProcessLog(), Clock()
        self.addCleanup(process.close)
        logs = Logs(process, EventRing(time.time), lambda: None, time.time, time.monotonic)
        logs.start(clock)
        self.assertEqual(clock.getDelayedCalls(), [])       # a file needs nobody
        sink = StreamSink(server.getsockname(), Rfc5424("daemon", "gw", "voltgw", "process", True), time.time, time.monotonic)
        process.turn_to(sink)
        logs._tend_later()
        event: dict[str, Any] = {"log_level": LogLevel.error, "log_namespace": "voltgw", "log_format": "the only one", "log_time": 0}
        process(event)
        taken, _ = server.accept()
        self.addCleanup(taken.close)
        taken.settimeout(5)
        clock.advance(TEND_S)
        self.assertIn(b"voltgw: the only one", taken.recv(4096))
        self.assertFalse(sink.blocked)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
