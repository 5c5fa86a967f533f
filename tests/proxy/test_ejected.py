"""Outlier detection in the data plane: which outcomes of real exchanges and relays count, and what they cost."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, GET, RelayCase, Wire
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.outlier import OutlierDetector, OutlierRules, Watch
from voltgw.cluster.schedulers import peak_ewma
from voltgw.values.defaults import RESPONSE_HEAD_TIMEOUT_S

BROKEN: Final = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"
BUSY: Final = b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n"


class WatchedCase(RetryCase):
    """A cluster with one endpoint that is watched."""

    endpoint_count = 1
    def setUp(self) -> None:
        """Without a retry policy."""
        super().setUp()
        self.route.retry = None

    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """With outlier detection."""
        self.detector = OutlierDetector(OutlierRules(consecutive_5xx=100), Random(0))
        return super().make_cluster(name, outliers=self.detector, **options)

    @property
    def watch(self) -> Watch:
        """The record of the first endpoint."""
        (watch,) = self.detector.watches.values()
        return watch

    def answered(self, *answers: bytes) -> None:
        """Requests of one client, and how each is answered."""
        client, origin = self.ask()
        for number, data in enumerate(answers):
            if number:
                client.send(GET)
            origin.send(data)
        client.reset()


class AnswersTests(WatchedCase):
    def test_a_row_of_5xx(self) -> None:
        """Each 5xx counts, an answer below 500 ends the row, and a healthy endpoint is not looked at."""
        self.answered(BROKEN, BROKEN, BROKEN)
        self.assertEqual((self.watch.in_a_row, self.watch.gateway, self.watch.last), (3, 0, "answered 500"))

    def test_the_row_ends(self) -> None:
        """With any other answer, 429 among them."""
        self.answered(BROKEN, UNAVAILABLE, BUSY)
        self.assertEqual((self.watch.in_a_row, self.watch.failures, self.watch.total), (0, 2, 3))

    def test_answers_that_are_not_passed_on_count_too(self) -> None:
        """A 503 that leads to another try counts against the endpoint that gave it, and in its answers."""
        self.plan("5xx", retries=2)
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.next_try().send(b"HTTP/1.1 503 No\r\n\r\n")  # a body of unknown length: its connection is given up
        self.next_try().send(EMPTY)
        self.assertIn(b"200 OK", client.got())
        self.assertEqual((self.watch.failures, self.watch.total, self.endpoint.status[5]), (2, 3, 2))

    def test_refused(self) -> None:
        """A connection that is refused counts as a gateway failure."""
        client = self.client()
        client.send(GET)
        self.dialled.fail()
        self.assertEqual((self.watch.in_a_row, self.watch.gateway, self.watch.last), (1, 1, "did not accept a connection"))

    def test_closed_before_the_answer(self) -> None:
        """A fresh connection that is closed without an answer counts."""
        _, origin = self.ask()
        origin.fin()
        self.assertEqual((self.watch.in_a_row, self.watch.gateway), (1, 1))

    def test_a_stale_connection_is_nobodys_fault(self) -> None:
        """One that served before and is closed as we use it does not count; the request goes out once more."""
        client, origin = self.ask()
        origin.send(EMPTY)
        client.send(GET)
        origin.fin()
        self.assertEqual(self.watch.in_a_row, 0)
        self.accept().send(EMPTY)
        self.assertEqual((self.watch.in_a_row, client.got().count(b"200 OK")), (0, 2))

    def test_too_late(self) -> None:
        """No answer in time counts as 504."""
        self.ask()
        self.advance(RESPONSE_HEAD_TIMEOUT_S + 1)
        self.assertEqual((self.watch.in_a_row, self.watch.gateway), (1, 1))

    def test_a_client_that_leaves_blames_nobody(self) -> None:
        """Its endpoint has done nothing wrong."""
        client, _ = self.ask()
        client.reset()
        self.turn()
        self.assertEqual((self.watch.in_a_row, self.watch.total), (0, 0))

    def test_cut_in_the_middle(self) -> None:
        """An answer that breaks off counts, although its head was good."""
        _, origin = self.ask()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        origin.reset()
        self.assertEqual((self.watch.in_a_row, self.watch.failures), (1, 1))


class RelayTests(RelayCase):
    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """With outlier detection."""
        self.detector = OutlierDetector(OutlierRules(), Random(0))
        return super().make_cluster(name, outliers=self.detector, **options)

    def test_connects(self) -> None:
        """Refused connections count, one that is made ends the row."""
        (watch,) = self.detector.watches.values()
        for _ in range(3):
            self.client()
            self.dialled.fail()
        self.assertEqual(watch.in_a_row, 3)
        self.client()
        origin: Wire = self.accept()
        self.assertEqual((watch.in_a_row, watch.total), (0, 4))
        origin.reset()


class LatencyTests(RetryCase):
    """What a scheduler that picks by latency hears of."""

    endpoint_count = 1

    def setUp(self) -> None:
        """Without a retry policy."""
        super().setUp()
        self.route.retry = None
        self.cluster.factory = peak_ewma.FACTORY
        self.cluster.keep_time(self.hand.monotonic)

    def latency(self) -> float:
        """What is known of the endpoint now."""
        assert self.endpoint.latency is not None
        return round(self.endpoint.latency.latency_s(self.hand.now), 3)

    def test_from_the_request_to_the_head(self) -> None:
        """The time from the request being sent to the head of its answer, whatever the body takes."""
        client, origin = self.ask()
        self.advance(0.25)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.assertEqual(self.latency(), 0.25)
        self.advance(3)
        origin.send(b"cd")
        self.assertLess(self.latency(), 0.25)
        client.reset()

    def test_an_upload_counts_from_its_end(self) -> None:
        """A client that sends slowly makes no endpoint slow."""
        client, origin = self.ask(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nab")
        self.advance(2.0)
        client.send(b"cd")
        self.advance(0.25)
        origin.send(EMPTY)
        self.assertEqual(self.latency(), 0.25)

    def test_failures(self) -> None:
        """A fast 429 and a refused connection count as slow."""
        _, origin = self.ask()
        origin.send(BUSY)
        self.assertEqual(self.latency(), 5.0)
        self.cluster.endpoints[0].latency = None
        self.cluster.keep_time(self.hand.monotonic)
        self.client().send(GET)
        if not self.rig.dials:
            self.rig.origins[-1].fin()      # the pooled connection was stale
        self.dialled.fail()
        self.assertEqual(self.latency(), 5.0)


class RelayLatencyTests(RelayCase):
    def test_what_connecting_takes(self) -> None:
        """Of relays the time from dialling to the connection counts, and a refusal as slow."""
        self.cluster.factory = peak_ewma.FACTORY
        self.cluster.keep_time(self.hand.monotonic)
        client = self.client()
        self.advance(0.25)
        origin = self.accept()
        latency = self.endpoint.latency
        assert latency is not None
        self.assertAlmostEqual(latency.latency_s(self.hand.now), 0.25)
        client.reset()
        origin.reset()
        self.client()
        self.dialled.fail()
        self.assertEqual(latency.latency_s(self.hand.now), 5.0)
