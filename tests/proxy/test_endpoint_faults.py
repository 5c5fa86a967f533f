"""Endpoints that fail: closed, reset, garbled, too large, too late; what the client is told, and who tries again
(promises 3.1)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, requests
from voltgw.cluster.cluster import Limits
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.values.defaults import CONNECT_TIMEOUT_S, MAX_RESPONSE_HEAD_BYTES

POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi"


class BadAnswerTests(ProxyCase):
    def test_what_is_no_answer_is_502(self) -> None:
        """Garbage, bad framing, bad fields: nothing of it reaches the client; the connection is cut, never reused
        (promise 4)."""
        table = {
            "garbage": b"garbage", "SSH": b"SSH-2.0-OpenSSH_9\r\n", "TLS alert": b"\x15\x03\x01\x00\x02\x02\x16",
            "HTTP/0.9": b"<html>hello",
            "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "another version": b"HTTP/3.0 200 OK\r\n\r\n",
            "no status": b"HTTP/1.1 OK\r\n\r\n",
            "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "TE and CL": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "TE in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\n\r\n",
            "bare LF in a field": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil\r\n\r\n",
            "bare LF throughout": b"HTTP/1.1 200 OK\nX: a\n\nbody",
            "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
            "a head too large": b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_RESPONSE_HEAD_BYTES + b"\r\n\r\n",
            "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_RESPONSE_HEAD_BYTES,
            "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
            "CRLF before": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        }
        for name, data in table.items():
            for step in (len(data), max(len(data) // 5, 1)):
                client, origin = self.asked()
                for at in range(0, len(data), step):
                    if not origin.gone:
                        origin.send(data[at:at + step])
                message = answer(client.got())
                self.assertEqual((message.start, message.get(b"content-type")), (502, b"application/problem+json"),
                                 name)
                self.assertEqual((origin.aborted, self.records[-1].flag, client.gone), (True, "UPE", False), name)
                self.assertNotIn(b"evil", message.body)
        self.assertEqual(self.cluster.counters.resets, 2 * len(table))

    def test_a_bad_chunk_cuts_the_client(self) -> None:
        """The answer has begun: only the cut tells the client that it is not whole. Nothing of the bad chunk goes
        on."""
        for tail in (b"x\r\n", b"2\r\nokX\r\n", b"2\nok\r\n", b"0\r\nbad trailer\r\n\r\n", b"fffffffffffffffff\r\n"):
            client, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            origin.send(tail)
            self.turn()
            self.assertEqual((client.aborted, origin.aborted, self.records[-1].flag), (True, True, "UPE"), tail)
            self.assertTrue(client.written.endswith(b"2\r\nok\r\n"))

    def test_a_bad_chunk_that_comes_with_the_head(self) -> None:
        """The same; and the counters of what is under way return to zero."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
        self.turn()
        self.assertEqual((client.aborted, origin.aborted, self.under_way()), (True, True, {}))


