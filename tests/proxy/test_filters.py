"""Filters: answers, edits, decisions that take time, and mistakes (one bug costs one request)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from tests.proxy.rig import EMPTY, GET, ProxyCase, answer, answers, requests
from voltgw.errors import BadRequest
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

UPLOAD = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n01"


class Mistake(Exception):
    """A bug of a filter."""


def mistake(exchange: Exchange) -> None:
    """A filter with a bug."""
    raise Mistake("no")


class RequestFilterTests(ProxyCase):
    def test_they_run_in_order_and_edit_what_goes_on(self) -> None:
        """Each sees what the one before it has done."""
        def first(exchange: Exchange) -> None:
            exchange.request.fields.append((b"x-one", b"1"))

        def second(exchange: Exchange) -> None:
            assert exchange.request.get(b"x-one") == b"1"
            exchange.request.fields = [(b"x-two", b"2")]

        self.route.request_filters = (first, second)
        got, _ = self.exchange(GET, EMPTY)
        self.assertEqual([field for field in requests(got)[0].fields if field[0].startswith(b"x-t")],
                         [(b"x-two", b"2")])
        self.assertNotIn(b"x-one", got)

    def test_hop_by_hop_fields_are_out_of_sight(self) -> None:
        """No filter can be tricked by them, and none sees the client's own word on who it is."""
        seen: list[list[tuple[bytes, bytes]]] = []
        self.route.request_filters = (lambda exchange: seen.append(list(exchange.request.fields)),)
        self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nX-Forwarded-For: 1\r\nA: b\r\n\r\n", EMPTY)
        self.assertEqual(seen, [[(b"a", b"b")]])

    def test_a_reply_ends_the_exchange(self) -> None:
        """Later filters do not run, no endpoint hears of it; the connection goes on."""
        later: list[Exchange] = []
        self.route.request_filters = (lambda exchange: Reply(403, [(b"x-why", b"because")], b"no", detail="denied"),
                                      later.append)
        client = self.client()
        client.send(GET)
        message = answer(client.got())
        self.assertEqual((message.start, message.body, message.get(b"x-why"), message.get(b"connection")),
                         (403, b"no", b"because", None))
        self.assertEqual((later, self.rig.dials, self.records[0].detail, self.route.counters.status[4]),
                         ([], [], "denied", 1))
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 403)

    def test_a_reply_may_close(self) -> None:
        """The client is told and drained."""
        self.route.request_filters = (lambda exchange: Reply(429, close=True),)
        client = self.client()
        client.send(GET)
        self.assertEqual((answer(client.got()).get(b"connection"), client.finished), (b"close", True))

    def test_a_reply_to_an_upload(self) -> None:
        """It closes, because the body was not wanted."""
        self.route.request_filters = (lambda exchange: Reply(403),)
        client = self.client()
        client.send(UPLOAD)
        self.assertEqual((answer(client.got()).get(b"connection"), client.finished), (b"close", True))

    def test_a_mistake_costs_one_request(self) -> None:
        """500 and close, logged once by the guard; other connections go on."""
        other, origin = self.asked()
        self.route.request_filters = (mistake,)
        client = self.client()
        client.send(GET)
        self.turn()
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"connection"), client.finished), (500, b"close", True))
        self.assertEqual((self.records[0].flag, self.records[0].detail), ("IE", "internal_error"))
        self.assertNotIn(b"Mistake", message.body)
        self.assertEqual(len(self.failures(Mistake)), 1)
        origin.send(EMPTY)
        self.assertEqual(answer(other.got()).start, 200)

    def test_a_mistake_with_a_body_under_way(self) -> None:
        """The same; what still comes is not taken for a request."""
        self.route.request_filters = (mistake,)
        client = self.client()
        client.send(UPLOAD)
        client.send(b"2345" + GET)
        self.turn()
        self.assertEqual((answer(client.got()).start, client.finished, len(self.records)), (500, True, 1))
        self.failures(Mistake)


