"""Fields that are known but not acted on: warnings, errors, and what may be allowed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import codes, lines, loaded, problems
from voltgw.config.reader import State
from voltgw.config.states import allows, table

HOST = "objects:\n- kind: virtual_host\n  metadata: {{name: a}}\n  spec: {{domains: [a], {}}}\n"


class StateTests(SynchronousTestCase):
    def test_a_warning_where_ignoring_harms_nobody(self) -> None:
        """It says what it is and what happens instead."""
        self.assertEqual(lines(problems("kind: cluster\nmetadata: {name: a}\nspec: {dns_lookup_family: V4_ONLY}\n")), [
            "W 3:27 VG0114 dns_lookup_family: V4_ONLY of cluster is not acted on yet"])
        self.assertEqual(lines(problems(HOST.format("add_location: true"))),
                         ['W 4:24 VG0114 "add_location" of virtual_host is not acted on yet'])

    def test_an_error_where_ignoring_would_admit_someone(self) -> None:
        """Firewalls, logins, challenges, certificates."""
        for fields, name in (
            ("waf_type: {app_firewall: {app_firewall: [x]}}", "waf_type.app_firewall"), ("waf_type: {waf: {waf: [x]}}", "waf_type.waf"),
            ("authentication: {auth_config: [x]}", "authentication"),
            ("js_challenge: {}", "js_challenge"), ("captcha_challenge: {}", "captcha_challenge"),
            ("api_spec: {}", "api_spec"),
        ):
            found = [one for one in problems(HOST.format(fields)) if one.severity.value == "error"]
            self.assertEqual(codes(tuple(found)), ["VG0115"], fields)
            self.assertIn(f'"{name}" of virtual_host', found[0].message)
            self.assertIn(f"allow_unenforced: [virtual_host.{name}]", found[0].hint)

    def test_the_harmless_sides(self) -> None:
        """Saying that there is none of it is always fine."""
        self.assertEqual(problems(HOST.format(
            "no_challenge: {}, no_authentication: {}, waf_type: {disable_waf: {}}, csrf_policy: {disabled: {}}, "
            "tls_parameters: {require_client_certificate: false, no_client_certificate: {}}, non_default_loadbalancer: {}, "
            "rate_limiter: [], user_identification: null, default_header: {}, enable_path_normalize: {}")), ())
        self.assertEqual(problems("kind: route\nmetadata: {name: r}\nspec: {routes: [{waf_type: {inherit_waf: {}}, route_destination: "
                                  "{destinations: [{cluster: c}], web_socket_config: {use_websocket: false}, spdy_config: {}, "
                                  "do_not_retract_cluster: {}, csrf_policy: {disabled: {}}, priority: DEFAULT}}]}\n"), ())
        self.assertEqual(problems("kind: cluster\nmetadata: {name: r}\nspec: {no_panic_threshold: {}, disable_proxy_protocol: {}, "
                                  "http2_options: {enabled: false}, endpoint_selection: LOCAL_PREFERRED, "
                                  "upstream_conn_pool_reuse_type: {enable_conn_pool_reuse: {}}}\n"), ())

    def test_what_the_operator_allows(self) -> None:
        """By the full path, its beginning or one part; what is allowed is remembered."""
        for entry in ("virtual_host.waf_type.app_firewall", "virtual_host.waf_type", "waf_type", "app_firewall"):
            config = loaded(f"gateway: {{allow_unenforced: [{entry}]}}\n"
                            + HOST.format("waf_type: {app_firewall: {app_firewall: [x]}}"))
            self.assertEqual(config.unenforced, ("virtual_host.waf_type.app_firewall",), entry)
        found = problems("gateway: {allow_unenforced: [waf_type]}\n" + HOST.format("js_challenge: {}"))
        self.assertEqual(codes(found), ["VG0115"])

    def test_a_name_that_allows_nothing(self) -> None:
        """A typing error would leave the operator in a wrong belief."""
        found = problems("gateway: {allow_unenforced: [waf_typ]}\n")
        self.assertEqual((codes(found), found[0].hint), (["VG0104"], 'did you mean "waf_type"?'))
        self.assertEqual(codes(problems("gateway: {allow_unenforced: [add_location]}\n")), ["VG0104"])

    def test_the_beginning_of_a_name_is_not_its_beginning(self) -> None:
        """Parts are whole."""
        self.assertTrue(allows(("a.b",), "a.b.c"))
        self.assertFalse(allows(("a.b",), "a.bc"))

    def test_a_kind_of_proxy_that_is_not_served_yet(self) -> None:
        """Nothing else would do in its place."""
        found = problems(HOST.format("proxy: DNS_PROXY"))
        self.assertEqual(lines(found), ["4:31 VG0116 proxy: DNS_PROXY is not supported yet"])

    def test_a_kind_that_exists_to_refuse(self) -> None:
        """The network policies of a system are in force wherever they are defined."""
        source = "kind: network_policy_set\nmetadata: {name: a, namespace: system}\nspec: {policies: []}\n"
        self.assertEqual(codes(problems(source)), ["VG0115"])
        config = loaded(f"gateway: {{allow_unenforced: [network_policy_set]}}\n---\n{source}")
        self.assertEqual(config.unenforced, ("network_policy_set",))

    def test_one_warning_for_ten_thousand_hosts(self) -> None:
        """With a count, at the first place."""
        many = "".join(f"- {{kind: cluster, metadata: {{name: c{n}}}, spec: {{enable_lb_source_ip_persistance: {{}}}}}}\n" for n in range(50))
        (found,) = problems(many)
        self.assertEqual(found.message, '"enable_lb_source_ip_persistance" of cluster is not acted on yet (here and at 49 other places)')
        self.assertEqual(found.place.line, 1)

    def test_what_stands_inside_is_beside_the_point(self) -> None:
        """One warning for a field, not one for each of its parts; mistakes inside are told all the same."""
        found = problems("kind: cluster\nmetadata: {name: a}\nspec: {enable_lb_source_ip_persistance: {}, outlier_detection: {intervall: 1}}\n")
        self.assertEqual(sorted(codes(found)), ["VG0101", "VG0114"])


class TableTests(SynchronousTestCase):
    def test_the_table_is_that_of_the_declarations(self) -> None:
        """Kinds, fields and values, each once, with their state."""
        rows = {(row.field, row.value): row.state for row in table()}
        self.assertEqual(len(rows), len(list(table())))
        for key, state in {
            ("cluster.enable_lb_source_ip_persistance", ""): State.WARNS,
            ("cluster.dns_lookup_family", "V4_ONLY"): State.WARNS, ("virtual_host.proxy", "DNS_PROXY"): State.UNSUPPORTED,
            ("virtual_host.waf_type.app_firewall", ""): State.REFUSES, ("virtual_host.js_challenge", ""): State.REFUSES,
            ("tunnel", ""): State.WARNS,
        }.items():
            self.assertIs(rows.get(key), state, key)
        self.assertNotIn(("virtual_host.domains", ""), rows)