class ClosedTests(ProxyCase):
    endpoint_count = 2

    def idle_connections(self) -> int:
        """Connections that wait in pools."""
        return sum(len(endpoint.pool) for endpoint in self.cluster.endpoints)

    def reused(self, request: bytes) -> tuple[Wire, Wire]:
        """A client's request on a connection that has served before."""
        idle, = self.warm()
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is idle.protocol.endpoint
        client = self.client()
        client.send(request)
        for endpoint in self.cluster.endpoints:
            endpoint.ready = True
        self.rig.records.exchanges.clear()
        return client, idle

    def test_a_reused_connection_that_was_stale(self) -> None:
        """Closed before any byte of the answer: an idempotent request goes out once more, on a fresh connection (RFC
        9110 9.2.2)."""
        for end in (Wire.fin, Wire.reset):
            client, stale = self.reused(GET)
            first = stale.got()
            end(stale)
            fresh = self.accept()
            self.assertEqual(fresh.got(), first)
            self.assertEqual(client.written, b"")
            fresh.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            self.turn()
            self.assertEqual((answer(client.got()).body, self.records[-1].attempts, self.records[-1].flag),
                             (b"ok", 2, ""))
        self.assertEqual(self.cluster.counters.retries, 2)

    def test_the_fresh_connection_closes_too(self) -> None:
        """Then another endpoint is asked, once; when that closes without a word as well: 502."""
        client, stale = self.reused(GET)
        stale.fin()
        self.accept().fin()
        self.accept().fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))
        self.assertEqual((self.records[0].flag, self.records[0].attempts), ("UC", 3))

    def test_an_idempotent_request_with_its_whole_body(self) -> None:
        """PUT and DELETE are sent again with the body that was sent."""
        for method in (b"PUT", b"DELETE"):
            client, stale = self.reused(method + b" / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi")
            stale.fin()
            fresh = self.accept()
            self.assertEqual(requests(fresh.got())[0].body, b"hi")
            fresh.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()

    def test_a_request_that_may_not_be_sent_twice(self) -> None:
        """POST and PATCH on a stale connection: 502, no second try."""
        for method in (b"POST", b"PATCH"):
            client, stale = self.reused(method + b" / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi")
            stale.fin()
            self.assertEqual((answer(client.got()).start, self.rig.dials, self.records[-1].flag), (502, [], "UC"))

    def test_a_body_that_has_streamed(self) -> None:
        """What was sent of it is sent again, and the rest follows from the client."""
        client, stale = self.reused(b"PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nhi")
        client.send(b"!")
        stale.fin()
        self.turn()
        client.send(b"?")
        fresh = self.accept()
        self.assertEqual(requests(fresh.got())[0].body, b"hi!?")
        fresh.send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.idle_connections()), (200, 1))

    def test_a_body_that_has_streamed_and_may_not_be_sent_twice(self) -> None:
        """POST: 502, and the rest of the body is drained."""
        client, stale = self.reused(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nhi")
        client.send(b"!")
        stale.fin()
        self.turn()
        self.assertEqual((answer(client.got()).start, self.rig.dials, client.finished), (502, [], True))

    def test_a_fresh_connection_that_closes_without_an_answer(self) -> None:
        """An endpoint that dies looks like that: an idempotent request goes to another one (RFC 9110 9.2.2)."""
        for end in (Wire.fin, Wire.reset):
            client, origin = self.asked()
            first = origin.got()
            end(origin)
            other = self.accept()
            self.assertEqual((other.got(), client.written), (first, b""))
            other.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            self.assertEqual((answer(client.got()).start, self.records[-1].flag, self.records[-1].attempts), (200, "", 2))
        self.assertEqual(self.cluster.counters.resets, 2)

    def test_a_post_on_a_fresh_connection_that_closes_without_an_answer(self) -> None:
        """The endpoint may have acted on it: 502, no second try, and the client's connection goes on."""
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials, client.gone), (502, [], False))
        self.assertEqual((self.records[-1].flag, self.records[-1].attempts), ("UC", 1))

    def test_closed_within_the_head(self) -> None:
        """502 on fresh and reused connections alike: something of the answer has come."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nX: ")
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))
        client, origin = self.reused(GET)
        origin.send(b"H")
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))

    def test_closed_after_an_interim_answer(self) -> None:
        """No second try: the endpoint has begun to work on it."""
        client, origin = self.reused(GET)
        origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        client.clear()
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))

    def test_closed_within_the_body(self) -> None:
        """The client's connection is cut, so that nobody takes the part for the whole; whatever the framing."""
        for head in (b"Content-Length: 10\r\n\r\n01234", b"Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\n5\r\n01"):
            for end in (Wire.fin, Wire.reset):
                client, origin = self.asked()
                origin.send(b"HTTP/1.1 200 OK\r\n" + head)
                end(origin)
                self.turn()
                self.assertEqual((client.aborted, self.records[-1].flag, self.records[-1].response_code),
                                 (True, "UC", 200), head)
                self.assertNotIn(b"\r\n0\r\n", client.got())

    def test_a_body_until_close_that_is_reset(self) -> None:
        """FIN ends such a body, RST breaks it: the client must not get a proper end."""
        for request in (GET, b"GET / HTTP/1.0\r\n\r\n"):
            client, origin = self.asked(request)
            origin.send(b"HTTP/1.1 200 OK\r\n\r\n01234")
            origin.reset()
            self.turn()
            self.assertEqual((client.aborted, client.finished), (True, False))
            self.assertFalse(client.got().endswith(b"0\r\n\r\n"))

    def test_half_of_a_request_then_the_endpoint_leaves(self) -> None:
        """502 while the client uploads: it is drained, not cut, so that it can read the answer."""
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n")
        client.send(b"x" * 10)
        origin.reset()
        self.turn()
        self.assertEqual((answer(client.got()).start, client.finished, client.aborted, client.reading),
                         (502, True, False, True))

    def test_a_stalled_endpoint_leaves(self) -> None:
        """The client that it had paused is read again."""
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n")
        origin.stall()
        client.send(b"x" * 200_000)
        self.assertFalse(client.reading)
        origin.reset()
        self.turn()
        self.assertEqual((answer(client.got()).start, client.reading), (502, True))


