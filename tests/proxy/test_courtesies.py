"""What a proxy owes others by the book: Via, Max-Forwards, Proxy-Status, and names as somebody wants them written."""

from __future__ import annotations

from tests.proxy.rig import DATE, EMPTY, GET, Message, ProxyCase, Wire, answer, requests
from voltgw.cluster.cluster import Limits
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import RESPONSE_HEAD_TIMEOUT_S
from voltgw.values.exchange import Exchange
from voltgw.values.header_case import proper_case
from voltgw.values.preserve_case import preserve_case
from voltgw.values.reply import Reply


class ViaTests(ProxyCase):
    def test_off_by_default(self) -> None:
        """Origins stop compressing when they see it; what others have written passes."""
        got, back = self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\n\r\n", EMPTY)
        self.assertEqual((requests(got)[0].get(b"via"), answer(back).get(b"via")), (b"1.1 other", None))

    def test_both_ways(self) -> None:
        """RFC 9110 7.6.3: the version that came in, and a name without ours; behind those of others, in order."""
        self.host.via = True
        got, back = self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n")
        for data, others in ((requests(got)[0], b"1.1 other"), (answer(back), b"1.1 cache")):
            self.assertEqual([value for name, value in data.fields if name == b"via"], [others, b"1.1 voltgw"])
        client = self.client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        origin = self.rig.origins[-1]
        self.assertEqual(requests(origin.got())[0].get(b"via"), b"1.0 voltgw")
        origin.send(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"\r\nvia: 1.0 voltgw\r\n", client.got())


