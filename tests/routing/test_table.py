"""Virtual hosts and routes built from configuration."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import PORT, Client, Clusters, RouteObject, build, chosen, exchange, prefix, request
from voltgw.config.objects.headers import HeaderManipulationOptionType
from voltgw.config.objects.policies import RetryPolicyType
from voltgw.config.objects.route import (
    HeaderMatcherType,
    HttpMethod,
    PathMatcherType,
    QueryParameterMatcherType,
    RouteDestination,
    RouteDestinationList,
    RouteDirectResponse,
    RouteExtension,
    RouteMatch,
    RouteRedirect,
    RouteSpec,
    RouteType,
)
from voltgw.config.objects.virtual_host import ProxyType, SlowDDoSMitigation, VirtualHostSpec
from voltgw.config.values import FrozenMap, Ref
from voltgw.errors import Place
from voltgw.routing.problems import BuildErrors
from voltgw.routing.table import VirtualHost, build_host
from voltgw.values import defaults
from voltgw.values.counters import RouteCounters
from voltgw.values.head import ResponseHead


def to(*names: str, **more: object) -> RouteDestinationList:
    """A destination list of these clusters, each ``name`` or ``name=weight``."""
    destinations = []
    for name in names:
        cluster, _, weight = name.partition("=")
        destinations.append(RouteDestination(cluster=(Ref(None, cluster),), weight=int(weight) if weight else None))
    return RouteDestinationList(destinations=tuple(destinations), **more)  # type: ignore[arg-type]  # the caller's fields


def rule(*match: RouteMatch, to_: RouteDestinationList | None = None, **more: object) -> RouteType:
    """A rule that forwards to cluster ``c``."""
    return RouteType(match=match, route_destination=to_ or to("c"), **more)  # type: ignore[arg-type]  # the caller's fields


def add(name: str, value: str) -> HeaderManipulationOptionType:
    return HeaderManipulationOptionType(name=name, value=value)


class ChooseTests(SynchronousTestCase):
    """Which route a host chooses."""

    def test_first_match_wins(self) -> None:
        """Rules are tried in order; no longest-prefix logic (objects.md 22.3)."""
        host = build(rule(prefix("/a")), rule(prefix("/a/b")), rule(prefix("/")))
        for target, wanted in ((b"/a/b", "r/0"), (b"/ab", "r/0"), (b"/b", "r/2"), (b"//a", "r/2"), (b"/x/../a", "r/0"),
                               (b"/%61/b", "r/0"), (b"/a%2Fb", "r/0"), (b"/x/%2e%2e/a", "r/0"), (b"/..", "r/2")):
            self.assertEqual(chosen(host, request(target)), wanted, target)
        self.assertIsNone(host.only)

    def test_no_rule_matches(self) -> None:
        """Then there is no route, not the last one."""
        host = build(rule(prefix("/a")))
        self.assertIsNone(chosen(host, request(b"/b")))
        self.assertIsNone(chosen(build(), request()))

    def test_one_rule_for_everything(self) -> None:
        """Such a host has `only`, so that the data plane need not ask."""
        host = build(rule())
        self.assertIs(host.only, host.choose(request(), PORT))
        self.assertIs(host.only, host.routes[0])

    def test_alternatives(self) -> None:
        """Any of up to sixteen entries is enough; inside one all must hold."""
        entries = [prefix(f"/{n}", http_method=HttpMethod.GET) for n in range(15)]
        host = build(rule(*entries, RouteMatch(headers=(HeaderMatcherType(name="x"),))), rule(prefix("/14")))
        for head, wanted in ((request(b"/7"), "r/0"), (request(b"/14"), "r/0"), (request(b"/14", method=b"PUT"), "r/1"),
                             (request(b"/z", fields=[(b"x", b"")]), "r/0"), (request(b"/z"), None)):
            self.assertEqual(chosen(host, head), wanted)

    def test_route_objects_in_order(self) -> None:
        """A host's route objects are one list in its order; swapping them changes the winner."""
        objects = [RouteObject(name, RouteSpec(routes=(rule(prefix("/x")), rule(prefix("/"))))) for name in ("one", "two")]
        for order in (objects, objects[::-1]):
            host = build_host("h", VirtualHostSpec(domains=("*",)), order, Clusters())
            self.assertEqual(chosen(host, request(b"/y")), f"{order[0].name}/1")
            self.assertEqual([route.name for route in host.routes],
                             [f"{obj.name}/{n}" for obj in order for n in (0, 1)])

    def test_the_example_of_the_object_model(self) -> None:
        """The canonical route of objects.md 24."""
        host = build(
            rule(prefix("/reviews", http_method=HttpMethod.GET,
                        headers=(HeaderMatcherType(name="x-user", regex="(alice|bob)"),),
                        query_params=(QueryParameterMatcherType(key="lang", exact="en"),)),
                 to_=to("reviews=95", "reviews=5", timeout_s=30.0)),
            RouteType(match=(RouteMatch(path=PathMatcherType(path="/old")),), route_redirect=RouteRedirect(
                proto_redirect="https", path_redirect="/new", response_code=301, retain_all_params=True)),
            RouteType(match=(RouteMatch(path=PathMatcherType(regex="/static/.*")),), route_direct_response=RouteDirectResponse(
                response_code=404, response_body_encoded=b"not here")))
        bob = [(b"x-user", b"bob")]
        self.assertEqual(chosen(host, request(b"/reviews/1?lang=en", fields=bob)), "r/0")
        for head in (request(b"/reviews/1?lang=en"), request(b"/reviews/1?lang=de", fields=bob),
                     request(b"/reviews/1?lang=en", fields=bob, method=b"POST")):
            self.assertIsNone(chosen(host, head))
        self.assertEqual(host.routes[0].timeout_s, 30.0)
        moved = host.choose(request(b"/old?a=b"), PORT)
        assert moved is not None and moved.answer is not None
        self.assertEqual(moved.answer(request(b"/old?a=b"), Client()).fields, [(b"location", b"https://shop.example/new?a=b")])
        gone = host.choose(request(b"/static/x"), PORT)
        assert gone is not None and gone.answer is not None
        reply = gone.answer(request(), Client())
        self.assertEqual((reply.status, reply.body), (404, b"not here"))

    def test_segment_prefix(self) -> None:
        """``voltgw: {segment_prefix: true}`` on the rule or the object makes prefixes end where segments do."""
        aware = RouteExtension(segment_prefix=True)
        for spec, wanted in ((RouteSpec(routes=(rule(prefix("/a")),)), "r/0"),
                             (RouteSpec(routes=(rule(prefix("/a")),), voltgw=aware), None),
                             (RouteSpec(routes=(rule(prefix("/a"), voltgw=aware),)), None)):
            host = build_host("h", VirtualHostSpec(domains=("*",)), [RouteObject("r", spec)], Clusters())
            self.assertEqual(chosen(host, request(b"/ab")), wanted)
            self.assertEqual(chosen(host, request(b"/a/b")), "r/0")