class ConnectTests(ProxyCase):
    endpoint_count = 3

    def test_another_endpoint_is_tried_once(self) -> None:
        """Nothing was sent, so any method may go to another endpoint (not the same one); the record counts the
        tries."""
        for request in (GET, POST):
            client = self.client()
            client.send(request)
            first = self.dialled
            first.fail()
            second = self.dialled
            self.assertIsNot(second.endpoint, first.endpoint)
            origin = second.accept()
            self.assertEqual(requests(origin.got())[0].start, request.partition(b" ")[0])
            origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            self.assertEqual((answer(client.got()).start, self.records[-1].attempts, self.records[-1].flag),
                             (200, 2, ""))
            self.assertIs(self.records[-1].endpoint, second.endpoint)
            self.assertEqual((first.endpoint.active, first.endpoint.connections), (0, 0))
        self.assertEqual((self.cluster.counters.connect_failures, self.cluster.counters.retries,
                          self.cluster.counters.connects), (2, 2, 4))

    def test_then_the_client_is_told(self) -> None:
        """502 when the second fails as well; 504 when it did not answer in time."""
        for error, status in ((ConnectFailed("Connection refused"), 502), (ConnectTimeout("no answer"), 504)):
            client = self.client()
            client.send(GET)
            self.dialled.fail()
            self.dialled.fail(error)
            self.assertEqual((answer(client.got()).start, self.records[-1].flag, self.rig.dials), (status, "UF", []))
            self.assertEqual((self.records[-1].attempts, client.gone), (2, False))
            self.assertEqual(self.under_way(), {})

    def test_a_body_that_waits_goes_to_the_second_one(self) -> None:
        """Nothing of it was sent to the first."""
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n01")
        client.send(b"23")
        self.dialled.fail()
        client.send(b"45")
        self.assertEqual(requests(self.accept().got())[0].body, b"012345")

    def test_the_dial_has_the_cluster_s_time(self) -> None:
        """cluster.connection_timeout, or what the route's timeout leaves of it."""
        self.client().send(GET)
        self.assertEqual(self.dialled.timeout_s, CONNECT_TIMEOUT_S)
        self.accept()
        self.route.timeout_s = 0.5
        self.client().send(GET)
        self.assertEqual(self.dialled.timeout_s, 0.5)

    def test_no_try_after_the_route_s_time(self) -> None:
        """A connect failure at the end of the route's timeout is the end."""
        self.route.timeout_s = 1.0
        client = self.client()
        client.send(GET)
        self.advance(1.0)
        self.dialled.fail(ConnectTimeout("no answer"))
        self.assertEqual((answer(client.got()).start, self.rig.dials), (504, []))

    def test_nobody_else_is_ready(self) -> None:
        """One endpoint alone is not dialled twice."""
        for other in self.cluster.endpoints[1:]:
            other.ready = False
        client = self.client()
        client.send(GET)
        self.assertIs(self.dialled.endpoint, self.endpoint)
        self.dialled.fail()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))


class OverflowTests(ProxyCase):
    limits = Limits(connections=2, pending=1, requests=3)

    def refused(self, client: Wire) -> None:
        """The client is told 503 by the limit, at once."""
        self.assertEqual((answer(client.got()).start, self.records[-1].flag), (503, "UO"))

    def test_requests_that_wait_for_a_connection(self) -> None:
        """circuit_breaker.pending_requests."""
        self.client().send(GET)
        second = self.client()
        second.send(GET)
        self.refused(second)
        self.assertEqual((self.cluster.counters.overflow, len(self.rig.dials)), (1, 1))
        self.accept().send(EMPTY)
        second.send(GET)                    # it was refused, not punished
        self.rig.origins[0].send(EMPTY)
        self.assertEqual(answer(second.got()).start, 200)

    def test_requests_under_way(self) -> None:
        """circuit_breaker.max_requests, even where an idle connection stands ready."""
        self.cluster.max_requests = 1
        self.warm()
        first, second = self.client(), self.client()
        first.send(GET)
        second.send(GET)
        self.refused(second)
        self.assertEqual((self.rig.dials, self.cluster.counters.overflow), ([], 1))
        self.rig.origins[0].send(EMPTY)
        second.send(GET)
        self.assertTrue(self.rig.origins[0].written)

    def test_an_upload_is_refused_too(self) -> None:
        """With close, because its body is still coming."""
        self.client().send(GET)
        second = self.client()
        second.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n0")
        self.assertEqual(answer(second.written).get(b"connection"), b"close")
        self.refused(second)


class RetryOverflowTests(ProxyCase):
    endpoint_count = 2

    def test_a_retry_meets_the_limit(self) -> None:
        """The second try finds the cluster full: 503, and all that was counted is given back."""
        client = self.client()
        client.send(GET)
        self.cluster.max_pending = 0
        self.dialled.fail()
        self.assertEqual((answer(client.got()).start, self.records[0].flag, self.rig.dials), (503, "UO", []))
        self.assertEqual((self.under_way(), client.gone), ({}, False))
