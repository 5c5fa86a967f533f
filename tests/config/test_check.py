"""The rules between objects: references, who may share an address and port, routes, clusters."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, codes, judged, lines, loaded
from voltgw.config.check import check, checking
from voltgw.config.load import checked
from voltgw.errors import ConfigError, Severity

#: Something for routes to lead to.
CLUSTER = """\
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.1, port: 80}}
"""
ROUTE = "- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: c}]}}]}}\n"


def policy(name: str, fields: str) -> str:
    """An advertise policy."""
    return f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{{fields}}}}}\n"


def host(name: str, policies: str, fields: str = "") -> str:
    """A virtual host with a route; `fields` may choose domains and proxy."""
    domains = "" if "domains" in fields or "TCP_PROXY" in fields else f", domains: [{name}.com]"
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{routes: [r], advertise_policies: [{policies}]{domains}"
            f"{', ' if fields else ''}{fields}}}}}\n")


class ReferenceTests(SynchronousTestCase):
    def test_a_good_configuration(self) -> None:
        """Nothing to say."""
        self.assertEqual(check(loaded(GOOD)), ())

    def test_a_dangling_reference_of_every_kind(self) -> None:
        """At the reference, with who refers and what was meant."""
        for old, new, kind, hint, by in (
            ("cluster: [{name: canary}]", "cluster: [{name: canry}]", "cluster", "canary", "route"),
            ("routes: [{name: shop}]", "routes: [{name: shp}]", "route", "shop", "virtual_host"),
            ("advertise_policies: [{name: public}]", "advertise_policies: [{name: publc}]", "advertise_policy", "public",
             "virtual_host"),
            ("{name: shop-2}]", "{name: shop_2}]", "endpoint", "shop-2", "cluster"),
            ("health_checks: [{name: http}]", "health_checks: [{name: htp}]", "healthcheck", "http", "cluster"),
        ):
            source = GOOD.replace(old, new)
            (found,) = [one for one in judged(source) if one.code == "VG0107"]
            wrong = new.split("name: ")[-1].split("}")[0]
            self.assertEqual(found.message, f'{kind} "{wrong}" not found')
            self.assertEqual(found.hint, f'did you mean "{hint}"?')
            self.assertEqual(found.related[0][0], f'referred to by {by} "shop"')
            line = source.split("\n")[found.place.line - 1]
            self.assertEqual(line[found.place.column - 1:].split("}")[0], wrong)

    def test_a_dangling_reference_of_a_kind_that_nothing_acts_on(self) -> None:
        """A warning, as the kind itself is one."""
        source = "- {kind: app_setting, metadata: {name: s}, spec: {app_type_settings: [{app_type_ref: [gone]}]}}\n"
        self.assertEqual([one.severity for one in judged(source) if one.code == "VG0107"], [Severity.WARNING])

    def test_the_same_name_in_another_namespace(self) -> None:
        """The usual mistake gets its own hint."""
        (found,) = judged("- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}\n"
                          "- {kind: endpoint, metadata: {name: e, namespace: shop}, spec: {ip: 192.0.2.1, port: 80}}\n")
        self.assertEqual(found.hint, 'there is one in namespace "shop": write "shop/e"')

    def test_none_of_that_kind(self) -> None:
        """A suggestion would be silly."""
        (found,) = judged("- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}\n")
        self.assertEqual(found.hint, "there is no endpoint at all")

    def test_dangling_clusters_may_be_served_503(self) -> None:
        """The model's own rule, when asked for; a mirror's cluster must exist all the same."""
        source = ("gateway: {on_dangling: serve_503}\nobjects:\n- {kind: route, metadata: {name: r}, spec: {routes: "
                  "[{route_destination: {destinations: [{cluster: c}], mirror_policy: {cluster: [m]}}}]}}\n")
        self.assertEqual([(one.code, one.severity.value, one.message.split('"')[1]) for one in judged(source) if one.code == "VG0107"],
                         [("VG0107", "error", "m"), ("VG0107", "warning", "c")])

    def test_built_in_objects_stand_in_no_file(self) -> None:
        """``ves-io/shared/*``."""
        found = judged(policy("p", "where: {virtual_network: {ref: [{tenant: ves-io, namespace: shared, name: public}]}}"))
        self.assertNotIn("VG0107", codes(found))

    def test_the_own_site_may_be_made_up(self) -> None:
        """Another one may not: a typing error would silently mean somewhere else."""
        for name, expected in (("local", []), ("loca", ["VG0107"])):
            found = judged(policy("p", f"where: {{site: {{ref: [{{namespace: system, name: {name}}}]}}}}"))
            self.assertEqual(codes(tuple(found)), expected)

    def test_a_disabled_object(self) -> None:
        """It exists, but has no effect."""
        found = judged("- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}\n"
                       "- {kind: endpoint, metadata: {name: e, disable: true}, spec: {ip: 192.0.2.1, port: 80}}\n")
        self.assertEqual(lines(found), ['W 1:59 VG0119 endpoint "e" is disabled'])

    def test_references_of_disabled_objects(self) -> None:
        """They do not matter."""
        self.assertEqual(judged("- {kind: cluster, metadata: {name: c, disable: true}, spec: {endpoints: [e]}}\n"), ())

    def test_a_name_that_hides_another(self) -> None:
        """Only where the namespace is left to the rule."""
        sites = "- {kind: site, metadata: {name: s, namespace: system}}\n- {kind: site, metadata: {name: s}}\n"
        for ref, expected in (("s", ["VG0118"]), ("system/s", [])):
            self.assertEqual(codes(judged(sites + policy("p", f"where: {{site: {{ref: [{ref}]}}}}"))), expected)

    def test_steps(self) -> None:
        """At least one for each object, so that a reactor may do something else in between."""
        config = loaded(GOOD)
        steps = list(checking(config))
        self.assertGreaterEqual(steps.count(None), sum(map(len, config.objects.values())))


class SharingTests(SynchronousTestCase):
    def found(self, *objects: str) -> tuple[ConfigError, ...]:
        """Problems of some objects beside a route and a cluster."""
        return judged("".join(objects) + ROUTE + CLUSTER)

    def test_http_hosts_share(self) -> None:
        """By one policy or by several of the same address and port."""
        self.assertEqual(self.found(policy("p", "address: 192.0.2.1, port: 80"), host("a", "p"), host("b", "p")), ())
        self.assertEqual(self.found(policy("p", "address: 192.0.2.1, port: 80"), policy("q", "address: 192.0.2.1"),
                                    host("a", "p"), host("b", "q")), ())

    def test_tcp_needs_an_address_and_port_alone(self) -> None:
        """Whoever comes second is told, with the first one's place."""
        for other in ("proxy: TCP_PROXY", ""):
            found = self.found(policy("p", "address: 192.0.2.1, port: 80"), host("a", "p", "proxy: TCP_PROXY"), host("b", "p", other))
            self.assertEqual(codes(found), ["VG0201"], other)
            self.assertIn("192.0.2.1:80", found[0].message)
            self.assertIn("TCP_PROXY must have an address and port alone", found[0].message)
            self.assertEqual((found[0].place.line, found[0].related[0][1].line), (3, 2))

    def test_other_ports_and_addresses_do_not_meet(self) -> None:
        """Nor do one policy's several ports with themselves."""
        self.assertEqual(self.found(
            policy("p", "address: 192.0.2.1, port: 80"), policy("q", "address: 192.0.2.2, port: 80"),
            policy("s", "address: 192.0.2.1, port_ranges: '81,82'"), host("a", "p", "proxy: TCP_PROXY"),
            host("b", "q", "proxy: TCP_PROXY"), host("d", "s", "proxy: TCP_PROXY")), ())

    def test_ranges_of_ports_meet(self) -> None:
        """One of many is enough."""
        found = self.found(policy("p", "address: 192.0.2.1, port_ranges: '80-90'"), policy("q", "address: 192.0.2.1, port: 85"),
                           host("a", "p", "proxy: TCP_PROXY"), host("b", "q"))
        self.assertEqual(codes(found), ["VG0201"])
        self.assertIn("192.0.2.1:85", found[0].message)

    def test_the_port_map_decides(self) -> None:
        """What is bound is what clashes."""
        objects = "".join((policy("p", "address: 192.0.2.1, port: 80"), policy("q", "address: 192.0.2.1, port: 8080"),
                           host("a", "p", "proxy: TCP_PROXY"), host("b", "q"), ROUTE, CLUSTER))
        self.assertEqual(codes(judged("gateway: {port_map: {80: 8080}}\nobjects:\n" + objects)), ["VG0201"])
        self.assertEqual(codes(judged("gateway: {port_map: {80: 8081}}\nobjects:\n" + objects)), [])

    def test_domains_are_compared_without_case(self) -> None:
        """Names of hosts have none (RFC 4343), so two spellings of one name on one port are one domain."""
        on_one, other = policy("p", "address: 192.0.2.1, port: 80"), policy("q", "address: 192.0.2.1, port: 81")
        for first, second in (("Shop.Example.com", "shop.example.com"), ("'*.SHOP.example.com'", "'*.shop.Example.com'"),
                              ("Shop.Example.com:80", "shop.example.com:80")):
            found = self.found(on_one, host("a", "p", f"domains: [{first}]"), host("b", "p", f"domains: [{second}]"))
            self.assertEqual(codes(found), ["VG0202"], first)
            self.assertEqual(codes(self.found(
                on_one, other, host("a", "p", f"domains: [{first}]"), host("b", "q", f"domains: [{second}]"))), [], first)

    def test_a_domain_has_one_owner(self) -> None:
        """On one address and port; elsewhere it may have another."""
        both = host("a", "p", "domains: [x.com, '*.y.com']"), host("b", "q", "domains: [z.com, '*.Y.com']")
        found = self.found(policy("p", "address: 192.0.2.1"), policy("q", "address: 192.0.2.1"), *both)
        self.assertEqual(lines(found), [
            '4:107 VG0202 domain "*.y.com" of virtual_host "b" belongs to virtual_host "a" already on 192.0.2.1:80'])
        self.assertEqual((found[0].related[0][1].line, found[0].related[0][1].column), (3, 107))
        self.assertEqual(self.found(policy("p", "address: 192.0.2.1"), policy("q", "address: 192.0.2.2"), *both), ())

    def test_a_host_may_take_what_no_other_takes(self) -> None:
        """For HTTP the lone star is chosen last."""
        self.assertEqual(self.found(policy("p", "address: 192.0.2.1"), host("a", "p"), host("b", "p", "domains: ['*']")), ())

    def test_all_addresses_beside_a_single_one(self) -> None:
        """The system cannot open both."""
        for wide, narrow, clash in (
            ("voltgw: {any_address: true}", "address: 192.0.2.1", True), ("address: 0.0.0.0", "address: 192.0.2.1", True),
            ("address: 0.0.0.0", "address: '2001:db8::1'", False), ("address: '::'", "address: '2001:db8::1'", True),
            ("address: '::'", "address: 192.0.2.1", False), ("address: '::'", "address: 0.0.0.0", False),
            ("voltgw: {any_address: true}", "", True), ("address: 0.0.0.0", "", True),
        ):
            found = self.found(policy("p", wide), policy("q", narrow), host("a", "p"), host("b", "q"))
            self.assertEqual(codes(found), ["VG0210"] * clash, f"{wide} {narrow}")

    def test_the_sites_vip_is_an_address(self) -> None:
        """A policy without one has it."""
        found = self.found("- {kind: site, metadata: {name: local, namespace: system}, spec: {outside_vip: 192.0.2.1}}\n",
                           policy("p", "port: 80"), policy("q", "address: 192.0.2.1, port: 80"), host("a", "p", "proxy: TCP_PROXY"),
                           host("b", "q", "proxy: TCP_PROXY"))
        self.assertEqual(codes(found), ["VG0201"])

    def test_offered_nowhere(self) -> None:
        """Without a policy, or with none that is for here."""
        found = self.found(host("a", ""))
        self.assertEqual(codes(found), ["VG0204"])
        self.assertIn("opens no port", found[0].message)
        found = self.found("- {kind: site, metadata: {name: rome, namespace: system}}\n",
                           policy("p", "where: {site: {ref: [rome]}}"), host("a", "p"))
        self.assertEqual(codes(found), ["VG0204"])
        self.assertIn("by this site", found[0].message)

    def test_one_policy_twice(self) -> None:
        """A host does not clash with itself."""
        self.assertEqual(self.found(policy("p", "address: 192.0.2.1"), policy("q", "address: 192.0.2.1"),
                                    host("a", "p, q", "proxy: TCP_PROXY")), ())

    def test_udp_needs_an_address_and_port_alone(self) -> None:
        """Two of them cannot be told apart; TCP on the same port number is no clash."""
        udp = policy("u", "address: 192.0.2.1, port: 53, protocol: UDP")
        found = tuple(one for one in self.found(udp, host("a", "u", "proxy: UDP_PROXY, domains: [a.com]"),
                                                host("b", "u", "proxy: UDP_PROXY, domains: [b.com]")) if one.code != "VG0218")
        self.assertEqual((codes(found), len(found[0].related)), (["VG0201"], 1))
        self.assertIn("UDP_PROXY must have an address and port alone", found[0].message)
        self.assertEqual(codes(self.found(udp, policy("t", "address: 192.0.2.1, port: 53"), host("a", "u", "proxy: UDP_PROXY, domains: [a.com]"),
                                          host("b", "t", "proxy: TCP_PROXY"))), ["VG0218"])   # of the endpoint, which is for TCP

    def test_proxy_headers_that_nobody_sends(self) -> None:
        """Version 1 knows nothing of datagrams."""
        for proxy, more, expected in (("HTTP_PROXY", "", []), ("TCP_PROXY", "", []), ("UDP_PROXY", ", protocol: UDP", ["VG0216"])):
            for version in ("v1", "v2"):
                source = "objects:\n" + policy("p", f"address: 192.0.2.1, port: 53{more}") + host("a", "p", f"proxy: {proxy}") + ROUTE + (
                    f"- {{kind: cluster, metadata: {{name: c}}, spec: {{endpoints: [e], proxy_protocol_{version}: {{}}}}}}\n"
                    "- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.9, port: 80}}\n")
                found = [code for code in codes(judged(source)) if code == "VG0216"]
                self.assertEqual(found, expected if version == "v1" else [], (proxy, version))

    def test_an_endpoint_of_the_other_transport(self) -> None:
        """What is spoken to it is what the host speaks; that somebody hears it there is unlikely."""
        for proxy, policies, endpoint, expected in (
                ("TCP_PROXY", "", "UDP", ["VG0218"]), ("UDP_PROXY", ", protocol: UDP", "TCP", ["VG0218"]),
                ("TCP_PROXY", "", "TCP", []), ("UDP_PROXY", ", protocol: UDP", "UDP", [])):
            source = "objects:\n" + policy("p", f"address: 192.0.2.1, port: 53{policies}") + host("a", "p", f"proxy: {proxy}") + ROUTE + (
                "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}\n"
                f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{ip: 192.0.2.9, port: 53, protocol: {endpoint}}}}}\n")
            found = [problem for problem in judged(source) if problem.code == "VG0218"]
            self.assertEqual(codes(tuple(found)), expected, (proxy, endpoint))

    def test_a_policy_of_the_other_transport(self) -> None:
        """HTTP is not spoken over UDP."""
        found = self.found(policy("p", "address: 192.0.2.1, protocol: UDP"), host("a", "p"))
        self.assertEqual(codes(found), ["VG0201"])


class AdminTests(SynchronousTestCase):
    def test_its_port_is_its_own(self) -> None:
        """Also where another address covers it."""
        for gateway, fields, clash in (
            ("", "address: 127.0.0.1, port: 9901", True), ("", "address: 0.0.0.0, port: 9901", True),
            ("", "address: 192.0.2.1, port: 9901", False), ("admin: {port: 9000}", "address: 127.0.0.1, port: 9901", False),
            ("admin: {unix: x}", "port: 9901", False),
            ("admin: {address: localhost, port: 80}", "address: 127.0.0.1, port: 80", True),
            ("admin: {port: 0}", "address: 127.0.0.1, port: 9901", False), ("", "voltgw: {any_address: true}, port: 9901", True),
        ):
            source = f"gateway: {{{gateway}}}\nobjects:\n" + policy("p", fields) + host("a", "p") + ROUTE + CLUSTER
            self.assertEqual(codes(judged(source)), ["VG0205"] * clash, f"{gateway} {fields}")

    def test_the_monitor_has_a_port_of_its_own_too(self) -> None:
        """Beside virtual hosts and beside the admin interface."""
        for gateway, fields, clash in (
            ("monitor: {address: 0.0.0.0, port: 9902}", "address: 192.0.2.1, port: 9902", True),
            ("monitor: {address: 0.0.0.0, port: 9902}", "address: 192.0.2.1, port: 80", False),
            ("monitor: {address: 0.0.0.0, port: 9901}", "address: 192.0.2.1, port: 80", True),
            ("monitor: {address: 192.0.2.1, port: 9901}", "address: 192.0.2.1, port: 80", False),
        ):
            source = f"gateway: {{{gateway}}}\nobjects:\n" + policy("p", fields) + host("a", "p") + ROUTE + CLUSTER
            self.assertEqual(codes(judged(source)), ["VG0205"] * clash, f"{gateway} {fields}")

    def test_endpoints_must_not_lead_to_it(self) -> None:
        """By address or by the names of this machine."""
        for fields, clash in (("ip: 127.0.0.1, port: 9901", True), ("dns_name: localhost, port: 9901", True),
                              ("ip: 127.0.0.1, port: 9902", False), ("ip: 192.0.2.1, port: 9901", False),
                              ("ip: 0.0.0.0, port: 9901", True), ("dns_name: app.internal, port: 9901", False)):
            found = judged(f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{{fields}}}}}\n")
            self.assertEqual(codes(found), ["VG0205"] * clash, fields)


class RouteTests(SynchronousTestCase):
    def host(self, proxy: str, rules: str) -> tuple[ConfigError, ...]:
        """Problems of a virtual host with one route object."""
        route = f"- {{kind: route, metadata: {{name: r}}, spec: {{routes: [{rules}]}}}}\n"
        return judged(policy("p", "address: 192.0.2.1") + host("a", "p", f"proxy: {proxy}") + route + CLUSTER)

    def test_tcp_routes_have_only_destinations(self) -> None:
        """A match is ignored; a redirect is refused, with both places."""
        destination = "route_destination: {destinations: [{cluster: c}]}"
        self.assertEqual(self.host("TCP_PROXY", f"{{{destination}}}"), ())
        self.assertEqual(self.host("TCP_PROXY", f"{{match: [{{path: {{prefix: /}}}}], {destination}}}"), ())
        for action in ("route_redirect: {path_redirect: /x}", "route_direct_response: {response_code: 404}"):
            found = self.host("TCP_PROXY", f"{{{destination}}}, {{{action}}}")
            self.assertEqual([(one.code, one.place.line, one.related[0][1].line) for one in found], [("VG0203", 3, 2)])
            self.assertEqual(self.host("HTTP_PROXY", f"{{{destination}}}, {{{action}}}"), ())

    def test_tcp_needs_a_route(self) -> None:
        """It would not know where to connect; HTTP answers 404."""
        for fields, expected in (("proxy: TCP_PROXY", ["VG0203"]), ("domains: [a]", ["VG0211"])):
            found = judged(policy("p", "address: 192.0.2.1")
                           + f"- {{kind: virtual_host, metadata: {{name: a}}, spec: {{advertise_policies: [p], {fields}}}}}\n")
            self.assertEqual(codes(tuple(found)), expected)

    def rule(self, rule: str) -> tuple[ConfigError, ...]:
        """Problems of one rule."""
        return judged(f"- {{kind: route, metadata: {{name: r}}, spec: {{routes: [{rule}]}}}}\n" + CLUSTER)

    def test_prefixes_that_are_no_segments(self) -> None:
        """One warning for a route object, with the first prefix."""
        destination = "route_destination: {destinations: [{cluster: c}]}"
        for path, extra, expected in (("prefix: /api", "", 1), ("prefix: /api/", "", 0), ("prefix: /", "", 0), ("path: /api", "", 0),
                                      ("prefix: /api", ", voltgw: {segment_prefix: true}", 0)):
            self.assertEqual(codes(self.rule(f"{{match: [{{path: {{{path}}}}}], {destination}{extra}}}")), ["VG0207"] * expected, path)
        (found,) = self.rule(f"{{match: [{{path: {{prefix: /a}}}}, {{path: {{prefix: /b}}}}], {destination}}}")
        self.assertEqual(found.message, 'prefix /a also takes /ax (so do 1 more prefixes of route "r")')
        self.assertEqual(codes(judged("- {kind: route, metadata: {name: r}, spec: {voltgw: {segment_prefix: true}, routes: "
                                      f"[{{match: [{{path: {{prefix: /a}}}}], {destination}}}]}}}}\n" + CLUSTER)), [])

    def test_weights(self) -> None:
        """All zero gives nothing to anybody; one destination alone needs none."""
        for weights, expected in (("0, 0", ["VG0209"]), ("0, 1", []), (", ", []), ("0", [])):
            several = ", ".join(f"{{cluster: c, weight: {w}}}" if w.strip() else "{cluster: c}" for w in weights.split(","))
            self.assertEqual(codes(self.rule(f"{{route_destination: {{destinations: [{several}]}}}}")), expected, weights)

    def test_one_try_longer_than_all(self) -> None:
        """The limit for one can never act."""
        for per_try, expected in ((2000, ["VG0208"]), (500, [])):
            found = self.rule(f"{{route_destination: {{destinations: [{{cluster: c}}], timeout: 1000, retry_policy: "
                              f"{{retry_condition: [5xx], per_try_timeout: {per_try}}}}}}}")
            self.assertEqual([code for code in codes(found) if code != "VG0114"], expected)


class NetworkTests(SynchronousTestCase):
    def test_networks_that_this_site_does_not_have(self) -> None:
        """An error where the listener would open outside instead; an address says where, and other sites are not ours."""
        for network, expected in (
            ("SITE_SERVICE", ["error"]), ("SEGMENT", ["error"]), ("GLOBAL", ["error"]), ("VER_INTERNAL", ["error"]),
            ("SITE_LOCAL_INSIDE_OUTSIDE", ["warning"]), ("SITE_LOCAL", []), ("SITE_LOCAL_INSIDE", []), ("PUBLIC", []),
        ):
            for site, address, told in (("local", "", expected), ("local", ", address: 192.0.2.9", []), ("far", "", [])):
                where = f"where: {{site: {{ref: [{site}], network_type: VIRTUAL_NETWORK_{network}}}}}, port: 80, protocol: TCP"
                found = [one for one in judged(policy("p", where + address)) if one.code == "VG0214"]
                self.assertEqual([one.severity.value for one in found], told, where)
                self.assertTrue(all("outside" in one.message for one in found))


    def test_policies_of_views(self) -> None:
        """A load balancer on a network that this site does not have opens nothing, and says so; others open there alone."""
        inside, outside = "VIRTUAL_NETWORK_SITE_LOCAL_INSIDE", "VIRTUAL_NETWORK_SITE_LOCAL"
        for network, networks in (("SERVICE", []), ("IP_FABRIC", []), ("INSIDE_AND_OUTSIDE", [inside, outside]),
                                  ("INSIDE", [inside]), ("OUTSIDE", [outside])):
            config = checked(loaded(f"""
                objects:
                - {{kind: origin_pool, metadata: {{name: p}}, spec: {{origin_servers: [{{public_ip: {{ip: 192.0.2.1}}}}], port: 80}}}}
                - kind: http_loadbalancer
                  metadata: {{name: x}}
                  spec:
                    domains: [x.example]
                    http: {{port: 8080}}
                    default_route_pools: [{{pool: p}}]
                    advertise_custom: {{advertise_where: [{{site: {{site: local, network: SITE_NETWORK_{network}}}}}]}}
            """))
            made = [policy.spec.where.site.network_type.value for policy in config.of("advertise_policy").values()
                    if policy.spec.where is not None and policy.spec.where.site is not None]
            self.assertEqual(sorted(made), sorted(networks), network)
            self.assertEqual(codes(config.warnings), [] if networks else ["VG0204", "VG0114"], network)


class ClusterTests(SynchronousTestCase):
    def test_endpoints_that_stand_there_twice(self) -> None:
        """By name, or by address, port and transport."""
        endpoints = ("- {kind: endpoint, metadata: {name: a}, spec: {ip: 192.0.2.1, port: 80}}\n"
                     "- {kind: endpoint, metadata: {name: b}, spec: {ip: 192.0.2.1, port: 80}}\n"
                     "- {kind: endpoint, metadata: {name: d}, spec: {ip: 192.0.2.1, port: 81}}\n")
        for members, words in (("a, a", "stands here twice"), ("a, b", 'as endpoint "a"'), ("a, d", "")):
            found = judged(f"- {{kind: cluster, metadata: {{name: c}}, spec: {{endpoints: [{members}]}}}}\n" + endpoints)
            self.assertEqual([(one.code, words in one.message) for one in found], [("VG0206", True)] if words else [], members)

    def test_no_endpoints(self) -> None:
        """Every request would be answered 503."""
        self.assertEqual(codes(judged("- {kind: cluster, metadata: {name: c}}\n")), ["VG0213"])

    def test_a_check_that_outlasts_its_interval(self) -> None:
        """Longer than the interval, not as long as it."""
        for timeout, expected in ((6, ["VG0208"]), (5, [])):
            found = judged("- {kind: healthcheck, metadata: {name: h}, spec: {tcp_health_check: {}, interval: 5, "
                           f"timeout: {timeout}, healthy_threshold: 1, unhealthy_threshold: 1}}}}\n")
            self.assertEqual(codes(tuple(found)), expected)


class SubsetTests(SynchronousTestCase):
    def found(self, cluster: str, destination: str, more: str = "") -> list[str]:
        """The codes of a rule that leads to a cluster."""
        return codes(judged(
            "objects:\n" + policy("p", "address: 192.0.2.1, port: 80") + host("a", "p")
            + "- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: c" + destination
            + "}]" + more + "}}]}}\n" + CLUSTER.replace("endpoints: [e]", "endpoints: [e]" + cluster)))

    def test_labels_that_choose_nobody(self) -> None:
        """A warning where the merged keys are no key set of the cluster."""
        keys = ", endpoint_subsets: [{keys: [version]}, {keys: [version, site]}]"
        for cluster, destination, more, expected in (
            ("", ", endpoint_subsets: {version: a}", "", ["VG0217"]),
            (keys, ", endpoint_subsets: {version: a}", "", []),
            (keys, ", endpoint_subsets: {site: a}", "", ["VG0217"]),
            (keys, ", endpoint_subsets: {site: a}", ", endpoint_subsets: {version: b}", []),
            (keys, "", ", endpoint_subsets: {versoin: b}", ["VG0217"]),
            (keys, "", "", []),
            (", voltgw: {subset_expressions: {new: version=11}}", ", voltgw: {subset: new}", "", []),
        ):
            self.assertEqual(self.found(cluster, destination, more), expected, (cluster, destination, more))
