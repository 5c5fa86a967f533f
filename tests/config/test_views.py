"""The short form: ten lines to serve."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import codes, judged, lines, loaded, problems
from voltgw.config.model import Config, Said
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.healthcheck import HealthcheckSpec
from voltgw.config.objects.route import RouteSpec, RouteType
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.values import Range, Ref

TEN_LINES = """
    load_balancers:
    - name: shop
      protocol: http
      listen: 8080
      domains: [shop.example.com]
      origins: [127.0.0.1:9001, {address: 127.0.0.1:9002, weight: 2, labels: {version: "2"}}, http://app.internal:8000]
      health_check: /healthz
      routes: [{path: /api, to: api}, {path: /old, redirect: /new}]
    - {name: api, listen: "127.0.0.1:8081", origins: ["[::1]:9003"]}
"""


def balancer(fields: str) -> str:
    """A file with one load balancer."""
    return f"load_balancers: [{{name: x, {fields}}}]"


class LoweringTests(SynchronousTestCase):
    def config(self) -> Config:
        """The ten lines."""
        return loaded(TEN_LINES)

    def rules(self, config: Config, name: str = "shop") -> tuple[RouteType, ...]:
        """The rules of a load balancer's route."""
        return config.of(RouteSpec)["default", name].spec.routes

    def test_ten_lines_are_a_whole_configuration(self) -> None:
        """Nothing is missing and nothing complained about."""
        self.assertEqual(judged(TEN_LINES), ())
        config = self.config()
        self.assertEqual({kind: [name for _, name in objects] for kind, objects in config.objects.items()}, {
            "virtual_host": ["shop", "api"], "advertise_policy": ["shop", "api"], "route": ["shop", "api"],
            "cluster": ["shop", "api"], "endpoint": ["shop-1", "shop-2", "shop-3", "api-1"], "healthcheck": ["shop"]})

    def test_the_virtual_host(self) -> None:
        """Without domains any host is taken, so that the first curl works."""
        hosts = self.config().of("virtual_host")
        self.assertEqual(hosts["default", "shop"].spec.domains, ("shop.example.com",))
        self.assertEqual(hosts["default", "api"].spec.domains, ("*",))
        self.assertIs(hosts["default", "shop"].spec.proxy, ProxyType.HTTP_PROXY)

    def test_where_it_listens(self) -> None:
        """A bare port is every address, IPv4 and IPv6."""
        def policy(listen: str) -> AdvertisePolicySpec:
            return loaded(balancer(f"origins: [a:1]{listen}")).of("advertise_policy")["default", "x"].spec

        for listen, address, ports, any_address in (
            (", listen: 8080", None, (8080,), True), (", listen: 127.0.0.1:8080", "127.0.0.1", (8080,), False),
            (", listen: '[::1]:8080'", "::1", (8080,), False), (", listen: ':8080'", None, (8080,), True),
            (", listen: '*:8080'", None, (8080,), True), ("", None, (80,), True), (", listen: 0.0.0.0:81", "0.0.0.0", (81,), False),
        ):
            spec = policy(listen)
            self.assertEqual((spec.address, spec.ports, spec.any_address), (address, ports, any_address), listen)

    def test_origins(self) -> None:
        """Addresses, names and URLs, with weights and labels."""
        endpoints = self.config().of("endpoint")
        self.assertEqual(endpoints["default", "shop-1"].spec, EndpointSpec(ip="127.0.0.1", port=9001))
        second = endpoints["default", "shop-2"]
        assert second.spec.voltgw is not None
        self.assertEqual((second.spec.voltgw.weight, second.metadata.labels), (2, {"version": "2"}))
        self.assertEqual(endpoints["default", "shop-3"].spec, EndpointSpec(dns_name="app.internal", port=8000))
        self.assertEqual(endpoints["default", "api-1"].spec, EndpointSpec(ip="::1", port=9003))
        self.assertEqual(loaded(balancer("origins: [app.internal]")).of("endpoint")["default", "x-1"].spec,
                         EndpointSpec(dns_name="app.internal", port=80))

    def test_routes_are_segment_aware(self) -> None:
        """In the order written, and the origins last."""
        api, old, rest = self.rules(self.config())
        for rule, path in ((api, "/api"), (old, "/old")):
            assert rule.match[0].path is not None and rule.voltgw is not None
            self.assertEqual((rule.match[0].path.prefix, rule.voltgw.segment_prefix), (path, True))
        assert api.route_destination is not None and rest.route_destination is not None
        self.assertEqual(api.route_destination.destinations[0].cluster, (Ref(None, "api"),))
        self.assertEqual((rest.match, rest.route_destination.destinations[0].cluster), ((), (Ref(None, "shop"),)))

    def test_redirects(self) -> None:
        """To another path, to another host, to both."""
        for target, scheme, host, prefix in (
            ("/new", None, None, "/new"), ("https://other.example.com", "https", "other.example.com", None),
            ("http://other.example.com:81/x", "http", "other.example.com:81", "/x"),
        ):
            redirect = self.rules(loaded(balancer(f"routes: [{{path: /old, redirect: '{target}'}}]")), "x")[0].route_redirect
            assert redirect is not None
            self.assertEqual((redirect.proto_redirect, redirect.host_redirect, redirect.prefix_rewrite), (scheme, host, prefix))

    def test_health_checks(self) -> None:
        """A path alone, a mapping, one without a path (TCP); the defaults of the short form."""
        def check(text: str) -> HealthcheckSpec:
            return loaded(balancer(f"origins: [a:1], health_check: {text}")).of("healthcheck")["default", "x"].spec

        one = check("/healthz")
        assert one.http_health_check is not None
        self.assertEqual((one.http_health_check.path, one.interval_s, one.timeout_s, one.healthy_threshold, one.unhealthy_threshold),
                         ("/healthz", 5.0, 2.0, 2, 3))
        two = check("{path: /x, interval: 1s, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1, host_header: a.b, "
                    "expected_status_codes: [200-299]}")
        assert two.http_health_check is not None
        self.assertEqual((two.interval_s, two.http_health_check.host_header, two.http_health_check.expected_status_codes),
                         (1.0, "a.b", (Range(200, 299),)))
        three = check("{interval: 1s}")
        self.assertIsNone(three.http_health_check)
        self.assertIsNotNone(three.tcp_health_check)
        four = loaded(balancer("protocol: udp, listen: 5300, origins: ['a:53'], health_check: {}")).of("healthcheck")["default", "x"].spec
        self.assertEqual((four.tcp_health_check, four.udp_icmp_health_check), (None, True))

    def test_tcp(self) -> None:
        """No domains, no paths; a port of its own."""
        config = loaded(balancer("protocol: tcp, listen: 5432, origins: ['tcp://db.internal:5432', 'db2:5432'], health_check: {}"))
        host = config.of("virtual_host")["default", "x"].spec
        self.assertEqual((host.proxy, host.domains), (ProxyType.TCP_PROXY, ()))
        self.assertEqual(judged(balancer("protocol: tcp, listen: 5432, origins: ['db:5432']")), ())

    def test_places_are_those_of_the_short_form(self) -> None:
        """Whatever is wrong with the objects made, the line is one that the user wrote."""
        config = self.config()
        for kind, name, path, line, column in (
            ("virtual_host", "shop", (), 2, 3), ("virtual_host", "shop", ("domains", 0), 5, 13), ("route", "shop", ("routes", 1), 8, 35),
            ("endpoint", "shop-2", ("port",), 6, 29), ("advertise_policy", "shop", ("port",), 4, 3), ("cluster", "api", (), 9, 41),
            ("healthcheck", "shop", ("http_health_check", "path"), 7, 3), ("route", "shop", ("routes", 2), 6, 3),
        ):
            one = config.objects[kind]["default", name]
            place = one.place(*path)
            self.assertEqual((place.line, place.column), (line, column), f"{kind} {name} {path}")
            self.assertIs(one.whence(*path).said, Said.FORM)


class MistakeTests(SynchronousTestCase):
    def test_what_layer_4_needs(self) -> None:
        """A port of its own for datagrams, names for TLS that is passed through; neither has paths."""
        for fields, words in (
            ("protocol: udp", "udp has no port of its own"), ("protocol: sni", "sni needs `domains`"),
            ("protocol: udp, listen: 1, routes: [{path: /, to: a}]", "udp has no paths"),
            ("protocol: sni, domains: [a.example], routes: [{path: /, to: a}]", "sni has no paths"),
        ):
            found = problems(balancer(f"{fields}, origins: ['a:1']"))
            self.assertIn(words, found[0].message, fields)

    def test_datagrams(self) -> None:
        """Policy and endpoints are UDP's."""
        config = loaded("load_balancers:\n- {name: dns, protocol: udp, listen: '127.0.0.1:53', origins: ['127.0.0.1:5353']}\n")
        self.assertIs(config.objects["virtual_host"]["default", "dns"].spec.proxy, ProxyType.UDP_PROXY)
        self.assertEqual({config.objects[kind]["default", name].spec.protocol.value
                          for kind, name in (("advertise_policy", "dns"), ("endpoint", "dns-1"))}, {"UDP"})

    def test_mistakes_stand_where_they_were_made(self) -> None:
        """In the words of the short form."""
        for fields, code in (
            ("origins: ['a b:1']", "VG0110"), ("origins: ['a:0']", "VG0110"), ("origins: ['ftp://a']", "VG0110"),
            ("origins: ['http://a/path']", "VG0110"), ("origins: []", "VG0105"), ("", "VG0105"), ("origins: [a], listen: x", "VG0110"),
            ("origins: [a], listen: '1.2.3:80'", "VG0110"), ("origins: [a], listen: '127.0.0.1'", "VG0110"),
            ("origins: [a], protocol: tcp", "VG0105"), ("origins: ['a:1'], protocol: tcp", "VG0105"),
            ("origins: ['a:1'], protocol: tcp, listen: 1, routes: [{path: /, to: a}]", "VG0203"),
            ("origins: [a], routes: [{path: /}]", "VG0105"), ("origins: [a], routes: [{path: /, to: a, redirect: /}]", "VG0106"),
            ("origins: [a], routes: [{path: x, to: a}]", "VG0110"), ("origins: [a], routes: [{path: /, redirect: 'ftp://x'}]", "VG0110"),
            ("origins: [a], domain: x", "VG0101"), ("origins: [a], health_check: healthz", "VG0110"), ("origins: [{weight: 1}]", "VG0105"),
            ("origins: [a], protocol: htp", "VG0104"),
        ):
            found = problems(balancer(fields))
            self.assertEqual(codes(found)[:1], [code], fields)
            self.assertEqual(found[0].place.line, 1)

    def test_a_certificate_without_https(self) -> None:
        """It has no effect, which is worth a word."""
        self.assertEqual(lines(problems(balancer("origins: [a], tls: {cert: 'string:///YQ==', key: 'string:///YQ=='}"))),
                         ["W 1:47 VG0106 `tls` has no effect: it is for protocol https, and this is http"])

    def test_names_that_exist_already(self) -> None:
        """The message says from what they were made."""
        found = problems("objects: [{kind: cluster, metadata: {name: x}}]\n" + balancer("origins: [a]"))
        self.assertEqual(lines(found), ['2:25 VG0109 cluster "x" (made from load_balancer "x") exists already'])

    def test_a_route_to_nowhere(self) -> None:
        """A dangling reference has the place of its name."""
        found = judged(balancer("origins: [a], routes: [{path: /api, to: xx}]"))
        self.assertEqual(lines(found), ['1:68 VG0107 cluster "xx" not found'])
        self.assertEqual(found[0].hint, 'did you mean "x"?')