class PathsAsWrittenTests(SynchronousTestCase):
    """Hosts with ``disable_path_normalize``."""

    def test_matching_and_forwarding(self) -> None:
        """Such a host matches and forwards the path as the client wrote it, whatever the codec made of it."""
        spec = VirtualHostSpec(domains=("*",), disable_path_normalize=True)
        host = build(rule(RouteMatch(path=PathMatcherType(path="/a/../%7eb"))), rule(), spec=spec)
        self.assertIsNone(host.only)
        for target, path, query in ((b"/a/../%7eb?x", b"/a/../%7eb", b"x"), (b"http://h/a/../%7eb?x", b"/a/../%7eb", b"x"),
                                    (b"http://h?x", b"/", b"x"), (b"http://h?/x", b"/", b"/x"), (b"http://h", b"/", None),
                                    (b"//a/./b", b"//a/./b", None)):
            head = request(target)
            self.assertEqual(chosen(host, head), "r/0" if b"%7e" in path else "r/1")
            self.assertEqual((head.path, head.query), (path, query))
            self.assertEqual(head.forward, path if query is None else path + b"?" + query)
        self.assertIsNone(build(rule(), spec=spec).only)    # the data plane must ask, or the path stays as it is
        star = request(b"*", method=b"OPTIONS")
        self.assertEqual(chosen(host, star), "r/1")
        self.assertEqual(star.path, b"*")

    def test_others_get_the_normal_form(self) -> None:
        """Every other host leaves the head alone."""
        head = request(b"/a/../%7eb")
        chosen(build(rule(prefix("/"))), head)
        self.assertEqual((head.path, head.forward), (b"/~b", b"/~b"))


