"""Every phase has its time: heads, idle connections, bodies, answers, whole requests (promises 3.5, DECISIONS:
HTTP)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, answer, requests
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import (
    BODY_IDLE_TIMEOUT_S,
    KEEP_ALIVE_TIMEOUT_S,
    REQUEST_HEAD_TIMEOUT_S,
    RESPONSE_HEAD_TIMEOUT_S,
    UPSTREAM_IDLE_TIMEOUT_S,
)

UPLOAD = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10000000\r\n\r\n"
#: How much later than its time a deadline may act.
LATE = 2 * TICK_S


class ClientTests(ProxyCase):
    def test_a_client_that_says_nothing(self) -> None:
        """It has a head's time to begin, then is closed without a word."""
        client = self.client()
        self.advance(REQUEST_HEAD_TIMEOUT_S - 1)
        self.assertFalse(client.gone)
        self.advance(1 + LATE)
        self.assertEqual((client.gone, client.aborted, client.written, self.records), (True, False, b"", []))

    def test_a_head_that_drips_in(self) -> None:
        """Ten seconds in all, however many bytes have come; then 408 and close. Others are not affected."""
        client = self.client()
        head = b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"y" * 1000
        sent = 0
        while not client.written:
            client.send(head[sent:sent + 1])
            sent += 1
            self.advance(0.5)
            self.assertLess(sent * 0.5, REQUEST_HEAD_TIMEOUT_S + 1)
        self.assertGreaterEqual(sent * 0.5, REQUEST_HEAD_TIMEOUT_S - 0.5)
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"connection"), self.records[0].flag), (408, b"close", "DT"))
        self.assertEqual((client.finished, self.counters.timeouts), (True, 1))

    def test_a_head_that_drips_in_on_a_used_connection(self) -> None:
        """The same ten seconds, from its first byte, not the longer time of an idle connection."""
        client, origin = self.asked()
        origin.send(EMPTY)
        client.clear()
        self.advance(50)
        client.send(b"G")
        self.advance(REQUEST_HEAD_TIMEOUT_S - 1)
        client.send(b"E")
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.assertEqual(answer(client.got()).start, 408)

    def test_empty_lines_buy_no_time(self) -> None:
        """They are skipped, but the deadline does not move for them."""
        client = self.client()
        for _ in range(30):
            if not client.gone:
                client.send(b"\r\n")
                self.advance(0.5)
        self.assertTrue(client.gone)
        self.assertEqual(client.written, b"")

    def test_a_head_sent_ahead_has_its_time_too(self) -> None:
        """Half a head behind a request: its time begins when its turn comes."""
        client, origin = self.asked(GET + b"GET /2")
        self.advance(REQUEST_HEAD_TIMEOUT_S + 5)
        self.assertEqual(client.written, b"")
        origin.send(EMPTY)
        self.turn()
        client.clear()
        self.advance(REQUEST_HEAD_TIMEOUT_S - 1)
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.assertEqual(answer(client.got()).start, 408)

    def test_an_idle_connection(self) -> None:
        """Two minutes without a request, counted from the last answer; then it is closed without a word."""
        client, origin = self.asked()
        origin.send(EMPTY)
        self.advance(KEEP_ALIVE_TIMEOUT_S - 1)
        client.send(GET)
        origin.send(EMPTY)
        client.clear()
        self.advance(KEEP_ALIVE_TIMEOUT_S - 1)
        self.assertFalse(client.gone)
        self.advance(1 + LATE)
        self.assertEqual((client.gone, client.aborted, client.written), (True, False, b""))

    def test_an_idle_connection_after_an_answer_of_ours(self) -> None:
        """The same two minutes."""
        self.endpoint.ready = False
        client = self.client()
        client.send(GET)
        self.advance(KEEP_ALIVE_TIMEOUT_S - 1)
        self.assertFalse(client.gone)
        self.advance(1 + LATE)
        self.assertTrue(client.gone)

    def test_the_listener_s_own_times(self) -> None:
        """Longer or shorter, as its virtual hosts ask."""
        self.http.head_timeout_s, self.http.keep_alive_timeout_s = 2.0, 1.0
        silent, client = self.client(), self.client()
        client.send(GET)
        self.accept().send(EMPTY)
        self.advance(1 + LATE)
        self.assertEqual((client.gone, silent.gone), (True, False))
        self.advance(1 + LATE)
        self.assertTrue(silent.gone)

    def test_a_client_that_does_not_read_its_last_answer(self) -> None:
        """Closing does not wait for it without end: promise 19 holds for connections that are over, too."""
        for request in (GET, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
            client = self.client()
            client.stall()
            client.send(request)
            (self.accept() if self.rig.dials else self.rig.origins[-1]).send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.advance(KEEP_ALIVE_TIMEOUT_S + LATE + BODY_IDLE_TIMEOUT_S - 1)
            self.advance(5)
            self.assertTrue(client.aborted, request)


class UploadTests(ProxyCase):
    def test_a_body_that_stops(self) -> None:
        """Five minutes between two bytes; then 408, the endpoint's connection is cut."""
        client, origin = self.asked(UPLOAD)
        for _ in range(3):
            client.send(b"x")
            self.advance(BODY_IDLE_TIMEOUT_S - 1)
            self.assertEqual((client.written, origin.gone), (b"", False))
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, self.records[0].flag, origin.aborted), (408, "DT", True))
        self.assertEqual((self.counters.timeouts, self.cluster.counters.timeouts), (1, 0))

    def test_a_long_upload_is_no_slow_answer(self) -> None:
        """The time for the answer begins when the request is complete (defaults: "after the request was sent")."""
        client, origin = self.asked(UPLOAD)
        for _ in range(10):
            self.advance(RESPONSE_HEAD_TIMEOUT_S + 10)
            self.assertEqual(client.written, b"")
            client.send(b"x" * 1_000_000)
        self.advance(RESPONSE_HEAD_TIMEOUT_S - 1)
        self.assertEqual(client.written, b"")
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, len(self.endpoint.pool)), (200, 1))

    def test_the_same_on_a_pooled_connection(self) -> None:
        """And then the answer has its 30 seconds."""
        idle, = self.warm()
        client = self.client()
        client.send(UPLOAD)
        self.advance(RESPONSE_HEAD_TIMEOUT_S + 10)
        client.send(b"x" * 10_000_000)
        self.advance(RESPONSE_HEAD_TIMEOUT_S - 1)
        self.assertEqual((client.written, idle.gone), (b"", False))
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, idle.aborted), (504, True))

    def test_a_client_that_waits_for_100(self) -> None:
        """It waits for the endpoint; if that says nothing, the body's time ends it."""
        client, origin = self.asked(UPLOAD[:-2] + b"Expect: 100-continue\r\n\r\n")
        self.advance(BODY_IDLE_TIMEOUT_S + LATE)
        self.assertIn(answer(client.got()).start, (408, 504))
        self.assertTrue(origin.aborted)

    def test_an_endpoint_that_stops_reading(self) -> None:
        """The client is not to blame for what it could not send: 504."""
        client, origin = self.asked(UPLOAD)
        origin.stall()
        client.send(b"x" * 200_000)
        self.assertFalse(client.reading)
        self.advance(BODY_IDLE_TIMEOUT_S + LATE)
        self.assertEqual((answer(client.got()).start, self.records[0].flag, origin.aborted), (504, "UT", True))
        self.assertEqual((self.counters.timeouts, self.cluster.counters.timeouts), (0, 1))

    def test_the_whole_request_may_have_a_time(self) -> None:
        """slow_ddos_mitigation.request_timeout: so long from the head, however steadily the body comes."""
        self.host.request_timeout_s = 20.0
        client, origin = self.asked(UPLOAD)
        for _ in range(19):
            client.send(b"x")
            self.advance(1)
            self.assertEqual(client.written, b"")
        client.send(b"x")
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, origin.aborted), (408, True))

    def test_a_request_that_came_in_time(self) -> None:
        """Then that time does not count against the answer."""
        self.host.request_timeout_s = 5.0
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nh")
        self.advance(4)
        client.send(b"i")
        self.advance(20)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)


