"""What is remembered of past requests, and how much of it."""

from __future__ import annotations

import gc
import json
import weakref
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, Client, Endpoint, an_exchange
from voltgw.app.journal import Journal
from voltgw.observe.decisions import text_of
from voltgw.observe.sampling import sampled
from voltgw.values.exchange import Exchange
from voltgw.values.reason import Reason
from voltgw.values.trace import Trace


def numbered(number: int, flag: str = "", status: int = 200, target: bytes = b"/cart") -> Exchange:
    """An exchange with an id of its own."""
    exchange = an_exchange(target)
    exchange.request_id = b"f282cd42-4c86-4fd8-8d57-%012x" % number
    exchange.flag, exchange.response_code = flag, status
    return exchange


class JournalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = START
        self.journal = self.make()

    def make(self, **options: object) -> Journal:
        """A journal whose wall clock stands at the monotonic one's."""
        return Journal(lambda: WALL + self.now - START, lambda: self.now, **options)   # type: ignore[arg-type]

    def counts(self, journal: Journal) -> tuple[int, int]:
        """Errors and samples that are kept."""
        view = journal.view()
        return view["error"]["records"], view["sample"]["records"]


class NoteTests(JournalCase):
    def test_all_errors(self) -> None:
        """What has a flag, a 5xx or no answer at all is kept, whoever answered."""
        for number, (flag, status) in enumerate((("NR", 404), ("UH", 503), ("", 500), ("DC", 0), ("", 0))):
            self.journal.note(numbered(number, flag, status))
        self.assertEqual(self.counts(self.journal), (5, 0))

    def test_a_sample_of_the_rest(self) -> None:
        """About one in a hundred, decided by the id; the access log's sample of the same size has the same."""
        kept = []
        for number in range(20_000):
            exchange = numbered(number)
            self.journal.note(exchange)
            if self.journal.find(exchange.request_id.decode()) is not None:
                kept.append(exchange.request_id)
        self.assertEqual(self.counts(self.journal), (0, len(kept)))
        self.assertTrue(140 <= len(kept) <= 260, len(kept))
        self.assertTrue(all(sampled(each, 0.01) and sampled(each, 0.5) for each in kept))

    def test_what_a_record_says(self) -> None:
        """The values of the exchange, in words and numbers."""
        exchange = numbered(1, "UF", 502, b"/cart?token=abc&page=2")
        exchange.request.path, exchange.request.query = b"/cart", b"token=abc&page=2"
        exchange.response = None
        exchange.detail = "connect_failure"
        exchange.attempts = 2
        exchange.tries = [("10.0.0.4:9001", "connection refused")]
        self.now += 60
        self.journal.note(exchange)
        record = self.journal.find(exchange.request_id.decode())
        assert record is not None
        for name, value in {
            "kind": "error", "time": "2022-03-28T23:09:53.748000Z", "client": "203.0.113.10", "method": "GET",
            "authority": "shop.example.com", "target": "/cart?token=***&page=2", "virtual_host": "default/shop",
            "route": "shop/0", "cluster": "default/shop", "endpoint": "10.0.0.5:9001", "attempts": 2, "status": 502,
            "answered_by": "the gateway", "flag": "UF", "tries": [{"endpoint": "10.0.0.4:9001", "outcome": "connection refused"}],
        }.items():
            self.assertEqual(record[name], value, name)
        text = text_of(record["decisions"])
        self.assertIn("flag UF: The connection to the endpoint failed.; connect failure", text)
        self.assertRegex(text, r"try 1 +10.0.0.4:9001 +connection refused")
        json.dumps(record)

    def test_why_the_rules_decided_so(self) -> None:
        """What the tables say is part of the record."""
        journal = self.make(explain=lambda exchange: [Reason("route", "shop/0", "the only rule")])
        journal.note(numbered(1, "UH", 503))
        record = journal.find(numbered(1).request_id.decode())
        assert record is not None
        self.assertEqual(record["decisions"][1], {"about": "route", "outcome": "shop/0", "why": "the only rule"})

    def test_working_it_out_takes_little_of_the_time(self) -> None:
        """When explaining takes long, later records go without, until time has passed."""
        asked = []

        def explain(exchange: Exchange) -> list[Reason]:
            asked.append(exchange)
            self.now += 0.015
            return [Reason("route", "shop/0")]

        journal = self.make(explain=explain)
        for number in range(10):
            journal.note(numbered(number, "UH", 503))
        self.assertEqual(len(asked), 2)
        self.now += 2
        journal.note(numbered(11, "UH", 503))
        self.assertEqual(len(asked), 3)
        self.assertEqual(self.counts(journal), (11, 0))

    def test_a_failure_is_counted_and_harms_nobody(self) -> None:
        """An exception while noting is logged once, and the next exchange is noted."""
        def explain(exchange: Exchange) -> list[Reason]:
            raise RuntimeError("a bug")

        journal = self.make(explain=explain)
        journal.note(numbered(1, "UH", 503))
        journal.note(numbered(2, "UH", 503))
        self.assertEqual((journal.failures, self.counts(journal)), (2, (0, 0)))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class BoundsTests(JournalCase):
    def test_the_oldest_leave(self) -> None:
        """At the bound of records the oldest is forgotten."""
        journal = self.make(most_records=3)
        for number in range(5):
            journal.note(numbered(number, "UH", 503))
        found = [journal.find(numbered(number).request_id.decode()) is not None for number in range(5)]
        self.assertEqual(found, [False, False, True, True, True])

    def test_bytes(self) -> None:
        """Long values are clipped, and records leave until the bytes are within the bound."""
        journal = self.make(most_bytes=20_000)
        for number in range(100):
            journal.note(numbered(number, "UH", 503, b"/" + b"x" * 100_000))
        view = journal.view()["error"]
        self.assertLessEqual(view["bytes"], 20_000)
        self.assertTrue(5 <= view["records"] <= 20, view)

    def test_records_of_every_size(self) -> None:
        """Whatever their sizes, what is kept is what came last, whole, and nearly all of the room is used."""
        chance = Random(7)
        journal = self.make(most_bytes=8_000)
        sizes: list[int] = []
        for number in range(500):
            sizes.append(chance.randrange(0, 1_000))
            journal.note(numbered(number, "UH", 503, b"/" + b"x" * sizes[-1]))
            view = journal.view()["error"]
            first = number + 1 - view["records"]
            kept = [journal.find(numbered(each).request_id.decode()) for each in range(max(first - 3, 0), number + 1)]
            self.assertEqual([record and len(record["target"]) - 1 for record in kept], [None] * min(3, first) + sizes[first:])
            self.assertLessEqual(view["bytes"], 8_000)
        self.assertGreater(view["bytes"], 4_000)

    def test_a_flood_of_errors_leaves_the_samples(self) -> None:
        """Each kind has its own bound."""
        journal = self.make(most_records=10, share=1.0)
        journal.note(numbered(0))
        for number in range(1, 100):
            journal.note(numbered(number, "UH", 503))
        self.assertEqual(self.counts(journal), (10, 1))

    def test_requests_whose_traces_are_recorded(self) -> None:
        """They are kept besides the sample, a few in each second."""
        journal = self.make(share=0.0)
        for second in (1, 2):
            for number in range(20):
                exchange = numbered(20 * second + number)
                exchange.trace = Trace(b"%032x" % (20 * second + number), 7, b"", number % 5 != 0)
                journal.note(exchange)
            self.assertEqual(self.counts(journal), (0, 10 * second))
            self.now += 1.0
        record = journal.find(f"{21:032x}")
        assert record is not None
        self.assertEqual((record["kind"], record["status"]), ("sample", 200))

    def test_by_the_id_of_the_trace(self) -> None:
        """The latest request of that trace; a path that says the same is none of it."""
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        for number in (1, 2):
            exchange = numbered(number, "UH", 503)
            exchange.trace = Trace(trace_id.encode(), 7, b"", False)
            self.journal.note(exchange)
        self.journal.note(numbered(3, "UH", 503, f"/{trace_id}".encode()))
        record = self.journal.find(trace_id)
        assert record is not None
        self.assertEqual((record["request_id"][-1], record["trace_id"]), ("2", trace_id))
        self.assertIsNone(self.journal.find(trace_id[::-1]))

    def test_an_id_that_comes_again(self) -> None:
        """The later one is found; when the earlier one leaves, it stays found."""
        journal = self.make(most_records=2)
        journal.note(numbered(1, "UH", 503))
        journal.note(numbered(1, "UF", 502))
        journal.note(numbered(2, "UH", 503))
        record = journal.find(numbered(1).request_id.decode())
        assert record is not None
        self.assertEqual(record["flag"], "UF")

    def test_one_that_was_noted_in_another_process(self) -> None:
        """A record that has come as JSON is found as if it had been noted here; what is none is refused."""
        there = self.make()
        sent: list[list[object]] = []

        class Box:
            """What a worker has in the place of a ring."""

            def add(self, record: list[object]) -> None:
                """Send it."""
                sent.append(json.loads(json.dumps(record)))

        there.send_to({"error": Box(), "sample": Box()})
        exchange = numbered(1, "UF", 502)
        exchange.tries = [("10.0.0.1:80", "refused")]
        there.note(exchange)
        here = self.make()
        here.note(exchange)
        self.journal.take("error", sent[0])
        found = self.journal.find(exchange.request_id.decode())
        assert found is not None
        self.assertEqual(found, here.find(exchange.request_id.decode()))
        for none in ([], sent[0][:-1], [*sent[0][:9], 12, *sent[0][10:]]):
            self.assertRaises(ValueError, self.journal.take, "error", none)

    def test_nothing_is_kept_alive(self) -> None:
        """Neither the client's connection nor the endpoint is held by a record."""
        exchange = numbered(1, "UH", 503)
        exchange.client, exchange.endpoint = Client(), Endpoint()
        held: list[weakref.ref[object]] = [weakref.ref(exchange.client), weakref.ref(exchange.endpoint)]
        self.journal.note(exchange)
        del exchange
        gc.collect()
        self.assertEqual([reference() for reference in held], [None, None])
        self.assertEqual(self.counts(self.journal), (1, 0))
