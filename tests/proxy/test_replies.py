"""Answers of our own: their form by Accept, the operator's pages, HEAD and 304, what they give away (promises 3.2,
3.3)."""

from __future__ import annotations

import json

from tests.proxy.rig import DATE, GET, Message, ProxyCase, answer
from voltgw.values.reply import Reply


class LocalReplyTests(ProxyCase):
    def asks(self, *lines: bytes, start: bytes = b"GET / HTTP/1.1") -> Message:
        """The answer to a request that no endpoint can take."""
        self.endpoint.ready = False
        client = self.client()
        client.send(b"\r\n".join([start, b"Host: shop", *lines, b"", b""]))
        return answer(client.got(), start.partition(b" ")[0], closed=client.gone or client.finished)

    def test_problem_details_by_default(self) -> None:
        """RFC 9457: title, status and detail for a program; no endpoint's name or address."""
        message = self.asks(b"Accept: */*")
        self.assertEqual(message.get(b"content-type"), b"application/problem+json")
        problem = json.loads(message.body)
        self.assertEqual((problem["status"], problem["title"], problem["flag"]), (503, "Service Unavailable", "UH"))
        self.assertEqual(problem["request_id"].encode(), self.records[0].request_id)
        self.assertEqual(message.get(b"x-request-id"), self.records[0].request_id)
        self.assertNotIn(self.endpoint.address.encode(), message.body)

    def test_a_page_for_a_browser(self) -> None:
        """Accept names text/html, in any case; else not."""
        for accept in (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", b"Text/HTML"):
            message = self.asks(b"Accept: " + accept)
            self.assertEqual(message.get(b"content-type"), b"text/html; charset=utf-8")
            self.assertIn(b"<h1>503 Service Unavailable</h1>", message.body)
            self.assertIn(self.records[-1].request_id, message.body)
        for accept in (b"application/json", b"text/plain"):
            self.assertEqual(self.asks(b"Accept: " + accept).get(b"content-type"), b"application/problem+json")

    def test_nothing_of_the_request_is_echoed(self) -> None:
        """A page that repeats what it was asked is a page that can be made to say anything."""
        message = self.asks(b"Accept: text/html", b"X-A: <script>", start=b"GET /<script>?<script> HTTP/1.1")
        self.assertNotIn(b"script", message.body)

    def test_every_answer_has_date_server_and_length(self) -> None:
        """RFC 9110 6.6.1; our name without a version."""
        message = self.asks()
        self.assertEqual((message.get(b"date"), message.get(b"server"), int(message.get(b"content-length") or 0)),
                         (DATE, b"voltgw", len(message.body)))

    def test_the_server_line_is_the_host_s(self) -> None:
        """As for answers that are passed on; a refusal that no host is known for has ours."""
        self.host.server_line = b"server: own"
        self.assertEqual(self.asks().get(b"server"), b"own")
        self.host.server_line = None
        self.assertIs(self.asks().get(b"server"), None)
        client = self.client()
        client.send(b"BAD\r\n\r\n")
        self.assertEqual(answer(client.got()).get(b"server"), b"voltgw")

    def test_head_gets_the_head(self) -> None:
        """The length that a GET would have, and no body (RFC 9110 9.3.2); the connection goes on."""
        get = self.asks()
        head = self.asks(start=b"HEAD / HTTP/1.1")
        self.assertEqual((head.start, head.get(b"content-length"), head.body), (503, get.get(b"content-length"), b""))
        client = self.client()
        client.send(b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.assertTrue(client.got().endswith(b"\r\n\r\n"))
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 503)

    def test_an_old_client(self) -> None:
        """HTTP/1.0 closes unless it asks not to, and is told which."""
        message = self.asks(start=b"GET / HTTP/1.0")
        self.assertEqual(message.get(b"connection"), b"close")
        message = self.asks(b"Connection: keep-alive", start=b"GET / HTTP/1.0")
        self.assertEqual(message.get(b"connection"), b"keep-alive")

    def test_the_operator_s_own_pages(self) -> None:
        """custom_errors by status, else by class; the status wins."""
        self.host.custom_errors = {503: b"<p>back soon", 5: b"<p>five"}
        message = self.asks(b"Accept: application/json")
        self.assertEqual((message.body, message.get(b"content-type")), (b"<p>back soon", b"text/html; charset=utf-8"))
        self.host.custom_errors = {5: b"<p>five", 4: b"<p>four"}
        self.assertEqual(self.asks().body, b"<p>five")
        self.host.only = None
        self.assertEqual(self.asks().body, b"<p>four")
        self.host.custom_errors = {403: b"<p>forbidden"}
        self.assertEqual(json.loads(self.asks().body)["status"], 404)

    def test_the_operator_s_pages_are_not_for_endpoints(self) -> None:
        """An endpoint's own 503 passes as it is."""
        self.host.custom_errors = {503: b"<p>back soon"}
        _, got = self.exchange(GET, b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
        self.assertEqual(answer(got).body, b"busy")

    def test_no_pages_at_all(self) -> None:
        """disable_default_error_pages: the status says it all."""
        self.host.default_error_pages = False
        message = self.asks(b"Accept: text/html")
        self.assertEqual((message.start, message.body, message.get(b"content-length"), message.get(b"content-type")),
                         (503, b"", b"0", None))

    def test_statuses_without_a_body(self) -> None:
        """RFC 9110 8.6: a 204 has no Content-Length, and a 304 none that is not the 200's."""
        for status in (204, 304):
            reply = Reply(status, body=b"x", flag="X")
            self.route.request_filters = (lambda exchange, reply=reply: reply,)     # type: ignore[misc]
            client = self.client()
            client.send(GET)
            data = client.got()
            message = answer(data)
            self.assertEqual((message.start, message.get(b"content-length")), (status, None))
            self.assertTrue(data.endswith(b"\r\n\r\n"))

    def test_a_status_that_has_no_name(self) -> None:
        """An empty reason is valid (RFC 9112 4)."""
        self.route.request_filters = (lambda exchange: Reply(499, body=b"x"), )
        client = self.client()
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 499)
        self.route.request_filters = (lambda exchange: Reply(599, body=b"x"), )
        client.send(GET)
        self.assertTrue(client.written.startswith(b"HTTP/1.1 599 \r\n"))
        self.assertEqual(answer(client.got()).start, 599)

    def test_a_direct_response_is_not_dressed_up(self) -> None:
        """Its fields and body are the route's: no request id, no page, even for an empty one."""
        self.host.custom_errors = {404: b"<p>own"}
        self.route.request_filters = (lambda exchange: Reply(404, [(b"x-a", b"b")]), )
        client = self.client()
        client.send(GET)
        message = answer(client.got())
        self.assertEqual((message.body, message.get(b"x-a"), message.get(b"x-request-id")), (b"", b"b", None))

    def test_counters(self) -> None:
        """By flag, by class, at the route that was found or at nobody's."""
        self.asks()
        self.assertEqual((self.route.counters.local_replies, self.route.counters.status[5]), ({"UH": 1}, 1))
        client = self.client()
        client.send(b"BAD\r\n\r\n")
        self.assertEqual((self.rig.unrouted.local_replies, self.rig.unrouted.status[4], self.counters.bad_requests),
                         ({"DPE": 1}, 1, 1))