class AnswerTests(ProxyCase):
    def test_an_answer_that_does_not_begin(self) -> None:
        """30 seconds; then 504, and the endpoint's connection is cut. No second try: it may be at work."""
        client, origin = self.asked()
        self.advance(RESPONSE_HEAD_TIMEOUT_S - 1)
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, self.records[0].flag, origin.aborted, self.rig.dials),
                         (504, "UT", True, []))
        self.assertEqual((self.cluster.counters.timeouts, client.gone), (1, False))

    def test_a_head_that_drips_out_of_the_endpoint(self) -> None:
        """Its bytes buy no time, nor do interim answers."""
        for drip in (b"x", b"HTTP/1.1 103 E\r\n\r\n"):
            client, origin = self.asked()
            if drip == b"x":
                origin.send(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(5):
                origin.send(drip)
                self.advance(RESPONSE_HEAD_TIMEOUT_S / 5)
            self.advance(LATE)
            self.assertTrue(origin.aborted)
            self.assertIn(b"HTTP/1.1 504 ", client.got())

    def test_a_body_that_stops(self) -> None:
        """Five minutes between two bytes; then the client is cut, for it cannot be told otherwise."""
        for head in (b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n", b"\r\n"):
            client, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\n" + head)
            for _ in range(3):
                self.advance(BODY_IDLE_TIMEOUT_S - 1)
                origin.send(b"x")
            self.advance(BODY_IDLE_TIMEOUT_S - 1)
            self.assertFalse(client.gone)
            self.advance(1 + LATE)
            self.assertEqual((client.aborted, origin.aborted, self.records[-1].flag), (True, True, "UT"))

    def test_a_client_that_stops_reading(self) -> None:
        """After five minutes both are cut; the endpoint is not blamed for it (promises 3.5, slow read)."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(20):
            origin.send(b"x" * 10_000)
        self.assertFalse(origin.reading)
        self.advance(BODY_IDLE_TIMEOUT_S + LATE)
        self.assertEqual((client.aborted, origin.aborted, self.records[0].flag), (True, True, "DT"))
        self.assertEqual((self.cluster.counters.timeouts, self.cluster.counters.resets), (0, 0))

    def test_the_host_s_idle_timeout(self) -> None:
        """virtual_host.idle_timeout replaces both times: 504 before the head, a cut within the body."""
        self.host.idle_timeout_s = 2.0
        client, origin = self.asked()
        self.advance(2 + LATE)
        self.assertEqual(answer(client.got()).start, 504)
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0")
        self.advance(2 + LATE)
        self.assertTrue(client.aborted)

    def test_the_host_s_idle_timeout_may_be_longer(self) -> None:
        """Than the default."""
        self.host.idle_timeout_s = 100.0
        client, origin = self.asked()
        self.advance(90)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_the_route_s_timeout(self) -> None:
        """The whole exchange, from its head: 504 before the answer's head, a cut within its body, whatever moves."""
        self.route.timeout_s = 5.0
        client, origin = self.asked()
        self.advance(4)
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, origin.aborted), (504, True))
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(12):
            if not origin.gone:
                origin.send(b"x")
                self.advance(0.5)
        self.assertEqual((client.aborted, origin.aborted, self.records[-1].flag), (True, True, "UT"))

    def test_the_route_s_timeout_counts_during_an_upload(self) -> None:
        """A client that sends all the time is stopped all the same."""
        self.route.timeout_s = 5.0
        client, origin = self.asked(UPLOAD)
        for _ in range(12):
            if not origin.gone:
                client.send(b"x")
                self.advance(0.5)
        self.assertEqual((answer(client.got()).start, origin.aborted), (504, True))

    def test_the_route_s_timeout_and_a_pooled_connection(self) -> None:
        """The deadline of the last exchange does not act on the next."""
        self.route.timeout_s = 5.0
        client, origin = self.asked()
        origin.send(EMPTY)
        client.clear()
        self.advance(20)
        self.assertFalse(origin.gone)
        self.route.timeout_s = 0.0
        client.send(GET)
        self.advance(20)
        self.assertEqual(client.written, b"")
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)


