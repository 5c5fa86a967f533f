"""http_loadbalancer: a virtual host and what belongs to it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import HTTP, balancer, cluster, config, forward, host, policies, pool, rules, view
from tests.config.making import codes, judged, lines, problems
from voltgw.config.objects.route import HttpMethod, PathMatcherType
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.values import Range, Ref
from voltgw.values.defaults import VIEW_ROUTE_TIMEOUT_S

SECURE = "https: {%s tls_cert_params: {certificates: [c]}}"


def secure(fields: str = "", more: str = "") -> str:
    """A load balancer that speaks TLS."""
    return balancer(SECURE % (fields and f"{fields},") + (f", {more}" if more else ""))


class HostTests(SynchronousTestCase):
    def test_a_whole_one_is_served(self) -> None:
        """With its pool it is a configuration without a word of complaint."""
        source = "objects:\n" + balancer("http: {port: 8080}, advertise_on_public_default_vip: {}") + pool(name="p")
        self.assertEqual(judged(source), ())

    def test_the_names_of_what_it_becomes(self) -> None:
        """The main objects are called as the vendor's are, in the load balancer's namespace, with its labels."""
        made = config(balancer("advertise_on_public_default_vip: {}", namespace="shop", more=", labels: {ves.io/app_type: a}"))
        for kind in ("virtual_host", "route", "advertise_policy"):
            self.assertEqual(list(made.of(kind)), [("shop", HTTP)], kind)
        self.assertEqual(made.of("virtual_host")["shop", HTTP].metadata.labels, {"ves.io/app_type": "a"})

    def test_what_it_shares_with_a_virtual_host(self) -> None:
        """Its own fields, and those of ``more_option``."""
        spec = host(balancer(
            "no_challenge: {}, slow_ddos_mitigation: {request_timeout: 3000}, more_option: {idle_timeout: 5000, "
            "max_request_header_size: 90, disable_default_error_pages: true, custom_errors: {404: 'string:///YQ=='}, "
            "request_headers_to_add: [{name: a, value: b}], response_headers_to_remove: [c], max_requests_per_connection: 7, "
            "disable_path_normalize: {}}, voltgw: {via: true}"))
        self.assertEqual(spec.domains, ("x.example",))
        self.assertIs(spec.proxy, ProxyType.HTTP_PROXY)
        assert spec.slow_ddos_mitigation is not None and spec.voltgw is not None
        self.assertEqual((spec.no_challenge, spec.slow_ddos_mitigation.request_timeout_s, spec.idle_timeout_s), (True, 3.0, 5.0))
        self.assertEqual((spec.max_request_header_size_bytes, spec.disable_default_error_pages, spec.custom_errors),
                         (90 * 1024, True, {404: b"a"}))
        self.assertEqual([edit.name for edit in spec.request_headers_to_add], ["a"])
        self.assertEqual((spec.response_headers_to_remove, spec.max_requests_per_connection, spec.disable_path_normalize),
                         (("c",), 7, True))
        self.assertTrue(spec.voltgw.via)

    def test_what_is_not_said_stays_absent(self) -> None:
        """The virtual host has nothing but what the load balancer says."""
        spec = host(balancer())
        self.assertEqual(repr(spec), f"VirtualHostSpec(domains=('x.example',), routes=(Ref(default/{HTTP}),))")

    def test_a_disabled_one(self) -> None:
        """Nothing of it is in service."""
        made = config(balancer("advertise_on_public_default_vip: {}", more=", disable: true"))
        for kind in ("virtual_host", "route", "advertise_policy"):
            self.assertEqual((len(made.of(kind)), len(made.objects[kind])), (0, 1))

    def test_domains_are_needed(self) -> None:
        """As for the virtual host that it becomes."""
        found = problems("objects:\n" + view("http_loadbalancer", "default_route_pools: [{pool: p}]"))
        self.assertEqual([(one.code, one.place.line) for one in found], [("VG0105", 2)])


class SecureTests(SynchronousTestCase):
    def test_whose_certificate_it_is(self) -> None:
        """Its own, or one that is fetched; both serve."""
        made = config(secure(more="advertise_on_public_default_vip: {}"))
        one = made.objects["virtual_host"]["default", HTTP]
        self.assertIs(one.spec.proxy, ProxyType.HTTPS_PROXY)
        self.assertFalse(one.metadata.disable)
        made = config(balancer("https_auto_cert: {}, advertise_on_public_default_vip: {}"))
        self.assertFalse(made.objects["virtual_host"]["default", HTTP].metadata.disable)
        self.assertEqual([warning.message for warning in made.warnings if "https_auto_cert" in warning.message], [])

    def test_ports(self) -> None:
        """80 and 443, or what is said."""
        for source, port in ((balancer("advertise_on_public_default_vip: {}"), 80),
                             (balancer("advertise_on_public_default_vip: {}, http: {port: 81}"), 81),
                             (secure(more="advertise_on_public_default_vip: {}"), 443),
                             (secure("port: 444", "advertise_on_public_default_vip: {}"), 444)):
            self.assertEqual([policy.port for policy in policies(source)], [port])
        (policy,) = policies(balancer("http: {port_ranges: '80,8080-8081'}, advertise_on_public_default_vip: {}"))
        self.assertEqual((policy.port, policy.port_ranges), (None, (Range(80, 80), Range(8080, 8081))))

    def test_what_the_listener_says(self) -> None:
        """The Server header, path normalisation, idle connections, versions of HTTP."""
        spec = host(secure("server_name: s, disable_path_normalize: {}, connection_idle_timeout: 1000, non_default_loadbalancer: {}"))
        self.assertEqual((spec.server_name, spec.disable_path_normalize, spec.connection_idle_timeout_s, spec.non_default_loadbalancer),
                         ("s", True, 1.0, True))
        options = spec.http_protocol_options
        assert options is not None
        self.assertTrue(options.http_protocol_enable_v1_v2)
        options = host(secure("http_protocol_options: {http_protocol_enable_v1_only: {}}")).http_protocol_options
        assert options is not None
        self.assertIsNotNone(options.http_protocol_enable_v1_only)

    def test_the_listener_wins_over_more_option(self) -> None:
        """Both may say how paths are taken; never both reach the virtual host."""
        spec = host(secure("enable_path_normalize: {}", "more_option: {disable_path_normalize: {}}"))
        self.assertEqual((spec.enable_path_normalize, spec.disable_path_normalize), (True, False))

    def test_redirect_to_it(self) -> None:
        """A second virtual host on port 80 in the same places answers 301."""
        made = config(secure("http_redirect: true, port: 444", "advertise_custom: {advertise_where: [{site: {site: s, network: "
                             "SITE_NETWORK_OUTSIDE}, port: 445}]}"))
        (name,) = {name for _, name in made.objects["virtual_host"]} - {HTTP}
        redirecting = made.objects["virtual_host"]["default", name].spec
        self.assertIs(redirecting.proxy, ProxyType.HTTP_PROXY)
        self.assertEqual(redirecting.domains, ("x.example",))
        (rule,) = made.of("route")["default", redirecting.routes[0].name].spec.routes
        assert rule.route_redirect is not None
        self.assertEqual((rule.match, rule.route_redirect.proto_redirect, rule.route_redirect.port_redirect,
                          rule.route_redirect.response_code), ((), "https", 444, 301))
        (ref,) = redirecting.advertise_policies
        policy = made.objects["advertise_policy"]["default", ref.name].spec
        self.assertEqual((policy.port, policy.where.site.ref), (80, (Ref(None, "s"),)))
        self.assertEqual(len(config(secure()).objects["virtual_host"]), 1)

    def test_hsts(self) -> None:
        """One header more, unless the user has one already."""
        self.assertEqual([(edit.name, edit.value) for edit in host(secure("add_hsts: true")).response_headers_to_add],
                         [("strict-transport-security", "max-age=31536000")])
        own = "more_option: {response_headers_to_add: [{name: Strict-Transport-Security, value: max-age=1}]}"
        self.assertEqual([edit.value for edit in host(secure("add_hsts: true", own)).response_headers_to_add], ["max-age=1"])
        self.assertEqual(host(secure()).response_headers_to_add, ())

    def test_a_certificate_is_needed(self) -> None:
        """At the field that lacks it."""
        found = [one for one in problems("objects:\n" + balancer("https: {}")) if one.severity.value == "error"]
        self.assertEqual(codes(tuple(found)), ["VG0105"])
        self.assertIn("no certificate", found[0].message)

    def test_a_certificate_that_is_fetched(self) -> None:
        """The host says so, with the versions and the redirect that the view asks for, and names none of its own."""
        made = config(balancer("https_auto_cert: {http_redirect: true, tls_config: {custom_security: {min_version: TLSv1_3}}}, "
                               "advertise_on_public_default_vip: {}"))
        self.assertEqual(len(made.of("virtual_host")), 2)
        one = made.objects["virtual_host"]["default", HTTP].spec
        self.assertIs(one.proxy, ProxyType.HTTPS_PROXY)
        params = one.tls_parameters
        assert params is not None and params.voltgw is not None and params.common_params is not None
        self.assertTrue(params.voltgw.auto_cert)
        self.assertEqual((params.common_params.tls_certificates, params.common_params.minimum_protocol_version.value),
                         ((), "TLSv1_3"))


class PoolTests(SynchronousTestCase):
    def test_the_last_rule(self) -> None:
        """All paths, to the pools with their shares, stand-by ranks and labels, in 30 seconds."""
        source = view("http_loadbalancer", "domains: [a], default_route_pools: [{pool: p, weight: 3, priority: 1}, {cluster: n/c, "
                      "weight: 1, priority: 2, endpoint_subsets: {a: b}}]")
        (rule,) = rules(source)
        self.assertEqual([match.path for match in rule.match], [PathMatcherType(prefix="/")])
        first, second = forward(source).destinations
        self.assertEqual((first.cluster, first.weight, first.priority), ((Ref(None, "ves-io-origin-pool-p"),), 3, 1))
        self.assertEqual((second.cluster, second.weight, second.priority, second.endpoint_subsets),
                         ((Ref("n", "c"),), 1, 2, {"a": "b"}))
        self.assertEqual(forward(source).timeout_s, VIEW_ROUTE_TIMEOUT_S)

    def test_other_spellings_of_the_pools(self) -> None:
        """A list in a message, and one pool inside the load balancer."""
        source = view("http_loadbalancer", "domains: [a], default_pool_list: {pools: [{pool: p}]}")
        self.assertEqual(forward(source).destinations[0].cluster, (Ref(None, "ves-io-origin-pool-p"),))
        source = view("http_loadbalancer", "domains: [a], default_pool: {origin_servers: [{public_ip: {ip: 192.0.2.7}}], port: 81}")
        self.assertEqual(forward(source).destinations[0].cluster, (Ref("default", HTTP),))
        self.assertEqual(len(cluster(source, HTTP).endpoints), 1)

    def test_a_pool_that_says_nothing(self) -> None:
        """It needs one or the other."""
        found = problems("objects:\n" + view("http_loadbalancer", "domains: [a], default_route_pools: [{weight: 1}]"))
        self.assertEqual(lines(found)[:1], ["2:113 VG0105 this names neither a `pool` nor a `cluster`"])

    def test_no_pools_and_no_routes(self) -> None:
        """It is a virtual host without routes, which answers 404 and is told so."""
        self.assertEqual(host(view("http_loadbalancer", "domains: [a]")).routes, ())


class RouteTests(SynchronousTestCase):
    def test_routes_stand_before_the_pools(self) -> None:
        """In the order written."""
        found = rules(balancer(
            "routes: [{simple_route: {path: {prefix: /a/}}}, {redirect_route: {path: {path: /b}, route_redirect: {host_redirect: h}}}, "
            "{direct_response_route: {http_method: GET, path: {regex: '/c.*'}, route_direct_response: {response_code: 204}}}]"))
        self.assertEqual([match.path and (match.path.prefix or match.path.path or match.path.regex)
                          for rule in found for match in rule.match], ["/a/", "/b", "/c.*", "/"])
        self.assertIs(found[2].match[0].http_method, HttpMethod.GET)
        assert found[1].route_redirect is not None and found[2].route_direct_response is not None
        self.assertEqual((found[1].route_redirect.host_redirect, found[2].route_direct_response.response_code), ("h", 204))

    def test_a_route_without_pools_takes_the_default_ones(self) -> None:
        """With one of its own it takes that."""
        source = balancer("routes: [{simple_route: {path: {prefix: /a/}}}, {simple_route: {path: {prefix: /b/}, origin_pools: "
                          "[{pool: {namespace: n, name: q}}]}}]")
        self.assertEqual([forward(source, rule=rule).destinations[0].cluster[0] for rule in range(3)],
                         [Ref(None, "ves-io-origin-pool-p"), Ref("n", "ves-io-origin-pool-q"), Ref(None, "ves-io-origin-pool-p")])

    def test_conditions(self) -> None:
        """Method, path, headers and port must all hold."""
        (match,) = rules(balancer("routes: [{simple_route: {http_method: POST, path: {path: /a}, headers: [{name: x, exact: y}], "
                                  "incoming_port: {port: 81}}}]"))[0].match
        assert match.path is not None and match.incoming_port is not None
        self.assertEqual((match.http_method, match.path.path, match.headers[0].exact, match.incoming_port.port),
                         (HttpMethod.POST, "/a", "y", 81))

    def test_how_requests_are_sent_on(self) -> None:
        """Hosts, queries, rewrites, time limits, upgrades, retracting."""
        found = forward(balancer(
            "routes: [{simple_route: {host_rewrite: h.example, query_params: {remove_all_params: {}}, advanced_options: {prefix_rewrite: "
            "/z, timeout: 1500, web_socket_config: {use_websocket: true}, enable_spdy: {}, retract_cluster: {}, priority: DEFAULT}}}]"))
        assert found.query_params is not None and found.web_socket_config is not None and found.spdy_config is not None
        self.assertEqual((found.host_rewrite, found.prefix_rewrite, found.timeout_s, found.retract_cluster),
                         ("h.example", "/z", 1.5, True))
        self.assertTrue(found.query_params.remove_all_params and found.web_socket_config.use_websocket and found.spdy_config.use_spdy)
        self.assertTrue(forward(balancer("routes: [{simple_route: {auto_host_rewrite: {}}}]")).auto_host_rewrite)
        self.assertFalse(forward(balancer("routes: [{simple_route: {disable_host_rewrite: {}}}]")).auto_host_rewrite)

    def test_retries(self) -> None:
        """A policy, none, and the usual ones."""
        def policy(choice: str) -> object:
            found = forward(balancer(f"routes: [{{simple_route: {{advanced_options: {{{choice}}}}}}}]")).retry_policy
            return None if found is None else (found.retry_condition, found.num_retries)

        self.assertEqual(policy("retry_policy: {retry_condition: [5xx], num_retries: 2}"), (("5xx",), 2))
        self.assertEqual(policy("no_retry_policy: {}"), ((), 0))
        self.assertIsNone(policy("default_retry_policy: {}"))

    def test_mirrors_are_pools(self) -> None:
        """The copies go to the cluster that the pool becomes."""
        found = forward(balancer("routes: [{simple_route: {advanced_options: {mirror_policy: {origin_pool: m, percent: {numerator: 5, "
                                 "denominator: HUNDRED}}}}}]")).mirror_policy
        assert found is not None and found.percent is not None
        self.assertEqual((found.cluster, found.percent.numerator), ((Ref(None, "ves-io-origin-pool-m"),), 5))

    def test_header_edits_are_the_rules_own(self) -> None:
        """Those of ``more_option`` are the virtual host's, which come after them."""
        (rule, *_) = rules(balancer("more_option: {request_headers_to_remove: [z]}, routes: [{simple_route: {advanced_options: "
                                    "{request_headers_to_add: [{name: a, value: b}], response_headers_to_remove: [c]}}}]"))
        self.assertEqual([edit.name for edit in rule.request_headers_to_add], ["a"])
        self.assertEqual((rule.request_headers_to_remove, rule.response_headers_to_remove), ((), ("c",)))

    def test_hash_inputs(self) -> None:
        """The load balancer's, unless the route has its own."""
        for choice, expected in (
            ("ring_hash: {hash_policy: [{header_name: h}]}", ["h"]), ("cookie_stickiness: {name: c}", ["c"]),
            ("source_ip_stickiness: {}", [True]), ("round_robin: {}", []),
        ):
            found = forward(balancer(choice)).hash_policy
            self.assertEqual([one.header_name or (one.cookie and one.cookie.name) or one.source_ip for one in found], expected, choice)
        own = "routes: [{simple_route: {advanced_options: {specific_hash_policy: {hash_policy: [{header_name: mine}]}}}}]"
        self.assertEqual([one.header_name for one in forward(balancer(f"source_ip_stickiness: {{}}, {own}")).hash_policy], ["mine"])

    def test_route_objects_stand_between_the_rules(self) -> None:
        """The virtual host refers to them in their place; what comes before and after are two objects."""
        made = config(balancer("routes: [{redirect_route: {path: {path: /a}, route_redirect: {}}}, {custom_route_object: {route_ref: "
                               "{namespace: n, name: hand}}}, {redirect_route: {path: {path: /b}, route_redirect: {}}}]"))
        first, hand, last = made.of("virtual_host")["default", HTTP].spec.routes
        self.assertEqual((first, hand), (Ref("default", HTTP), Ref("n", "hand")))
        self.assertRegex(last.name, rf"^{HTTP}-[0-9a-f]{{10}}$")
        self.assertEqual([len(made.of("route")["default", ref.name].spec.routes) for ref in (first, last)], [1, 2])

    def test_firewalls(self) -> None:
        """Of the load balancer, of a route, none, and the load balancer's."""
        allowed = "allow_unenforced: [app_firewall]"
        waf = host(balancer("app_firewall: f"), gateway=allowed).waf_type
        assert waf is not None and waf.app_firewall is not None
        self.assertEqual(waf.app_firewall.app_firewall, (Ref(None, "f"),))
        self.assertEqual(codes(problems("objects:\n" + balancer("app_firewall: f"))), ["VG0115"])
        (rule, *_) = rules(balancer("routes: [{simple_route: {advanced_options: {disable_waf: {}}}}]"))
        assert rule.waf_type is not None
        self.assertTrue(rule.waf_type.disable_waf)
        (rule, *_) = rules(balancer("routes: [{simple_route: {advanced_options: {inherited_waf: {}}}}]"))
        assert rule.waf_type is not None
        self.assertTrue(rule.waf_type.inherit_waf)

    def test_our_own_additions(self) -> None:
        """A route may match whole segments, which the object model cannot say."""
        (rule, *_) = rules(balancer("routes: [{simple_route: {path: {prefix: /a}}, voltgw: {segment_prefix: true}}]"))
        assert rule.voltgw is not None
        self.assertTrue(rule.voltgw.segment_prefix)

    def test_routes_that_lack_something(self) -> None:
        """Each in its own place."""
        for route, words in (
            ("{}", "does nothing"), ("{redirect_route: {path: {path: /a}}}", "route_redirect"),
            ("{direct_response_route: {}}", "route_direct_response"), ("{custom_route_object: {}}", "route_ref"),
        ):
            (found,) = problems("objects:\n" + balancer(f"routes: [{route}]"))
            self.assertEqual(found.code, "VG0105")
            self.assertIn(words, found.message)
            self.assertGreater(found.place.column, 118)
        (found,) = problems("objects:\n" + view("http_loadbalancer", "domains: [a], routes: [{simple_route: {}}]"))
        self.assertIn("no default_route_pools", found.message)


