"""The filters of a route, in their order, and what they cost where they are not used."""

from __future__ import annotations

import sys
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Clusters, Endpoint, RouteObject, answer, build, exchange
from tests.routing.test_filter_extensions import REGISTRY, use
from tests.routing.test_table import add, rule, to
from voltgw.config.objects.extensions import FaultAbort, FaultDelay, FaultType, HostExtension
from voltgw.config.objects.headers import CookieValueOption, SetCookieValueOption
from voltgw.config.objects.policies import CorsPolicy, CsrfPolicy
from voltgw.config.objects.route import RouteSpec
from voltgw.config.objects.virtual_host import CompressionType, VirtualHostSpec
from voltgw.errors import Place
from voltgw.routing.route import Route
from voltgw.routing.table import build_host
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Delay, Reply

FULL = VirtualHostSpec(
    domains=("shop.example",), cors_policy=CorsPolicy(allow_origin=("https://app.example",)),
    csrf_policy=CsrfPolicy(all_load_balancer_domains=True),
    compression_params=CompressionType(remove_accept_encoding_header=True),
    request_headers_to_add=(add("x-host", "1"),), response_headers_to_add=(add("content-type", "text/html"),),
    request_cookies_to_add=(CookieValueOption(name="a", value="1"),),
    response_cookies_to_add=(SetCookieValueOption(name="b", value="2"),),
    voltgw=HostExtension(fault=FaultType(delay=FaultDelay(duration_s=0.5), abort=FaultAbort(status=503)), filters=use("x")))


def full() -> Route:
    """A route of a host that uses everything."""
    return build_host("shop", FULL, [RouteObject("r", RouteSpec(routes=(rule(),)))], Clusters(), registry=REGISTRY).routes[0]


class OrderTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Whoever may refuse comes first; what the endpoint is to see is done last."""
        route = full()
        self.assertEqual([label.name for label in route.filters], [
            "cors", "csrf", "fault", "note", "compression", "request edits", "response edits"])
        exchanged = exchange([(b"origin", b"https://shop.example"), (b"accept-encoding", b"gzip")], method=b"POST")
        kinds = [type(request_filter(exchanged)) for request_filter in route.request_filters]
        nothing = type(None)
        self.assertEqual(kinds, [nothing, nothing, Delay, Reply, nothing, nothing, nothing, nothing])
        self.assertEqual(exchanged.request.fields, [
            (b"origin", b"https://shop.example"), (b"seen", b"x"), (b"x-host", b"1"), (b"cookie", b"a=1")])

    def test_answers(self) -> None:
        """Edits first, so that compression goes by what the client is told; CORS last, so that nobody undoes it."""
        route = full()
        exchanged = exchange([(b"origin", b"https://app.example"), (b"accept-encoding", b"gzip")], answer())
        exchanged.endpoint = Endpoint()
        for request_filter in route.request_filters:
            request_filter(exchanged)
        for response_filter in route.response_filters:
            response_filter(exchanged)
        assert exchanged.response is not None
        self.assertEqual(exchanged.response.fields, [
            (b"content-type", b"text/html"), (b"set-cookie", b"b=2"), (b"seen", b"x"), (b"vary", b"accept-encoding, origin"),
            (b"content-encoding", b"gzip"), (b"access-control-allow-origin", b"https://app.example")])
        self.assertIsNotNone(exchanged.transform)

    def test_where_edits_are_asked_for(self) -> None:
        """In the rule if it has any, else in the host; explain names what is edited, and no value."""
        spec = VirtualHostSpec(domains=("*",), request_headers_to_add=(add("X-Key", "s3cret"),), request_cookies_to_remove=("a",))
        for one, text, place in (
            (rule(), "edits x-key, cookie a", "v.yaml:request_headers_to_add"),
            (rule(request_headers_to_remove=("Y",)), "edits y, x-key, cookie a", "r.yaml:routes.0.request_headers_to_remove"),
        ):
            host = build_host("shop", spec, [RouteObject("r", RouteSpec(routes=(one,)))], Clusters(),
                              place=lambda *path: Place(f"v.yaml:{'.'.join(map(str, path))}", 1))
            (label,) = host.routes[0].filters
            self.assertEqual((label.name, label.text, label.place.file), ("request edits", text, place))

    def test_each_half_alone(self) -> None:
        """A filter that does nothing on one side is not there."""
        route = build(rule(to_=to("c", csrf_policy=CsrfPolicy()), response_headers_to_remove=("a",))).routes[0]
        self.assertEqual((len(route.request_filters), len(route.response_filters)), (1, 1))
        self.assertEqual([label.name for label in route.filters], ["csrf", "response edits"])


def calls(route: Route, exchanged: Exchange) -> int:
    """How many Python functions run while the filters of a route do."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        for request_filter in route.request_filters:
            request_filter(exchanged)
        for response_filter in route.response_filters:
            response_filter(exchanged)
    finally:
        sys.setprofile(None)
    return count


class CostTests(SynchronousTestCase):
    """Calls of our own, as measured by the interpreter; time is measured by the benchmarks."""

    def test_what_is_not_configured(self) -> None:
        """Costs nothing at all."""
        self.assertEqual(calls(build(rule()).routes[0], exchange(response=answer())), 0)

    def test_plain_edits(self) -> None:
        """One call a direction, and one to go through the fields, however many edits there are; variables add two."""
        many = tuple(add(f"x-{number}", "1") for number in range(8))
        route = build(rule(request_headers_to_add=many, response_headers_to_add=many)).routes[0]
        self.assertLessEqual(calls(route, exchange(response=answer())), 4)
        route = build(rule(request_headers_to_add=(add("x-client", "%PATH%"),))).routes[0]
        self.assertLessEqual(calls(route, exchange(response=answer())), 4)

    def test_csrf_of_a_request_that_changes_nothing(self) -> None:
        """One call."""
        route = build(rule(to_=to("c", csrf_policy=CsrfPolicy()))).routes[0]
        self.assertEqual(calls(route, exchange()), 1)