class PoolTests(ProxyCase):
    def test_an_idle_endpoint_connection(self) -> None:
        """Five minutes without a request (cluster.http_idle_timeout); then it is closed."""
        idle, = self.warm()
        self.advance(UPSTREAM_IDLE_TIMEOUT_S - 1)
        self.assertEqual((idle.gone, len(self.endpoint.pool)), (False, 1))
        self.advance(1 + LATE)
        self.assertEqual((idle.gone, idle.aborted, len(self.endpoint.pool)), (True, False, 0))

    def test_a_short_idle_time_is_kept_exactly(self) -> None:
        """A cluster whose endpoints close early must be sooner than they are."""
        self.cluster = self.make_cluster(idle_timeout_s=1.0)
        self.route.cluster = self.cluster
        client, origin = self.asked()
        self.advance(3)                     # so that a look at its deadline stands well ahead
        origin.send(EMPTY)
        self.advance(1 + LATE)
        self.assertEqual((origin.gone, len(self.endpoint.pool)), (True, 0))
        self.assertFalse(client.gone)

    def test_the_time_begins_anew_with_each_use(self) -> None:
        """A connection in use does not time out, and each answer starts the time again."""
        client, origin = self.asked()
        for _ in range(3):
            origin.send(EMPTY)
            self.advance(UPSTREAM_IDLE_TIMEOUT_S - 1)
            client = self.client()
            client.send(GET)
            self.assertEqual(self.rig.dials, [])
            self.assertTrue(requests(origin.got()))
        origin.send(EMPTY)
        self.assertEqual(len(self.endpoint.pool), 1)