class RouteTests(SynchronousTestCase):
    """What a route carries."""

    def test_one_destination(self) -> None:
        """One destination is a cluster, without any choice."""
        route = build(rule()).routes[0]
        assert route.cluster is not None
        self.assertEqual((route.cluster.name, route.split, route.answer), ("default/c", None, None))
        self.assertEqual([d.cluster_name for d in route.destinations], ["default/c"])

    def test_missing_cluster(self) -> None:
        """A cluster that does not exist is a destination without one: 503, not 404 and not a crash."""
        route = build(rule(), clusters=Clusters("c")).routes[0]
        self.assertIsNone(route.cluster)
        assert route.split is not None
        self.assertEqual((route.split(0.5).cluster, route.split(0.5).cluster_name), (None, "default/c"))

    def test_several_destinations(self) -> None:
        """Several are a choice by weight; without any weight all are equal, else an absent one is 0."""
        for names, points in ((("a=95", "b=5"), {0.1: "a", 0.94: "a", 0.96: "b"}),
                              (("a", "b"), {0.1: "a", 0.49: "a", 0.51: "b"}),
                              (("a", "b=1"), {0.0: "b", 0.9: "b"})):
            route = build(rule(to_=to(*names))).routes[0]
            self.assertIsNone(route.cluster)
            for point, wanted in points.items():
                assert route.split is not None
                self.assertEqual(route.split(point).cluster_name, f"default/{wanted}")

    def test_retract(self) -> None:
        """``retract_cluster`` takes clusters that are down out of the choice."""
        clusters = Clusters()
        route = build(rule(to_=to("a=1", "b=1", retract_cluster=True)), clusters=clusters).routes[0]
        clusters.made["default/a"].any_ready = False
        assert route.split is not None
        self.assertEqual({route.split(n / 10).cluster_name for n in range(10)}, {"default/b"})

    def test_rewriting_by_the_entry_that_matched(self) -> None:
        """Each alternative swaps its own prefix, and all of them count as one route."""
        host = build(rule(prefix("/a/"), prefix("/long/er/"), RouteMatch(path=PathMatcherType(path="/x/y")),
                          to_=to("c", prefix_rewrite="/n/")))
        names = set()
        for target, wanted in ((b"/a/z?q", b"/n/z?q"), (b"/long/er/z", b"/n/z"), (b"/x/y", b"/n/")):
            route = host.choose(request(target), PORT)
            assert route is not None and route.rewrite is not None
            self.assertEqual(route.rewrite(request(target)), wanted)
            self.assertIs(route.counters, host.routes[0].counters)
            self.assertIs(route.cluster, host.routes[0].cluster)
            names.add(route.name)
        self.assertEqual((names, len(host.routes)), ({"r/0"}, 1))

    def test_one_route_where_it_does_not_depend(self) -> None:
        """Alternatives that lead to the same rewriting share the one route."""
        host = build(rule(prefix("/a"), prefix("/b"), to_=to("c", prefix_rewrite="/n")), rule(prefix("/c"), prefix("/dd")))
        for target, number in ((b"/a", 0), (b"/b", 0), (b"/c", 1), (b"/dd", 1)):
            self.assertIs(host.choose(request(target), PORT), host.routes[number])

    def test_redirects_by_the_entry_that_matched(self) -> None:
        """The prefix rewrite of a redirect too."""
        host = build(RouteType(match=(prefix("/a/"), prefix("/long/")), route_redirect=RouteRedirect(prefix_rewrite="/n/")))
        for target in (b"/a/z", b"/long/z"):
            route = host.choose(request(target), PORT)
            assert route is not None and route.answer is not None
            self.assertEqual(route.answer(request(target), Client()).fields, [(b"location", b"http://shop.example/n/z")])

    def test_hosts_and_timeouts(self) -> None:
        """Host rewriting and timeouts come from the destination list, the idle timeout from the host."""
        spec = VirtualHostSpec(domains=("*",), idle_timeout_s=7.0)
        route = build(rule(to_=to("c", host_rewrite="a.example", timeout_s=1.5)), spec=spec).routes[0]
        self.assertEqual((route.host_rewrite, route.auto_host_rewrite, route.timeout_s, route.idle_timeout_s),
                         (b"a.example", False, 1.5, 7.0))
        route = build(rule(to_=to("c", auto_host_rewrite=True))).routes[0]
        self.assertEqual((route.host_rewrite, route.auto_host_rewrite, route.timeout_s, route.idle_timeout_s),
                         (None, True, 0.0, 0.0))

    def test_header_edits(self) -> None:
        """One filter a direction, the route's edits before the host's; no filter where there are none."""
        spec = VirtualHostSpec(domains=("*",), request_headers_to_add=(add("a", "host"),), response_headers_to_remove=("b",))
        route = build(rule(request_headers_to_add=(add("a", "route"), add("x", "1")),
                           response_headers_to_add=(add("b", "route"),)), spec=spec).routes[0]
        exchanged = exchange(response=ResponseHead(200, b"OK", 1, [], 0, True))
        self.assertEqual((len(route.request_filters), len(route.response_filters)), (1, 1))
        self.assertIsNone(route.request_filters[0](exchanged))
        route.response_filters[0](exchanged)
        assert exchanged.response is not None
        self.assertEqual((exchanged.request.fields, exchanged.response.fields), ([(b"x", b"1"), (b"a", b"host")], []))
        plain = build(rule()).routes[0]
        self.assertEqual((plain.request_filters, plain.response_filters), ((), ()))

    def test_what_rules_share(self) -> None:
        """Rules that say nothing of their own have the host's edits in common, and equal retry plans."""
        spec = VirtualHostSpec(domains=("*",), request_headers_to_add=(add("a", "h"),), response_headers_to_add=(add("b", "h"),))
        again = RetryPolicyType(retry_condition=("5xx",), num_retries=3)
        one, other, own = build(
            rule(prefix("/a"), to_=to("c", retry_policy=again)), rule(prefix("/b"), to_=to("d", retry_policy=replace(again))),
            rule(prefix("/c"), to_=to("c", retry_policy=replace(again, num_retries=4)),
                 request_headers_to_add=(add("c", "r"),), response_headers_to_remove=("b",)), spec=spec).routes
        for name in ("request_filters", "response_filters"):
            (first,), (second,), (third,) = (getattr(route, name) for route in (one, other, own))
            self.assertIs(first.__self__, second.__self__)
            self.assertIsNot(first.__self__, third.__self__)
        self.assertIs(one.retry, other.retry)
        self.assertEqual([route.retry and route.retry.retries for route in (one, own)], [3, 4])

    def test_counters_are_carried_over(self) -> None:
        """At a reload the counters of a route of the same name count on."""
        kept = {"r/0": RouteCounters()}
        host = build_host("h", VirtualHostSpec(domains=("*",)), [RouteObject("r", RouteSpec(routes=(rule(),)))], Clusters(),
                          counters=lambda name: kept[name])
        self.assertIs(host.routes[0].counters, kept["r/0"])
        self.assertEqual(host.routes[0].place, Place("r.yaml:routes.0", 1))