class ClientTests(SynchronousTestCase):
    def test_a_rate_limit(self) -> None:
        """A rate_limiter of its own, and a set of those that are not counted."""
        made = config(balancer("rate_limit: {rate_limiter: {unit: MINUTE, total_number: 7}, "
                               "ip_allowed_list: {prefixes: [10.0.0.0/8]}, no_policies: {}}"))
        spec = made.of("virtual_host")["default", HTTP].spec
        limiter = made.find("rate_limiter", spec.rate_limiter[0], "default")
        allowed = made.find("ip_prefix_set", spec.rate_limiter_allowed_prefixes[0], "default")
        assert limiter is not None and allowed is not None
        self.assertEqual((limiter.spec.limits[0].total_number, allowed.spec.prefix), (7, ("10.0.0.0/8",)))
        self.assertEqual(limiter.place("limits", 0).line, limiter.place().line)

    def test_sets_of_those_that_are_not_counted(self) -> None:
        """They are the virtual host's."""
        spec = host(balancer("rate_limit: {rate_limiter: {unit: HOUR, total_number: 7}, "
                             "custom_ip_allowed_list: {rate_limiter_allowed_prefixes: [office]}}"))
        self.assertEqual([ref.name for ref in spec.rate_limiter_allowed_prefixes], ["office"])

    def test_a_rate_limit_without_a_limit(self) -> None:
        """Is an error, with its place."""
        found = problems("objects:\n" + balancer("rate_limit: {no_policies: {}}") + pool(name="p"))
        self.assertEqual({one.place.line for one in found}, {2})
        self.assertIn("VG0105", [one.code for one in found])

    def test_clients_that_are_refused(self) -> None:
        """A policy that only refuses, with a rule for each; what the load balancer says under ``voltgw`` stays."""
        made = config(balancer(
            "blocked_clients: [{metadata: {name: them}, ip_prefix: 192.0.2.0/24}, {ipv6_prefix: '2001:db8::/32'}, "
            "{http_header: {headers: [{name: x-bad, check_present: {}}]}, expiration_timestamp: '2036-01-01T00:00:00Z'}], "
            "ddos_mitigation_rules: [{metadata: {name: flood}, block: {}, ip_prefix_list: {ip_prefixes: [198.51.100.0/24]}}], "
            "voltgw: {via: true}"))
        spec = made.of("virtual_host")["default", HTTP].spec
        assert spec.voltgw is not None
        self.assertTrue(spec.voltgw.via)
        policy = made.find("service_policy", spec.voltgw.blocking_policies[0], "default")
        assert policy is not None
        rules = policy.spec.rule_list.rules_
        self.assertEqual([rule.metadata.name for rule in rules], ["them", "blocked-client-1", "blocked-client-2", "flood"])
        self.assertEqual({rule.spec.action.value for rule in rules}, {"DENY"})
        self.assertEqual([rule.spec.ip_prefix_list.ip_prefixes for rule in rules if rule.spec.ip_prefix_list is not None],
                         [("192.0.2.0/24",), ("2001:db8::/32",), ("198.51.100.0/24",)])
        self.assertEqual((rules[2].spec.headers[0].name, rules[2].spec.expiration_timestamp), ("x-bad", "2036-01-01T00:00:00Z"))
