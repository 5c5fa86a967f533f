"""Header edits on answers that a route gives itself: redirects and direct responses have them, error pages have not."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.proxy.rig import DATE, EMPTY, GET, Message, ProxyCase, answer
from tests.routing.support import build
from voltgw.config.objects.headers import HeaderManipulationOptionType
from voltgw.config.objects.route import PathMatcherType, RouteDirectResponse, RouteMatch, RouteRedirect, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.routing.hosts import HostTable
from voltgw.routing.table import Route
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

HEAD = b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n"
HSTS = "strict-transport-security"


class Mistake(Exception):
    """A bug of a filter."""


def add(name: str, value: str, append: bool = False) -> HeaderManipulationOptionType:
    """A header to put in."""
    return HeaderManipulationOptionType(name=name, value=value, append=append)


class OwnAnswerCase(ProxyCase):
    def serve(self, rule: RouteType, spec: VirtualHostSpec | None = None) -> Route:
        """The listener has one host with this rule from now on."""
        host = build(rule, spec=spec)
        self.http.table = HostTable([(["*"], host)])
        route, = host.routes
        return route

    def ask(self, request: bytes = GET) -> Message:
        """What a new client is answered."""
        client = self.client()
        client.send(request)
        self.turn()
        return answer(client.got(), request.partition(b" ")[0])


class EditTests(OwnAnswerCase):
    def test_a_redirect_has_the_edits_of_its_route_and_host(self) -> None:
        """As Envoy: the route's first, then the virtual host's; the redirect itself is what it was."""
        self.serve(
            RouteType(route_redirect=RouteRedirect(proto_redirect="https"), response_headers_to_add=(add("x-route", "1"), add("x-both", "route"))),
            VirtualHostSpec(domains=("*",), response_headers_to_add=(add(HSTS, "max-age=31536000"), add("x-both", "host")),
                            response_headers_to_remove=("x-gone",)))
        message = self.ask()
        self.assertEqual(message.start, 301)
        self.assertEqual(message.fields[:4], [
            (b"location", b"https://shop/"), (b"x-route", b"1"), (HSTS.encode(), b"max-age=31536000"), (b"x-both", b"host")])
        self.assertEqual(message.names()[4:], [b"server", b"date", b"content-length"])

    def test_a_direct_response_has_them_too(self) -> None:
        """Its type may be corrected; its status, body and length are not touched."""
        self.serve(RouteType(
            route_direct_response=RouteDirectResponse(response_code=404, response_body="<x/>"),
            response_headers_to_add=(add("Content-Type", "application/xml"), add("x-a", "1", True), add("x-a", "2", True))))
        for request, body in ((GET, b"<x/>"), (HEAD, b"")):
            message = self.ask(request)
            self.assertEqual((message.start, message.body, message.get(b"content-type"), message.get(b"content-length")),
                             (404, body, b"application/xml", b"4"))
            self.assertEqual([value for name, value in message.fields if name == b"x-a"], [b"1", b"2"])

    def test_a_header_can_be_taken_away(self) -> None:
        """Also one that we wrote ourselves."""
        self.serve(RouteType(route_direct_response=RouteDirectResponse(response_body="x"), response_headers_to_remove=("content-type",)))
        self.assertEqual(self.ask().names(), [b"server", b"date", b"content-length"])

    def test_edits_do_not_gather(self) -> None:
        """A route that gives the same reply every time gets it edited anew every time."""
        same = Reply(200, [(b"x-own", b"1")])
        route = self.serve(RouteType(route_direct_response=RouteDirectResponse(), response_headers_to_add=(add("x-a", "1", True),)))
        route.answer = lambda head, client: same
        client = self.client()
        for _ in range(3):
            client.send(GET)
            self.assertEqual(answer(client.got()).names(), [b"x-own", b"x-a", b"server", b"date", b"content-length"])
        self.assertEqual(same.fields, [(b"x-own", b"1")])

    def test_without_edits_nothing_changes(self) -> None:
        """The answer is the route's reply, byte for byte."""
        self.serve(RouteType(route_direct_response=RouteDirectResponse(response_body="x")))
        client = self.client()
        client.send(GET)
        self.assertEqual(client.got(), b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\nserver: voltgw\r\ndate: " + DATE
                         + b"\r\ncontent-length: 1\r\n\r\nx")

    def test_who_is_named_as_server(self) -> None:
        """A Server that an edit sets is to the virtual host what an endpoint's own is; there is never more than one."""
        edited = (add("server", "edited"),)
        table: list[tuple[dict[str, object], tuple[HeaderManipulationOptionType, ...], bytes | None]] = [
            ({}, edited, b"voltgw"), ({"server_name": "own"}, edited, b"own"), ({"append_server_name": "own"}, edited, b"edited"),
            ({"append_server_name": "own"}, (add("x-a", "1"),), b"own"), ({"pass_through": True}, edited, b"edited"),
            ({"pass_through": True}, (add("x-a", "1"),), None),
        ]
        for choice, edits, wanted in table:
            self.serve(RouteType(route_redirect=RouteRedirect(), response_headers_to_add=edits),
                       VirtualHostSpec(domains=("*",), **choice))  # type: ignore[arg-type]  # the choice's field name
            self.assertEqual(self.ask().get(b"server"), wanted, choice)

    def test_there_is_one_date(self) -> None:
        """An edited Date stands alone; one that was taken away is written anew (RFC 9110 6.6.1)."""
        for edits, removed, wanted in (((add("Date", "then"),), (), b"then"), ((), ("date",), DATE)):
            self.serve(RouteType(
                route_redirect=RouteRedirect(), response_headers_to_add=edits, response_headers_to_remove=removed))
            self.assertEqual(self.ask().get(b"date"), wanted)

    def test_after_a_decision_that_took_time(self) -> None:
        """The slow lane leads to the same answer."""
        decision: Deferred[Reply | None] = Deferred()
        route = self.serve(RouteType(route_redirect=RouteRedirect(), response_headers_to_add=(add("x-a", "1"),)))
        route.request_filters = (lambda exchange: decision,)
        client = self.client()
        client.send(GET)
        self.assertEqual(client.got(), b"")
        decision.callback(None)
        self.assertEqual(answer(client.got()).get(b"x-a"), b"1")

    def test_the_connection_goes_on_as_without_edits(self) -> None:
        """A client that wants to close is told so, and one that is still sending its body is not waited for."""
        self.serve(RouteType(route_direct_response=RouteDirectResponse(), response_headers_to_add=(add("x-a", "1"),)))
        for request in (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n0123"):
            message = self.ask(request)
            self.assertEqual((message.get(b"x-a"), message.get(b"connection")), (b"1", b"close"))


class FilterTests(OwnAnswerCase):
    def test_what_a_filter_sees(self) -> None:
        """A head like an endpoint's; when the exchange is recorded, none is there: no endpoint has answered."""
        route = self.serve(RouteType(route_direct_response=RouteDirectResponse(response_code=201, response_body="abc")))
        seen: list[tuple[object, ...]] = []

        def look(exchange: Exchange) -> None:
            response = exchange.response
            assert response is not None
            seen.append((response.status, response.reason, response.fields, response.length, response.server, response.dated))
            response.fields = [(b"x-new", b"list")]

        route.response_filters = (look,)
        message = self.ask()
        self.assertEqual(seen, [(201, b"Created", [(b"content-type", b"text/plain; charset=utf-8")], 3, None, False)])
        self.assertEqual(message.names(), [b"x-new", b"server", b"date", b"content-length"])
        record, = self.records
        self.assertEqual((record.response, record.response_code, record.detail, record.flag, record.endpoint, record.attempts),
                         (None, 201, "direct_response", "", None, 0))
        self.assertEqual(route.counters.status, [0, 0, 1, 0, 0, 0])

    def test_a_bug_of_a_filter(self) -> None:
        """It costs this one request: 500, recorded once, without a trace of the answer that it was to be."""
        route = self.serve(RouteType(route_redirect=RouteRedirect()))

        def mistake(exchange: Exchange) -> None:
            raise Mistake("no")

        route.response_filters = (mistake,)
        message = self.ask()
        self.assertEqual((message.start, message.get(b"location"), message.get(b"connection")), (500, None, b"close"))
        record, = self.records
        self.assertEqual((record.response, record.response_code, record.detail), (None, 500, "internal_error"))
        self.failures(Mistake)


class ErrorPageTests(OwnAnswerCase):
    def test_a_redirect_that_cannot_be_given(self) -> None:
        """The error page that stands for it is not edited."""
        rule = RouteType(
            match=(RouteMatch(path=PathMatcherType(prefix="/old")),), route_redirect=RouteRedirect(prefix_rewrite="/new/"),
            response_headers_to_add=(add("x-a", "1"),))
        self.serve(rule)
        page = self.ask(b"GET /old../x HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((page.start, page.get(b"x-a"), page.get(b"content-type")), (400, None, b"application/problem+json"))
        self.assertEqual(self.records[0].flag, "DPE")
        self.assertEqual(self.ask(b"GET /old/x HTTP/1.1\r\nHost: a\r\n\r\n").get(b"x-a"), b"1")

    def test_an_endpoint_that_cannot_be_asked(self) -> None:
        """The edits of a route that forwards are for what endpoints answer, not for our word that none did."""
        edits: list[Exchange] = []
        self.route.response_filters = (edits.append,)
        client = self.client()
        client.send(GET)
        self.dialled.fail()
        self.assertEqual((answer(client.got()).get(b"content-type"), self.records[0].flag, edits), (b"application/problem+json", "UF", []))

    def test_forwarded_answers_are_edited_once(self) -> None:
        """By the endpoint's side, as ever."""
        edits: list[Exchange] = []
        self.route.response_filters = (edits.append,)
        self.exchange(GET, EMPTY)
        self.assertEqual(edits, self.records)