class SlowFilterTests(ProxyCase):
    def setUp(self) -> None:
        """A filter that asks somebody."""
        super().setUp()
        self.asked_for: list[Exchange] = []
        self.waiting: Deferred[Reply | None] = Deferred()
        self.route.request_filters = (self.ask,)

    def ask(self, exchange: Exchange) -> Deferred[Reply | None]:
        """The filter."""
        self.asked_for.append(exchange)
        return self.waiting

    def test_it_says_yes(self) -> None:
        """Then the request goes on."""
        client = self.client()
        client.send(GET)
        self.assertEqual((self.rig.dials, client.written), ([], b""))
        self.waiting.callback(None)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_it_says_no(self) -> None:
        """Then its reply is the answer; the connection goes on."""
        client = self.client()
        client.send(GET)
        self.waiting.callback(Reply(401, [(b"www-authenticate", b"Basic")]))
        self.assertEqual((answer(client.got()).start, client.gone, self.rig.dials), (401, False, []))

    def test_it_has_said_so_already(self) -> None:
        """A Deferred that has fired costs nothing."""
        for decision, status in ((None, 200), (Reply(401), 401)):
            fired = succeed(decision)
            self.route.request_filters = (lambda exchange, fired=fired: fired,)     # type: ignore[misc]
            client = self.client()
            client.send(GET)
            if status == 200:
                self.accept().send(EMPTY)
            self.assertEqual(answer(client.got()).start, status)

    def test_what_comes_meanwhile_waits(self) -> None:
        """The rest of the body and the next request keep their order and their meaning."""
        client = self.client()
        client.send(UPLOAD)
        client.send(b"2345" + GET)
        self.assertEqual((len(self.asked_for), self.rig.dials), (1, []))
        self.waiting.callback(None)
        origin = self.accept()
        self.assertEqual([(message.start, message.body) for message in requests(origin.got())], [(b"POST", b"012345")])
        self.waiting = succeed(None)
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(requests(origin.got())[0].start, b"GET")

    def test_it_says_no_to_an_upload(self) -> None:
        """The body that came meanwhile is not taken for a request."""
        client = self.client()
        client.send(UPLOAD)
        client.send(b"2345" + GET)
        self.waiting.callback(Reply(403))
        self.assertEqual((answer(client.got()).start, client.finished), (403, True))
        self.turn()
        self.assertEqual((len(self.asked_for), len(self.records)), (1, 1))

    def test_on_a_pooled_connection(self) -> None:
        """The upload streams on after the decision."""
        self.route.request_filters = ()
        idle, = self.warm()
        self.route.request_filters = (self.ask,)
        client = self.client()
        client.send(UPLOAD)
        client.send(b"23")
        self.waiting.callback(None)
        client.send(b"45")
        self.assertEqual(requests(idle.got())[0].body, b"012345")
        idle.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_several_of_them(self) -> None:
        """Each runs once, in order, quick ones between them too, and the same one twice if it stands there twice."""
        order: list[str] = []
        waits: list[Deferred[Reply | None]] = []

        def slow(exchange: Exchange) -> Deferred[Reply | None]:
            order.append("slow")
            waits.append(Deferred())
            return waits[-1]

        def quick(exchange: Exchange) -> None:
            order.append("quick")

        self.route.request_filters = (quick, slow, quick, slow, slow, quick)
        client = self.client()
        client.send(GET)
        for number in range(3):
            self.assertEqual(len(waits), number + 1)
            waits[number].callback(None)
        self.assertEqual(order, ["quick", "slow", "quick", "slow", "slow", "quick"])
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_a_quick_no_behind_a_slow_yes(self) -> None:
        """It is an answer like any other."""
        self.route.request_filters = (self.ask, lambda exchange: Reply(403))
        client = self.client()
        client.send(GET)
        self.waiting.callback(None)
        self.assertEqual((answer(client.got()).start, self.rig.dials), (403, []))

    def test_it_fails(self) -> None:
        """500 and close; the failure is logged once, never only as an unhandled error in a Deferred."""
        client = self.client()
        client.send(GET)
        self.waiting.errback(Mistake("no"))
        self.assertEqual((answer(client.got()).start, client.finished, self.records[0].flag), (500, True, "IE"))
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_it_has_failed_already(self) -> None:
        """The same."""
        self.route.request_filters = (lambda exchange: fail(Mistake("no")),)
        client = self.client()
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 500)
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_a_mistake_behind_it(self) -> None:
        """A filter that runs after the decision may have a bug as well."""
        self.route.request_filters = (self.ask, mistake)
        client = self.client()
        client.send(UPLOAD)
        self.waiting.callback(None)
        self.assertEqual((answer(client.got()).start, client.finished), (500, True))
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_it_fails_after_its_client_has_left(self) -> None:
        """Nobody is answered, but the failure is not lost."""
        def cancel(deferred: Deferred[Reply | None]) -> None:
            deferred.errback(Mistake("while cancelling"))

        self.waiting = Deferred(cancel)
        client = self.client()
        client.send(GET)
        client.reset()
        self.turn()
        self.assertEqual((client.written, len(self.records)), (b"", 1))
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)


