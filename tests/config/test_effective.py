"""``voltgw config show``: the configuration as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, judged, lines, loaded, problems, text, write
from voltgw.config.diff import diff
from voltgw.config.effective import text_of
from voltgw.config.load import load, load_text
from voltgw.config.objects.cluster import LoadbalancerAlgorithm

SHORT = """\
load_balancers: [{name: shop, listen: 8080, origins: ['127.0.0.1:9001', {address: 'a.b:1', weight: 2}],
  health_check: /healthz, routes: [{path: /old, redirect: /new}]}]
"""


class TextTests(SynchronousTestCase):
    def test_what_is_printed_reads_back_as_the_same(self) -> None:
        """Both ways of printing, for primitive objects and for what was made from the short form."""
        for source in (GOOD, SHORT):
            config = load_text(source)
            for everything in (False, True):
                printed = text_of(config, everything=everything)
                again = load_text(printed)
                self.assertFalse(diff(config, again), printed)
                self.assertEqual(config.gateway, again.gateway)

    def test_every_value_with_its_origin(self) -> None:
        """The file, the defaults, the form that it was made from, or built in."""
        folder = write(self.mktemp(), {
            "main.yaml": "defaults: {cluster: {connection_timeout: 1s}}\ninclude: [a.yaml]\n",
            "a.yaml": "kind: cluster\nmetadata: {name: a}\nspec: {http_idle_timeout: 5s}\n"})
        lines = text_of(load(folder / "main.yaml", environ={}), everything=True).split("\n")

        def origin(start: str) -> str:
            (line,) = [line for line in lines if line.strip().startswith(start)]
            return line.split("#")[-1].strip()

        self.assertTrue(origin("http_idle_timeout: 5s").endswith("a.yaml:3:27"))
        self.assertRegex(origin("connection_timeout: 1s"), r"^defaults, .*main\.yaml:1:42$")
        self.assertEqual(origin("# circuit_breaker"), "built-in")
        self.assertRegex(origin("- kind: cluster"), r"a\.yaml:1:1$")

    def test_what_files_say_alone(self) -> None:
        """Without defaults and without comments."""
        printed = text_of(loaded("""
            defaults: {cluster: {connection_timeout: 1s}}
            objects: [{kind: cluster, metadata: {name: a}, spec: {http_idle_timeout: 5s}}]
        """), everything=False)
        self.assertNotIn("connection_timeout", printed)
        self.assertNotIn("#", printed)

    def test_the_short_form_is_lowered(self) -> None:
        """And says so."""
        printed = text_of(load_text(SHORT), everything=True)
        self.assertIn('- kind: virtual_host', printed)
        self.assertIn('# made from load_balancer "shop", <text>:1:18', printed)

    def test_text_that_looks_like_something_else_is_quoted(self) -> None:
        """Whoever reads it, with whatever YAML."""
        printed = text_of(load_text(text("""
            kind: endpoint
            metadata: {name: a, labels: {a: "NO", b: "1.0", c: "x: y", d: "", e: "ok", f: "#", g: "1e3", h: ü}}
            spec: {ip: 192.0.2.1, port: 1}
        """)), everything=False)
        self.assertIn('labels: {a: "NO", b: "1.0", c: "x: y", d: "", e: ok, f: "#", g: "1e3", h: "ü"}', printed)

    def test_secrets_are_not_printed(self) -> None:
        """Printed configurations are pasted into issues."""
        printed = text_of(loaded("kind: virtual_host\nmetadata: {name: a}\nspec: {domains: [a], request_headers_to_add: [{name: x, "
                                 "secret_value: {clear_secret_info: {url: 'string:///aHVudGVy'}}}]}\n"), everything=True)
        self.assertIn("***", printed)
        self.assertNotIn("aHVudGVy", printed)


#: Defaults of several kinds over a short form, a pool and a load balancer.
UNDERLAID = """\
defaults:
  cluster: {connection_timeout: 700ms, circuit_breaker: {max_requests: 7}, loadbalancer_algorithm: RANDOM}
  route: {route_destination: {timeout: 9s}}
  virtual_host: {idle_timeout: 4s}
  healthcheck: {interval: 3s, unhealthy_threshold: 5}
load_balancers:
- name: short
  listen: 8081
  origins: ["127.0.0.1:9001"]
  health_check: {path: /x, unhealthy_threshold: 4}
  routes: [{path: /old, redirect: /new}]
objects:
- kind: origin_pool
  metadata: {name: p}
  spec: {origin_servers: [{public_ip: {ip: 192.0.2.1}}], port: 80}
- kind: origin_pool
  metadata: {name: own}
  spec:
    origin_servers: [{public_ip: {ip: 192.0.2.2}}]
    port: 80
    loadbalancer_algorithm: ROUND_ROBIN
    advanced_options: {connection_timeout: 300, circuit_breaker: {max_requests: 8, retries: 1}}