class HostValueTests(SynchronousTestCase):
    """The values of a host that the data plane reads."""

    def host(self, **fields: object) -> VirtualHost:
        return build(rule(), spec=VirtualHostSpec(domains=("*",), **fields))  # type: ignore[arg-type]  # the caller's fields

    def test_defaults(self) -> None:
        """Absent fields mean the defaults; what a record says of the host comes from its object."""
        host = build_host("h", VirtualHostSpec(domains=("a.example",)), [], Clusters(), namespace="ns",
                          labels={"ves.io/app_type": "shop"}, place=lambda *path: Place("h.yaml", 3))
        self.assertEqual(
            (host.name, host.namespace, host.app_type, host.proxy, host.domains, host.place, host.only),
            ("h", "ns", "shop", "HTTP_PROXY", ("a.example",), Place("h.yaml", 3), None))
        self.assertEqual(
            (host.server_line, host.keep_server, host.max_request_head_bytes, host.keep_alive_timeout_s, host.idle_timeout_s,
             host.request_head_timeout_s, host.request_timeout_s, dict(host.custom_errors), host.default_error_pages,
             host.max_requests_per_connection),
            (b"server: voltgw", False, defaults.MAX_REQUEST_HEAD_BYTES, defaults.KEEP_ALIVE_TIMEOUT_S, 0.0,
             defaults.REQUEST_HEAD_TIMEOUT_S, 0.0, {}, True, 0))

    def test_server(self) -> None:
        """Ours, the operator's, the operator's where the origin has none, or the origin's."""
        for fields, wanted in (({}, (b"server: voltgw", False)), ({"default_header": True}, (b"server: voltgw", False)),
                               ({"server_name": "x/1"}, (b"server: x/1", False)),
                               ({"append_server_name": "x/1"}, (b"server: x/1", True)),
                               ({"pass_through": True}, (None, True))):
            host = self.host(**fields)
            self.assertEqual((host.server_line, host.keep_server), wanted)

    def test_given_values(self) -> None:
        """Every other value is the configuration's."""
        host = self.host(
            max_request_header_size_bytes=98304, connection_idle_timeout_s=3.0, idle_timeout_s=4.0,
            slow_ddos_mitigation=SlowDDoSMitigation(request_headers_timeout_s=5.0, request_timeout_s=6.0),
            custom_errors=FrozenMap({5: b"class", 503: b"one"}), disable_default_error_pages=True,
            max_requests_per_connection=9)
        self.assertEqual(
            (host.max_request_head_bytes, host.keep_alive_timeout_s, host.idle_timeout_s, host.request_head_timeout_s,
             host.request_timeout_s, host.default_error_pages, host.max_requests_per_connection),
            (98304, 3.0, 4.0, 5.0, 6.0, False, 9))
        self.assertEqual([host.error_body(code) for code in (503, 502, 404)], [b"one", b"class", None])


