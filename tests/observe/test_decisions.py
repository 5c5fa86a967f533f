"""Decisions as data, as text, and as sentences in the access log; samples; exchanges on their way to the journal."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, a_connection, access_log, an_exchange
from voltgw.errors import Place
from voltgw.interfaces import AccessSink
from voltgw.observe.access import INTERVAL_S
from voltgw.observe.decisions import plain_reason, sentences, text_of
from voltgw.observe.feed import QUEUE_LIMIT, JournalFeed
from voltgw.observe.sampling import sampled
from voltgw.values.exchange import Exchange
from voltgw.values.reason import Reason

ROUTE = Reason("route", "shop/1", "the first that matches", Place("a.yaml", 3, 7), (
    Reason("rule shop/0", "does not match", "the path is not /old"), Reason("rule shop/1", "matches")))


class WordsTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """What is not known is left out."""
        self.assertEqual(plain_reason(ROUTE), {
            "about": "route", "outcome": "shop/1", "why": "the first that matches", "place": "a.yaml:3:7",
            "steps": [{"about": "rule shop/0", "outcome": "does not match", "why": "the path is not /old"},
                      {"about": "rule shop/1", "outcome": "matches"}]})

    def test_text(self) -> None:
        """Columns among neighbours, steps below what they led to; a long value does not push the others away."""
        self.assertEqual(text_of([plain_reason(ROUTE), {"about": "x" * 60, "outcome": "y"}, {"about": "", "outcome": "alone"}]), (
            "route  shop/1  the first that matches  [a.yaml:3:7]\n"
            "  rule shop/0  does not match  the path is not /old\n"
            "  rule shop/1  matches\n"
            f"{'x' * 60}  y\n"
            "alone"))

    def test_sentences(self) -> None:
        """One for each decision, in their order; at most so many, and none without end."""
        self.assertEqual(sentences([ROUTE, Reason("answer", "200")]), [
            "route shop/1: the first that matches", "rule shop/0 does not match: the path is not /old", "rule shop/1 matches",
            "answer 200"])
        many = sentences([Reason("rule", str(number), "x" * 1000) for number in range(50)], 10)
        self.assertEqual((len(many), many[-1], max(map(len, many))), (10, "and 41 more", 256))


class SampleTests(SynchronousTestCase):
    def test_shares(self) -> None:
        """About as many as asked for, of ids that count up; none for 0, all for 1; larger samples hold the smaller ones."""
        ids = [b"f282cd42-4c86-4fd8-8d57-%012x" % (0xF90E43E1C9A5 + number) for number in range(20_000)]
        for share, least, most in ((0.0, 0, 0), (0.01, 140, 260), (0.5, 9_700, 10_300), (1.0, 20_000, 20_000)):
            count = sum(sampled(each, share) for each in ids)
            self.assertTrue(least <= count <= most, (share, count))
        self.assertTrue(all(sampled(each, 0.2) for each in ids if sampled(each, 0.1)))


class Noted:
    """A journal that keeps the objects."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.broken = False

    def note(self, exchange: Exchange, /) -> None:
        """Keep it."""
        if self.broken:
            raise RuntimeError("a bug")
        self.exchanges.append(exchange)


class ClockCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.journal = Noted()


class FeedTests(ClockCase):
    def feed(self) -> JournalFeed:
        """One that was started; it leaves no timer."""
        feed = JournalFeed(self.journal, self.clock)
        feed.start()

        def close() -> None:
            feed.close()
            self.assertEqual(self.clock.getDelayedCalls(), [])

        self.addCleanup(close)
        return feed

    def test_in_batches(self) -> None:
        """The data plane's call is an append; exchanges reach the journal later, in their order; connections do not."""
        feed = self.feed()
        sink: AccessSink = feed
        self.assertIsInstance(sink.http.__self__, list)  # type: ignore[attr-defined]
        exchanges = [an_exchange() for _ in range(200)]
        for exchange in exchanges:
            sink.http(exchange)
        sink.connection(a_connection())
        self.assertEqual((self.journal.exchanges, len(feed.pending)), ([], 200))
        self.clock.advance(INTERVAL_S)
        self.assertEqual((self.journal.exchanges, len(feed.pending)), (exchanges, 0))

    def test_relief(self) -> None:
        """When much waits, the loop has it taken before the timer comes."""
        feed = self.feed()
        feed.http(an_exchange())
        feed.relieve()
        self.assertEqual((len(self.journal.exchanges), len(feed.pending)), (1, 0))

    def test_bounds(self) -> None:
        """What is beyond the bound is dropped, the newest first."""
        feed = self.feed()
        first = an_exchange()
        for _ in range(QUEUE_LIMIT + 10):
            feed.http(first)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.journal.exchanges), QUEUE_LIMIT)

    def test_a_failure(self) -> None:
        """It is logged, and the feed goes on."""
        feed = self.feed()
        self.journal.broken = True
        feed.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.journal.broken = False
        feed.http(an_exchange())
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.journal.exchanges), 1)


class ExplainedLogTests(ClockCase):
    def lines(self, format: str, share: float, explain: bool = True) -> list[str]:
        """What 400 exchanges with ids of their own are in the log."""
        path = self.mktemp()
        log = access_log(path, format, self.clock, lambda: WALL, journal=self.journal,
                        explain=(lambda exchange: [ROUTE]) if explain else None, explain_share=share)
        for number in range(400):
            exchange = an_exchange()
            exchange.request_id = b"f282cd42-4c86-4fd8-8d57-%012x" % number
            log.http(exchange)
        log.connection(a_connection())
        log.close()
        with open(path, encoding="ascii") as file:
            return file.read().splitlines()

    def test_a_sample_says_why(self) -> None:
        """That part of the records has the key, last, as sentences; the rest has not."""
        records = [json.loads(line) for line in self.lines("json", 0.25)]
        explained = [record for record in records if "explain" in record]
        self.assertTrue(70 <= len(explained) <= 130, len(explained))
        for record in explained:
            self.assertEqual(list(record)[-1], "explain")
            self.assertEqual(record["explain"], sentences([ROUTE]))
            self.assertTrue(sampled(record["req_id"].encode(), 0.25))

    def test_nobody_asked_for_it(self) -> None:
        """Without a share, as text, and without anybody to say why, lines are as they were."""
        plain = self.lines("json", 0.0)
        self.assertFalse(any("explain" in line for line in plain))
        self.assertEqual(self.lines("json", 1.0, explain=False), plain)
        self.assertFalse(any("rule shop/0" in line for line in self.lines("text", 1.0)))

    def test_the_journal_gets_every_exchange(self) -> None:
        """Whatever the format, and nothing of connections."""
        self.lines("text", 0.0)
        self.assertEqual(len(self.journal.exchanges), 400)
