"""The process log."""

from __future__ import annotations

import json
import os

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.observe.test_sink import Disk
from voltgw.observe.log import ProcessLog


class Broken:
    """A thing whose repr is a bug."""

    def __repr__(self) -> str:
        raise ValueError("no")


class ProcessLogTests(SynchronousTestCase):
    """Events to lines."""

    def log(self, format: str = "text", level: str = "info") -> tuple[ProcessLog, Logger, Disk]:
        """A log, a logger that writes to it, and what was written."""
        disk = Disk()
        log = ProcessLog(self.mktemp(), format, level, write=disk)
        self.addCleanup(log.close)
        return log, Logger("voltgw.cluster", observer=log), disk

    def test_it_is_an_observer(self) -> None:
        """Twisted may begin logging to it."""
        self.assertTrue(verifyObject(ILogObserver, self.log()[0]))

    def test_text(self) -> None:
        """Time, level, who, what."""
        log, _, disk = self.log()
        log({"log_time": 1648508993.748, "log_level": LogLevel.warn, "log_namespace": "voltgw.a",
             "log_format": "{cluster} is {state}", "cluster": "default/shop", "state": "up"})
        self.assertEqual(disk.taken, b"2022-03-28T23:09:53.748Z warn     voltgw.a: default/shop is up\n")

    def test_json(self) -> None:
        """The event's own fields are keys of their own; what is no number or text is shown."""
        _, logger, disk = self.log("json")
        logger.info("{cluster} is up", cluster="default/shop", count=3, ratio=0.5, odd=float("nan"), peer=b"\xff", no=None)
        record = json.loads(disk.taken)
        self.assertEqual({name: record[name] for name in ("level", "logger", "message", "cluster", "count", "ratio", "odd",
                                                          "peer", "no")},
                         {"level": "info", "logger": "voltgw.cluster", "message": "default/shop is up",
                          "cluster": "default/shop", "count": 3, "ratio": 0.5, "odd": "nan", "peer": "b'\\xff'", "no": None})
        self.assertEqual(disk.taken.count(b"\n"), 1)

    def test_a_failure(self) -> None:
        """The traceback follows, indented in text, inside the line in JSON."""
        for format in ("text", "json"):
            _, logger, disk = self.log(format)
            try:
                raise ZeroDivisionError("by nothing")
            except ZeroDivisionError:
                logger.failure("it went wrong")
            if format == "text":
                first, *rest = disk.taken.decode().splitlines()
                self.assertIn("critical voltgw.cluster: it went wrong: ZeroDivisionError: by nothing", first)
                self.assertIn("test_a_failure", "".join(rest))
                self.assertTrue(all(line.startswith("    ") for line in rest))
            else:
                self.assertEqual(disk.taken.count(b"\n"), 1)
                record = json.loads(disk.taken)
                self.assertEqual(record["message"], "it went wrong: ZeroDivisionError: by nothing")
                self.assertIn("test_a_failure", record["traceback"])

    def test_levels(self) -> None:
        """Less than the level is not written; the level can change while it runs."""
        log, logger, disk = self.log(level="warn")
        logger.info("one")
        logger.warn("two")
        log.set_level("debug")
        logger.debug("three")
        log.set_level("error")
        logger.warn("four")
        logger.error("five")
        self.assertEqual([line.rsplit(b" ", 1)[1] for line in disk.taken.splitlines()], [b"two", b"three", b"five"])
        self.assertEqual(log.level, "error")

    def test_twisteds_own_notes(self) -> None:
        """Its chatter is shown only on ``debug``, its warnings and errors always."""
        log, _, disk = self.log()
        twisted = Logger("twisted.internet.tcp", observer=log)
        legacy = Logger("log_legacy", observer=log)
        twisted.info("Site starting on 9901")
        legacy.info("(TCP Port 9901 Closed)")
        self.assertEqual(disk.taken, b"")
        twisted.critical("Unhandled error in Deferred:")
        log.set_level("debug")
        twisted.info("shown")
        self.assertEqual(disk.taken.count(b"\n"), 2)

    def test_a_value_that_tries_to_begin_a_line(self) -> None:
        """Line feeds and escape sequences of a peer do not reach the log as such."""
        _, logger, disk = self.log()
        logger.info("peer said {what}", what="a\n2022 error: \x1b[2J\u2028b")
        self.assertEqual(disk.taken.count(b"\n"), 1)
        self.assertIn(b"a\\n2022 error: \\x1b[2J\\u2028b", disk.taken)

    def test_secrets_in_urls(self) -> None:
        """They are hidden in messages, fields and tracebacks."""
        _, logger, disk = self.log("json")
        try:
            raise ValueError("GET /a?token=S3cret failed")
        except ValueError:
            logger.failure("{url} failed", url="/b?x=1&password=S3cret")
        self.assertNotIn(b"S3cret", disk.taken)
        self.assertIn(b"token=***", disk.taken)

    def test_events_that_are_broken(self) -> None:
        """Whatever an event holds, the observer does not raise, and something is written."""
        for format in ("text", "json"):
            log, logger, disk = self.log(format)
            logger.info("{thing}", thing=Broken())
            logger.info("{missing}")
            logger.info("{", a="\ud800")
            log({"log_level": LogLevel.error, "log_namespace": "voltgw", "log_format": "no time"})
            log({})
            self.assertEqual(disk.taken.count(b"\n"), 4)

    def test_an_event_from_inside_the_log(self) -> None:
        """An event that comes while a line is written (from a thread, or a destructor) is written after it."""
        lines: list[bytes] = []

        def write(fd: int, data: bytes) -> int:
            lines.append(data)
            if len(lines) == 1:
                logger.info("second")
            return len(data)

        log = ProcessLog(self.mktemp(), write=write)
        self.addCleanup(log.close)
        logger = Logger("voltgw", observer=log)
        logger.info("first")
        self.assertEqual([line.rsplit(b" ", 1)[1] for line in lines], [b"first\n", b"second\n"])

    def test_a_full_disk(self) -> None:
        """Nothing is raised; lines are counted."""
        disk = Disk(room=0)
        log = ProcessLog(self.mktemp(), write=disk)
        self.addCleanup(log.close)
        logger = Logger("voltgw", observer=log)
        for _ in range(3000):
            logger.info("x" * 1000)
        self.assertGreater(log.sink.dropped_failed, 1000)

    def test_rotation(self) -> None:
        """`reopen` begins a new file."""
        path = self.mktemp()
        log = ProcessLog(path)
        self.addCleanup(log.close)
        logger = Logger("voltgw", observer=log)
        logger.info("one")
        os.rename(path, path + ".1")
        self.assertTrue(log.reopen())
        logger.info("two")
        with open(path, "rb") as file:
            self.assertTrue(file.read().endswith(b"two\n"))

    def test_unknown_words(self) -> None:
        """A level or format that is none is refused with those that are."""
        self.assertIn("debug, info, warn", str(self.assertRaises(ValueError, self.log, "text", "loud")))
        self.assertIn("text, json", str(self.assertRaises(ValueError, self.log, "xml")))
        log = self.log()[0]
        self.assertRaises(ValueError, log.set_level, "INFO")
        self.assertEqual(log.level, "info")