class TcpTests(SynchronousTestCase):
    """Kinds that relay connections (objects.md 22.13)."""

    SPEC = VirtualHostSpec(proxy=ProxyType.TCP_PROXY)

    def test_only_the_destinations_count(self) -> None:
        """The first rule's destinations are used, whatever it matches."""
        host = build(rule(prefix("/never"), to_=to("a=1", "b=1")), rule(), spec=self.SPEC)
        self.assertIs(host.only, host.routes[0])
        self.assertEqual([d.cluster_name for d in host.routes[0].destinations], ["default/a", "default/b"])
        self.assertEqual(host.proxy, "TCP_PROXY")

    def test_redirects_are_refused(self) -> None:
        """A connection can neither be redirected nor answered."""
        for action in (RouteType(route_redirect=RouteRedirect()), RouteType(route_direct_response=RouteDirectResponse())):
            error = self.assertRaises(BuildErrors, build, action, spec=self.SPEC)
            self.assertEqual([problem.place.file for problem in error.problems], ["r.yaml:routes.0"])


class ProblemTests(SynchronousTestCase):
    """Everything that is wrong, with its place."""

    def test_all_at_once(self) -> None:
        """Each rule's mistake is reported, at the value that is wrong; the host's own once."""
        spec = VirtualHostSpec(domains=("*",), request_headers_to_add=(add("host", "x"),))
        error = self.assertRaises(
            BuildErrors, build,
            rule(prefix("/ok")),
            rule(prefix("/a"), RouteMatch(path=PathMatcherType(regex="(.*a.{20}.*b.*)"))),
            rule(RouteMatch(headers=(HeaderMatcherType(name="x", regex="(?=x)"),))),
            rule(to_=to("a=0", "b=0")),
            rule(to_=to("a", prefix_rewrite="nope")),
            rule(response_headers_to_remove=("content-length",)),
            RouteType(route_redirect=RouteRedirect(response_code=200)),
            RouteType(route_direct_response=RouteDirectResponse(response_body="12345")),
            RouteType(),
            spec=replace(spec, max_direct_response_body_size_bytes=4))
        self.assertEqual([problem.place.file for problem in error.problems], [
            "<made up>",
            "r.yaml:routes.1.match.1.path.regex",
            "r.yaml:routes.2.match.0.headers.0.regex",
            "r.yaml:routes.3.route_destination.destinations",
            "r.yaml:routes.4.route_destination.prefix_rewrite",
            "r.yaml:routes.5.response_headers_to_remove.0",
            "r.yaml:routes.6.route_redirect.response_code",
            "r.yaml:routes.7.route_direct_response.response_body",
            "r.yaml:routes.8",
        ])
        self.assertEqual({problem.code for problem in error.problems}, {"VG0301"})
        self.assertIn("look-around", str(error))