class ResponseFilterTests(ProxyCase):
    def test_they_edit_what_the_client_gets(self) -> None:
        """In order; the framing is out of their sight."""
        def first(exchange: Exchange) -> None:
            assert exchange.response is not None
            exchange.response.fields.append((b"x-one", b"1"))

        def second(exchange: Exchange) -> None:
            assert exchange.response is not None
            names = [name for name, _ in exchange.response.fields]
            assert names == [b"x-a", b"x-one"], names
            exchange.response.fields.remove((b"x-a", b"b"))

        self.route.response_filters = (first, second)
        _, got = self.exchange(GET,
                               b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
        message = answer(got)
        self.assertEqual((message.get(b"x-one"), message.get(b"x-a"), message.body), (b"1", None, b"ok"))

    def test_they_do_not_see_errors_of_ours(self) -> None:
        """Those are made whole."""
        self.route.response_filters = (mistake,)
        self.endpoint.ready = False
        client = self.client()
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 503)

    def test_they_edit_what_the_route_answers_itself(self) -> None:
        """To them a redirect or a direct response is an answer like an endpoint's; the record knows of no endpoint."""
        def edit(exchange: Exchange) -> None:
            assert exchange.response is not None and exchange.response.status == 200
            exchange.response.fields.append((b"x-one", b"1"))

        self.route.response_filters = (edit,)
        self.route.answer = lambda head, client: Reply(200, [(b"x-a", b"b")], b"hello")
        client = self.client()
        client.send(GET)
        message = answer(client.got())
        self.assertEqual((message.get(b"x-one"), message.get(b"x-a"), message.body), (b"1", b"b", b"hello"))
        self.assertEqual((self.records[0].response, self.records[0].endpoint), (None, None))

    def test_a_mistake_costs_one_request(self) -> None:
        """500 and close; the endpoint's connection is not trusted any more."""
        self.route.response_filters = (mistake,)
        client, origin = self.asked()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((answer(client.got()).start, client.finished, origin.aborted), (500, True, True))
        self.assertEqual((self.records[0].flag, self.under_way()), ("IE", {}))
        self.failures(Mistake)

    def test_a_mistake_of_ours_within_an_answer(self) -> None:
        """The answer has begun: both sides are cut, and the record says whose fault it was."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012")
        origin.crashed()
        self.turn()
        self.assertEqual((client.aborted, origin.aborted, self.records[0].flag), (True, True, "IE"))

    def test_a_mistake_with_requests_sent_ahead(self) -> None:
        """They are not answered: the connection closes."""
        self.route.response_filters = (mistake,)
        client, origin = self.asked(GET + GET)
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(([message.start for message in answers(client.got())], len(self.records)), ([500], 1))
        self.failures(Mistake)


class ActionTests(ProxyCase):
    def test_a_route_that_answers(self) -> None:
        """Redirects and direct responses: the route's word, no endpoint."""
        self.route.cluster = None
        self.route.answer = lambda head, client: Reply(301, [(b"location", b"https://" + head.host + head.path)])
        client = self.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: Shop\r\n\r\n")
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"location"), message.get(b"content-length")),
                         (301, b"https://shop/a", b"0"))
        self.assertEqual((self.records[0].detail, self.records[0].flag), ("direct_response", ""))

    def test_an_unexpected_error_of_a_rewrite(self) -> None:
        """A bug there is a bug: 500, and the endpoint that was picked is given back."""
        self.route.rewrite = lambda head: self.records[0].request_id
        client = self.client()
        client.send(GET)
        self.turn()
        self.assertEqual((answer(client.got()).start, self.under_way()), (500, {}))
        self.failures(IndexError)

    def test_an_expected_error_of_a_rewrite(self) -> None:
        """ValueError is the route's way to say that the path may not be sent: 400, counted as the client's."""
        def escape(head: object) -> bytes:
            raise ValueError("climbs")

        self.route.rewrite = escape
        client = self.client()
        client.send(GET)
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (BadRequest("").answer, "DPE"))