- kind: http_loadbalancer
  metadata: {name: lb}
  spec:
    domains: [a.example]
    http: {port: 8080}
    advertise_on_public_default_vip: {}
    default_route_pools: [{pool: {name: p}, weight: 1}]
"""


class UnderlayTests(SynchronousTestCase):
    def test_defaults_reach_what_views_and_short_forms_become(self) -> None:
        """Every object is merged with the defaults of its kind, whether it stands in a file or was made."""
        config = load_text(UNDERLAID)
        clusters = config.of("cluster")
        for name in ("short", "ves-io-origin-pool-p"):
            spec = clusters["default", name].spec
            self.assertAlmostEqual(spec.connection_timeout_s or 0.0, 0.7, msg=name)
            assert spec.circuit_breaker is not None
            self.assertEqual(spec.circuit_breaker.max_requests, 7, name)
            self.assertEqual(spec.loadbalancer_algorithm, LoadbalancerAlgorithm.RANDOM, name)
        for name in ("short", "ves-io-http-loadbalancer-lb"):
            self.assertEqual(config.of("virtual_host")["default", name].spec.idle_timeout_s, 4.0)
            rule = config.of("route")["default", name].spec.routes[-1]
            assert rule.route_destination is not None
            self.assertEqual(rule.route_destination.timeout_s, 9.0, name)

    def test_a_redirect_gets_no_default_of_destinations(self) -> None:
        """A default loses against another member of its oneof group."""
        redirect = load_text(UNDERLAID).of("route")["default", "short"].spec.routes[0]
        self.assertIsNone(redirect.route_destination)
        self.assertIsNotNone(redirect.route_redirect)

    def test_what_a_view_or_short_form_says_stays(self) -> None:
        """Also where it says, in so many words, what would be so anyway; parts that it leaves open are filled."""
        config = load_text(UNDERLAID)
        own = config.of("cluster")["default", "ves-io-origin-pool-own"].spec
        self.assertEqual((round(own.connection_timeout_s or 0, 6), own.loadbalancer_algorithm), (0.3, LoadbalancerAlgorithm.ROUND_ROBIN))
        assert own.circuit_breaker is not None
        self.assertEqual((own.circuit_breaker.max_requests, own.circuit_breaker.retries), (8, 1))
        check = config.of("healthcheck")["default", "short"].spec
        self.assertEqual((check.interval_s, check.unhealthy_threshold), (3.0, 4))

    def test_a_pool_without_tls_gets_none(self) -> None:
        """``no_tls: {}`` says that there is none; a pool that says nothing of it gets the TLS of the defaults."""
        config = loaded("""
            defaults: {cluster: {tls_parameters: {sni: a.example}}}
            objects:
            - {kind: origin_pool, metadata: {name: plain}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.1}}], port: 80, no_tls: {}}}
            - {kind: origin_pool, metadata: {name: open}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.1}}], port: 80}}
        """)
        clusters = config.of("cluster")
        self.assertIsNone(clusters["default", "ves-io-origin-pool-plain"].spec.tls_parameters)
        self.assertIsNotNone(clusters["default", "ves-io-origin-pool-open"].spec.tls_parameters)

    def test_the_effective_output_names_the_defaults(self) -> None:
        """Each value that came from there, with its place; others keep theirs."""
        printed = text_of(load_text(UNDERLAID), everything=True)
        origins = [line.split("#")[1].strip() for line in printed.split("\n") if "connection_timeout: 700ms" in line]
        self.assertEqual(origins, ["defaults, <text>:2:33"] * 2)
        own = [line.split("#")[1].strip() for line in printed.split("\n") if "connection_timeout: 300ms" in line]
        self.assertEqual(own, ["<text>:22:44"])
        self.assertIn("max_requests: 7", printed)
        self.assertRegex(printed, r"max_requests: 7 +# defaults, <text>:2:72\n")
        changes = diff(load_text(UNDERLAID), load_text(printed)).changes
        self.assertEqual({change.kind for change in changes}, {"origin_pool", "http_loadbalancer"})     # they stand there no more

    def test_problems_of_such_defaults_are_told(self) -> None:
        """A reference that leads nowhere, and a part that lacks what it must have, in objects that stand in no file."""
        found = judged("""
            defaults: {cluster: {health_checks: [nowhere]}}
            objects:
            - {kind: origin_pool, metadata: {name: p}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.1}}], port: 80}}
        """)
        self.assertEqual([(one.code, one.place.line, one.place.column) for one in found if one.code == "VG0107"],
                         [("VG0107", 1, 38)])
        self.assertEqual(lines(problems("""
            defaults: {virtual_host: {tls_cert_params: {minimum_protocol_version: TLSv1_2}}}
            load_balancers: [{name: s, listen: 1, origins: ["127.0.0.1:1"]}]
        """)), ['2:18 VG0105 `defaults:` gives virtual_host "s" a "tls_cert_params", but neither says its "certificates"'])
