"""Clients that leave, in every phase: the endpoint hears of it, the record says so, and nothing stays counted."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire
from voltgw.cluster.cluster import Limits
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

UPLOAD = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n"
ENDS: tuple[Callable[[Wire], None], ...] = (Wire.fin, Wire.reset)


class LeavingTests(ProxyCase):
    def left(self, *, status: int, records: int = 1) -> None:
        """Nothing is under way, and the record tells of a client that left."""
        self.turn()
        self.assertEqual(self.under_way(), {})
        self.assertEqual(len(self.records), records)
        if records:
            record = self.records[-1]
            self.assertEqual((record.flag, record.detail, record.response_code),
                             ("DC", "downstream_remote_disconnect", status))
        self.records.clear()

    def test_before_it_has_said_anything(self) -> None:
        """No request, no record."""
        for end in ENDS:
            end(self.client())
            self.left(status=0, records=0)

    def test_in_the_middle_of_a_head(self) -> None:
        """No request, no record."""
        for end in ENDS:
            client = self.client()
            client.send(b"GET / HTT")
            end(client)
            self.left(status=0, records=0)

    def test_between_requests(self) -> None:
        """The endpoint's connection stays in the pool."""
        client, origin = self.asked()
        origin.send(EMPTY)
        client.fin()
        self.turn()
        self.assertEqual((len(self.endpoint.pool), len(self.records), self.records[0].flag), (1, 1, ""))

    def test_while_a_filter_asks(self) -> None:
        """The filter's Deferred is cancelled; no endpoint hears of the request."""
        for end in ENDS:
            cancelled: list[object] = []
            waiting: Deferred[Reply | None] = Deferred(cancelled.append)
            self.route.request_filters = (lambda exchange, waiting=waiting: waiting,)   # type: ignore[misc]
            client = self.client()
            client.send(GET)
            end(client)
            self.left(status=0)
            self.assertEqual((cancelled, self.rig.dials), ([waiting], []))

    def test_a_filter_that_answers_too_late(self) -> None:
        """Its decision is about nobody any more."""
        waiting: Deferred[Reply | None] = Deferred(lambda _: None)
        waiting.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self.route.request_filters = (lambda exchange: waiting,)
        client = self.client()
        client.send(GET)
        client.reset()
        self.left(status=0)
        self.assertEqual(self.rig.dials, [])

    def test_while_the_endpoint_is_dialled(self) -> None:
        """The attempt is given up; with a body that waits, too."""
        for request in (GET, UPLOAD + b"x"):
            for end in ENDS:
                client = self.client()
                client.send(request)
                dial = self.dialled
                end(client)
                self.assertTrue(dial.cancelled)
                self.left(status=0)

    def test_while_the_second_endpoint_is_dialled(self) -> None:
        """The retry that was under way is no longer counted."""
        self.endpoint_count = 2
        self.cluster = self.make_cluster(limits=Limits(retries=3))
        self.route.cluster = self.cluster
        client = self.client()
        client.send(GET)
        self.dialled.fail()
        self.assertEqual((self.cluster.retries, self.cluster.pending), (1, 1))
        client.reset()
        self.left(status=0)

    def test_while_the_request_body_comes(self) -> None:
        """The endpoint's connection is cut, so that it cannot take half a body for the whole."""
        for end in ENDS:
            client, origin = self.asked(UPLOAD)
            client.send(b"x" * 10)
            end(client)
            self.assertTrue(origin.aborted)
            self.left(status=0)

    def test_while_the_endpoint_stalls_the_upload(self) -> None:
        """A paused client that resets is noticed."""
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n")
        origin.stall()
        client.send(b"x" * 200_000)
        client.reset()
        self.assertTrue(origin.aborted)
        self.left(status=0)

    def test_while_the_answer_is_awaited(self) -> None:
        """The endpoint's connection is cut so that it may stop working."""
        for end in ENDS:
            client, origin = self.asked()
            end(client)
            self.assertTrue(origin.aborted)
            self.left(status=0)

    def test_while_the_answer_s_body_comes(self) -> None:
        """In each framing."""
        for head in (b"Content-Length: 10\r\n\r\n012", b"Transfer-Encoding: chunked\r\n\r\n3\r\n012\r\n", b"\r\n012"):
            for end in ENDS:
                client, origin = self.asked()
                origin.send(b"HTTP/1.1 200 OK\r\n" + head)
                end(client)
                self.assertTrue(origin.aborted)
                self.left(status=200)

    def test_while_it_stalls_the_answer(self) -> None:
        """The paused endpoint is let go."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        origin.send(b"x" * 100_000)
        origin.send(b"x" * 100_000)
        self.assertFalse(origin.reading)
        client.reset()
        self.assertTrue(origin.aborted)
        self.left(status=200)

    def test_while_it_uploads_and_the_answer_comes(self) -> None:
        """Both directions at once."""
        client, origin = self.asked(UPLOAD)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012")
        client.send(b"x")
        client.reset()
        self.assertTrue(origin.aborted)
        self.left(status=200)

    def test_while_it_is_drained(self) -> None:
        """The answer was given; the record was written then."""
        client, origin = self.asked(UPLOAD)
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(len(self.records), 1)
        client.reset()
        self.assertEqual((len(self.records), self.records[0].flag), (1, ""))

    def test_with_requests_sent_ahead(self) -> None:
        """They are forgotten with it."""
        client, origin = self.asked(GET * 3)
        client.reset()
        self.left(status=0)
        self.assertEqual(self.rig.dials, [])


class SilentDisappearanceTests(ProxyCase):
    """A client whose connection is gone although nobody has told us yet: writing to it is harmless."""

    def test_the_answer_comes_all_the_same(self) -> None:
        """The write fails in the kernel; the end is reported a moment later."""
        client, origin = self.asked()
        client.abortConnection()            # as a failed write does: gone now, reported soon
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012")
        origin.send(b"345")
        self.turn()
        self.assertEqual((self.under_way(), origin.aborted, self.records[0].flag), ({}, True, "DC"))

    def test_a_whole_answer_comes_all_the_same(self) -> None:
        """The exchange ends as usual and the endpoint's connection is kept."""
        client, origin = self.asked()
        client.abortConnection()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((len(self.endpoint.pool), self.cluster.active, len(self.records)), (1, 0, 1))

    def test_a_filter_sees_the_client_only_while_it_is_there(self) -> None:
        """The exchange of a client that has left is not handed to further filters."""
        seen: list[Exchange] = []
        waiting: Deferred[Reply | None] = Deferred()
        self.route.request_filters = (lambda exchange: waiting, seen.append)
        client = self.client()
        client.send(GET)
        client.reset()
        self.turn()
        self.assertEqual((seen, self.rig.dials), ([], []))