class MaxForwardsTests(ProxyCase):
    def ask(self, request: bytes) -> Message:
        """What a new client is told without any endpoint."""
        client = self.client()
        client.send(request)
        self.assertEqual(self.rig.dials, [])
        return answer(client.got(), request.partition(b" ")[0])

    def test_one_less(self) -> None:
        """RFC 9110 7.6.2: TRACE and OPTIONS go on with one less; for other methods it means nothing."""
        for method, sent, expected in ((b"TRACE", b"10", b"9"), (b"OPTIONS", b"1", b"0"), (b"GET", b"0", b"0"), (b"POST", b"x", b"x")):
            got, _ = self.exchange(method + b" /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + sent + b"\r\n\r\n", EMPTY)
            self.assertEqual(requests(got)[0].get(b"max-forwards"), expected)

    def test_without_it(self) -> None:
        """They are requests like any other."""
        for method in (b"TRACE", b"OPTIONS"):
            got, _ = self.exchange(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY)
            self.assertEqual((requests(got)[0].start, requests(got)[0].get(b"max-forwards")), (method, None))

    def test_a_trace_that_ends_here(self) -> None:
        """It brings back what came, without what is secret (RFC 9110 9.3.8), in a type that no browser shows."""
        message = self.ask(b"TRACE /a?b HTTP/1.1\r\nHost: Shop\r\nMax-Forwards: 0\r\nX-A: 1\r\nCookie: s=1\r\nAuthorization: Basic x\r\n"
                           b"X-Forwarded-For: 10.0.0.1\r\n\r\n")
        self.assertEqual((message.start, message.get(b"content-type"), message.get(b"x-content-type-options")),
                         (200, b"message/http", b"nosniff"))
        self.assertEqual(message.body, b"TRACE /a?b HTTP/1.1\r\nhost: Shop\r\nmax-forwards: 0\r\nx-a: 1\r\n\r\n")
        self.assertEqual((self.records[0].detail, self.records[0].attempts, self.cluster.counters.requests), ("max_forwards", 0, 0))

    def test_options_that_end_here(self) -> None:
        """Also those about the server as a whole."""
        for target in (b"/", b"*"):
            message = self.ask(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            self.assertEqual((message.start, message.body), (204, b""))

    def test_what_is_no_number(self) -> None:
        """400; and a TRACE with a body, which no client may send. The connection is sound."""
        for request in (b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1, 2\r\n\r\n",
                        b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1000000000000\r\n\r\n",
                        b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"):
            message = self.ask(request)
            self.assertEqual((message.start, message.get(b"connection")), (400, None), request)

    def test_answers_of_the_route_come_first(self) -> None:
        """A redirect is a redirect."""
        self.route.answer = lambda head, client: Reply(302)
        self.assertEqual(self.ask(b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").start, 302)


class ProxyStatusTests(ProxyCase):
    limits = Limits(pending=1)

    def setUp(self) -> None:
        """A host that asks for it."""
        super().setUp()
        self.host.proxy_status = True

    def told(self, client: Wire) -> bytes:
        """The error type that the client is told, with the request's id."""
        message = answer(client.got())
        value = message.get(b"proxy-status") or b""
        request_id = self.records[-1].request_id
        self.assertTrue(value.startswith(b"voltgw; error="), value)
        self.assertTrue(value.endswith(b'; details="request ' + request_id + b'"'), value)
        self.assertEqual(message.get(b"x-request-id"), request_id)
        return value.partition(b"error=")[2].partition(b";")[0]

    def test_every_failure_has_its_type(self) -> None:
        """RFC 9209 2.3, by what really happened."""
        def with_dial(error: ConnectFailed) -> Wire:
            client = self.client()
            client.send(GET)
            self.dialled.fail(error)
            return client

        def with_answer(data: bytes) -> Wire:
            client, origin = self.asked()
            origin.send(data)
            if not data:
                origin.fin()
            self.turn()
            return client

        self.assertEqual(self.told(with_dial(ConnectFailed("refused"))), b"connection_refused")
        self.assertEqual(self.told(with_dial(ConnectTimeout("late"))), b"connection_timeout")
        self.assertEqual(self.told(with_answer(b"")), b"connection_terminated")
        self.assertEqual(self.told(with_answer(b"garbage\r\n\r\n")), b"http_protocol_error")
        client, _ = self.asked()
        self.advance(RESPONSE_HEAD_TIMEOUT_S + 4 * TICK_S)
        self.assertEqual(self.told(client), b"http_response_timeout")
        self.client().send(GET)
        client = self.client()
        client.send(GET)
        self.assertEqual(self.told(client), b"connection_limit_reached")
        self.dialled.fail()
        self.endpoint.ready = False
        client.send(GET)
        self.assertEqual(self.told(client), b"destination_unavailable")
        self.endpoint.ready = True
        self.host.only = None
        client.send(GET)
        self.assertEqual(self.told(client), b"destination_not_found")
        self.host.only = self.route
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"zz\r\n")
        self.assertEqual(self.told(client), b"http_request_error")
        self.route.request_filters = (lambda exchange: Reply(403, flag="UAEX", negotiate=True),)
        client = self.client()
        client.send(GET)
        self.assertEqual(self.told(client), b"http_request_denied")

    def test_a_bug_of_ours(self) -> None:
        """Is said to be one, and nothing of it."""
        class Mistake(Exception):
            """A bug."""

        def mistake(exchange: Exchange) -> None:
            raise Mistake("secret")

        self.route.request_filters = (mistake,)
        client = self.client()
        client.send(GET)
        self.assertEqual(self.told(client), b"proxy_internal_error")
        self.failures(Mistake)

    def test_where_there_is_none(self) -> None:
        """Not in answers that endpoints or routes gave, and not where the host does not ask for it."""
        _, back = self.exchange(GET, b"HTTP/1.1 503 X\r\nProxy-Status: cdn; error=x\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(answer(back).get(b"proxy-status"), b"cdn; error=x")
        client = self.client()
        self.route.answer = lambda head, client: Reply(404)
        client.send(GET)
        self.assertIsNone(answer(client.got()).get(b"proxy-status"))
        self.route.answer = None
        self.host.proxy_status = False
        self.endpoint.ready = False
        client.send(GET)
        self.assertIsNone(answer(client.got()).get(b"proxy-status"))


class CaseTests(ProxyCase):
    def test_proper_case_in_requests(self) -> None:
        """Every name of the head, ours too; values, body and the request line stay."""
        self.cluster.header_case = proper_case
        got, _ = self.exchange(b"POST /a:b HTTP/1.1\r\nhost: a\r\nx-my-field: v:w\r\nCOOKIE: a=b\r\nContent-Length: 9\r\n\r\nx-y: z\r\n\r\n"[:-1], EMPTY)
        head, _, body = got.partition(b"\r\n\r\n")
        names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
        self.assertEqual(names, [b"Host", b"X-My-Field", b"Cookie", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Real-Ip", b"X-Request-Id",
                                 b"Content-Length"])
        self.assertTrue(head.startswith(b"POST /a:b HTTP/1.1\r\nHost: a\r\nX-My-Field: v:w\r\n"))
        self.assertEqual(body, b"x-y: z\r\n\r")

    def test_a_stale_connection_with_another_host(self) -> None:
        """Host is found whatever its name is written like."""
        self.cluster.header_case = proper_case
        self.route.auto_host_rewrite = True
        idle, = self.warm()
        client = self.client()
        client.send(GET)
        idle.fin()
        self.endpoint.authority = b"new.example"
        got = self.accept().got()
        self.assertTrue(got.startswith(b"GET / HTTP/1.1\r\nHost: new.example\r\n"))

    def test_proper_case_in_answers(self) -> None:
        """For clients of this host: endpoints' answers, ours, and whatever is added."""
        self.host.header_case = proper_case
        self.host.via = True
        _, back = self.exchange(GET, b"HTTP/1.1 200 OK\r\nserver: x\r\nx-a: b\r\nETAG: c\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(back, b"HTTP/1.1 200 OK\r\nX-A: b\r\nEtag: c\r\nServer: voltgw\r\nDate: " + DATE
                         + b"\r\nContent-Length: 2\r\nVia: 1.1 voltgw\r\n\r\nok")
        self.endpoint.ready = False
        client = self.client()
        client.send(GET)
        names = [line.partition(b":")[0] for line in client.got().partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
        self.assertEqual(names, [b"Content-Type", b"Server", b"Date", b"X-Request-Id", b"Content-Length"])

    def test_preserved_in_answers(self) -> None:
        """As the endpoint wrote them; what we add is lower case."""
        self.host.header_case = preserve_case
        for framing, body in ((b"content-LENGTH: 2", b"ok"), (b"TRANSFER-encoding: chunked", b"2\r\nok\r\n0\r\n\r\n")):
            _, back = self.exchange(GET, b"HTTP/1.1 200 OK\r\nX-MiXeD: 1\r\nETag: c\r\nwww-authenticate: d\r\n" + framing + b"\r\n\r\n" + body)
            head = back.partition(b"\r\n\r\n")[0]
            self.assertEqual(head.split(b"\r\n")[1:], [b"X-MiXeD: 1", b"ETag: c", b"www-authenticate: d", b"server: voltgw", b"date: " + DATE, framing])

    def test_preserved_in_requests(self) -> None:
        """As the client wrote them, once the listener knows that it matters: from the second request on."""
        self.cluster.header_case = preserve_case
        request = b"GET / HTTP/1.1\r\nHOST: a\r\nX-MiXeD: 1\r\nsoapaction: x\r\nSOAPAction: y\r\n\r\n"
        first, _ = self.exchange(request, EMPTY)
        self.assertIn(b"\r\nx-mixed: 1\r\n", first)
        for _ in range(2):
            self.rig.origins[-1].clear()
            got, _ = self.exchange(request, EMPTY)
            self.assertTrue(got.startswith(b"GET / HTTP/1.1\r\nHOST: a\r\nX-MiXeD: 1\r\nSOAPAction: x\r\nSOAPAction: y\r\nx-forwarded-for: "))

    def test_names_of_another_request_do_not_leak(self) -> None:
        """Each request's names are its own, also on one connection."""
        self.cluster.header_case = preserve_case
        self.http.keeps_names = True
        client = self.client()
        got = b""
        for name in (b"X-AAA", b"x-aaa"):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": 1\r\n\r\n")
            origin = self.accept() if self.rig.dials else self.rig.origins[-1]
            got = origin.got()
            self.assertIn(b"\r\n" + name + b": 1\r\n", got)
            origin.send(EMPTY)

    def test_fields_that_a_filter_adds(self) -> None:
        """Have no spelling to preserve."""
        self.cluster.header_case = preserve_case
        self.http.keeps_names = True
        self.route.request_filters = (lambda exchange: exchange.request.fields.append((b"x-added", b"1")),)
        got, _ = self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY)
        self.assertIn(b"\r\nx-added: 1\r\n", got)
