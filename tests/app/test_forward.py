"""Which connectors act at a site, under which policies, and what their clients may do."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import certificates
from voltgw.app.build import Makings, Runtime, build
from voltgw.config.load import load_text
from voltgw.errors import ConfigErrors
from voltgw.proxy.forward.interception import Action
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry
from voltgw.security.egress import ALLOW, DENY, Flow, Speaks

_MAKINGS = Makings(lambda key: Pool(), Random(0), Registry(), lambda kind, network: "127.0.0.1", wall=lambda: 1e9)
_ALL = "allow_all: {}"
_NONE = "rule_list: {rules: [{metadata: {name: none}, action: DENY}]}"


def config(
    *, connector: str = "enable_forward_proxy: {}", ours: str = "explicit_proxy: {port: 3128}", policies: tuple[str, ...] = (),
    firewall: bool = True, label: str = "edge", more: str = "", labels: str = "",
) -> str:
    """A site with one connector, `out`, and policies p0, p1... of a firewall."""
    listed = ", ".join(f"p{number}" for number in range(len(policies)))
    text = f"""
gateway: {{site: paris}}
objects:
- kind: site
  metadata: {{name: paris, namespace: system, labels: {{ves.io/fleet: {label}}}}}
  spec: {{site_type: CUSTOMER_EDGE}}
- kind: fleet
  metadata: {{name: edge, namespace: system}}
  spec: {{fleet_label: edge, network_connectors: [out], network_firewall: [{"egress" if firewall else ""}]}}
- kind: network_connector
  metadata: {{name: out, namespace: system, labels: {{{labels}}}}}
  spec: {{sli_to_slo_snat: {{interface_ip: {{}}}}, {connector}, voltgw: {{{ours}}}}}
- kind: network_connector
  metadata: {{name: other, namespace: system}}
  spec: {{enable_forward_proxy: {{}}, voltgw: {{explicit_proxy: {{port: 3129}}}}}}
- kind: network_firewall
  metadata: {{name: egress, namespace: system}}
  spec: {{active_forward_proxy_policies: {{forward_proxy_policies: [{listed}]}}}}
"""
    for number, spec in enumerate(policies):
        text += f"- kind: forward_proxy_policy\n  metadata: {{name: p{number}, namespace: system}}\n  spec: {{{spec}}}\n"
    return text + more


def built(text: str, before: Runtime | None = None) -> Runtime:
    """The runtime of a configuration."""
    return build(load_text(text), before, _MAKINGS)


def verdict(runtime: Runtime, name: str = "system/out/explicit") -> str:
    """What the policies of a proxy say of some request."""
    flow = Flow("10.0.0.1", b"a.test", 80, Speaks.HTTP, address="192.0.2.1", path=b"/")
    return runtime.forwards[name].egress.policies.judge(flow).action


class ActingTests(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        error = self.assertRaises(ConfigErrors, built, text)
        return [problem.message for problem in error.problems]

    def test_through_a_fleet_alone(self) -> None:
        """A connector that the site's fleet names listens; one that it does not name, and one of another fleet, does not."""
        runtime = built(config())
        self.assertEqual(list(runtime.forwards), ["system/out/explicit"])
        self.assertEqual([str(key) for key in runtime.listeners], ["*:3128"])
        self.assertEqual(built(config(label="elsewhere")).forwards, {})

    def test_without_a_proxy_there_is_none(self) -> None:
        """A connector that only routes."""
        self.assertEqual(built(config(connector="disable_forward_proxy: {}", ours="")).forwards, {})

    def test_settings(self) -> None:
        """Times, tries, ports and prefixes; and what they are where nothing is said."""
        egress = built(config()).forwards["system/out/explicit"].egress
        self.assertEqual((egress.connect_timeout_s, egress.rounds, egress.hears_requests), (2.0, 1, False))
        self.assertEqual([port for port in (80, 443, 8443) if egress.tunnels_to(port)], [443])
        egress = built(config(
            connector="enable_forward_proxy: {connection_timeout: 500, max_connect_attempts: 3, white_listed_ports: [25], "
                      "white_listed_prefixes: [192.0.2.0/24]}")).forwards["system/out/explicit"].egress
        self.assertEqual((egress.connect_timeout_s, egress.rounds), (0.5, 3))
        self.assertEqual([port for port in (25, 80, 443) if egress.tunnels_to(port)], [25, 443])
        self.assertEqual([egress.unparsed("192.0.2.1", 443), egress.unparsed("1.1.1.1", 25), egress.unparsed("1.1.1.1", 443)],
                         [True, True, False])
        egress = built(config(ours="explicit_proxy: {port: 3128}, connect_ports: '8443-8445', allowed_prefixes: [10.0.0.0/8]")
                       ).forwards["system/out/explicit"].egress
        self.assertEqual([port for port in (443, 8443, 8445) if egress.tunnels_to(port)], [8443, 8445])
        self.assertEqual(egress.guard.refusal("10.1.1.1", 80), "")
        self.assertTrue(egress.guard.refusal("127.0.0.1", 3128))

    def test_captured_connections(self) -> None:
        """default_gw_snat is what captures, unless the connector says otherwise."""
        snat = "sli_to_slo_snat: {default_gw_snat: {}, interface_ip: {}}"
        inside = ("- kind: virtual_network\n  metadata: {name: inside, namespace: system}\n"
                  "  spec: {site_local_inside_network: {}, voltgw: {interface: eth1}}\n")
        text = config(ours="capture_port: 15002, captured_ports: '80,443', capture: tproxy", more=inside)
        runtime = built(text.replace("sli_to_slo_snat: {interface_ip: {}}", snat))
        self.assertEqual(list(runtime.forwards), ["system/out"])
        plan = next(iter(runtime.listeners.values()))
        assert plan.capture is not None
        self.assertEqual((plan.key.port, plan.capture.mode, plan.capture.ports), (15002, "tproxy", ((80, 80), (443, 443))))
        self.assertTrue(runtime.forwards["system/out"].egress.hears_requests)
        none = built(config(ours="capture: none", more=inside).replace("sli_to_slo_snat: {interface_ip: {}}", snat))
        self.assertEqual(none.listeners, {})
        nowhere = built(config(ours="capture: tproxy").replace("sli_to_slo_snat: {interface_ip: {}}", snat))
        self.assertEqual(nowhere.listeners, {})         # by which interface strangers come is not known

    def test_a_port_that_somebody_has(self) -> None:
        """Two owners of one address and port are an error."""
        more = """
- kind: virtual_host
  metadata: {name: shop}
  spec: {domains: ["*"], advertise_policies: [here], routes: [r]}
- kind: route
  metadata: {name: r}
  spec: {routes: [{route_direct_response: {response_code: 200}}]}
- kind: advertise_policy
  metadata: {name: here}
  spec: {port: 3128, voltgw: {any_address: true}}
"""
        self.assertIn("the two cannot share it", self.problems(config(more=more))[0])

    def test_users_that_cannot_be_read(self) -> None:
        """A hash that is not accepted is an error that names its line, and shows nothing of it."""
        found = self.problems(config(ours="explicit_proxy: {port: 3128, htpasswd: 'string:///YW5uOnBsYWluCg=='}"))
        self.assertIn("line 1", found[0])
        self.assertNotIn("plain", found[0])

    def test_users_are_kept_over_a_reload(self) -> None:
        """As long as the file says the same, nobody has to log in anew."""
        text = config(ours="explicit_proxy: {port: 3128, htpasswd: 'string:///YW5uOntTSEF9NWVuNkc2TWV6UnJvVDNYS3FrZFBPbVkvQmZRPQo='}")
        before = built(text)
        again = built(text.replace("3128", "3130"), before)
        self.assertIs(again.forwards["system/out/explicit"].egress.users, before.forwards["system/out/explicit"].egress.users)
        self.assertIsNotNone(again.forwards["system/out/explicit"].egress.users)


class PolicyTests(SynchronousTestCase):
    def test_whom_a_policy_is_about(self) -> None:
        """All, this connector, another one, labels, CONNECT; what is about nobody takes no part."""
        for about, found in (("any_proxy: {}", DENY), ("network_connector: {name: out}", DENY), ("drp_http_connect: {}", DENY),
                             ("network_connector: {name: other}", ALLOW), ("", DENY),
                             ("proxy_label_selector: {expressions: ['tier in (inner)']}", DENY),
                             ("proxy_label_selector: {expressions: ['tier in (outer)']}", ALLOW)):
            runtime = built(config(policies=(f"{about}, {_NONE}" if about else _NONE, _ALL), labels="tier: inner"))
            self.assertEqual(verdict(runtime), found, about)

    def test_order_and_end(self) -> None:
        """In the firewall's order; behind the last one everything is refused; without a firewall everything passes."""
        self.assertEqual(verdict(built(config(policies=(_ALL, _NONE)))), ALLOW)
        self.assertEqual(verdict(built(config(policies=(_NONE, _ALL)))), DENY)
        self.assertEqual(verdict(built(config(policies=("allow_list: {tls_list: [{exact_value: x}]}",)))), DENY)
        self.assertEqual(verdict(built(config(policies=(_NONE,), firewall=False))), ALLOW)
        disabled = config(policies=(_NONE,)).replace(
            "active_forward_proxy_policies: {forward_proxy_policies: [p0]}", "disable_forward_proxy_policy: {}")
        self.assertEqual(verdict(built(disabled)), ALLOW)

    def test_counts_go_on(self) -> None:
        """A reload that changes another rule keeps the counts."""
        before = built(config(policies=(_ALL,)))
        before.forwards["system/out/explicit"].egress.policies.hits["system/p0/allow_all"].count = 7
        after = built(config(policies=(_ALL, _NONE)), before)
        self.assertEqual([row.hits for row in after.forwards["system/out/explicit"].egress.policies.rows()], [7])

    def test_a_policy_that_is_not_there(self) -> None:
        """It is an error: whom it refuses is not known; one that is out of service is passed over."""
        text = config(policies=(_NONE, _ALL))
        with self.assertRaises((ConfigErrors, ValueError)):
            built(text.replace("name: p0", "name: gone"))
        off = text.replace("metadata: {name: p0, namespace: system}", "metadata: {name: p0, namespace: system, disable: true}")
        self.assertEqual(verdict(built(off)), ALLOW)


class InterceptionTests(SynchronousTestCase):
    def text(self, intercept: str) -> str:
        one = certificates.authority("inspection")
        custom = (f"custom_certificate: {{certificate_url: '{certificates.inline(one.certificate)}', private_key: "
                  f"{{clear_secret_info: {{url: '{certificates.inline(one.key)}'}}}}}}")
        return config(connector=f"enable_forward_proxy: {{tls_intercept: {{{intercept.replace('CUSTOM', custom)}}}}}")

    def interception(self, intercept: str, before: Runtime | None = None) -> Any:
        runtime = built(self.text(intercept), before)
        self.runtime = runtime
        return runtime.forwards["system/out/explicit"].egress.interception

    def test_rules(self) -> None:
        """The first that takes the name; all where there is no policy, none where no rule takes it."""
        made = self.interception(
            "CUSTOM, policy: {interception_rules: [{domain_match: {suffix_value: bank.test}, disable_interception: {}}, "
            "{domain_match: {exact_value: peek.test}, disable_interception: {}, voltgw: {peek: true}}, "
            "{domain_match: {regex_value: '.*\\.test'}, enable_interception: {}}]}")
        for name, action in ((b"www.bank.test", Action.SPLICE), (b"peek.test", Action.PEEK), (b"a.test", Action.OPEN),
                             (b"a.example", Action.SPLICE), (b"", Action.SPLICE)):
            self.assertIs(made.choose(name, "10.0.0.1"), action, name)
        self.assertIs(self.interception("CUSTOM, enable_for_all_domains: {}").choose(b"", "10.0.0.1"), Action.OPEN)

    def test_it_is_kept_over_a_reload(self) -> None:
        """With its certificates, as long as it says the same."""
        made = self.interception("CUSTOM, enable_for_all_domains: {}")
        again = self.interception("CUSTOM, enable_for_all_domains: {}", self.runtime)
        self.assertIs(again, made)
        other = self.interception("CUSTOM, enable_for_all_domains: {}, voltgw: {certificates: 5}", self.runtime)
        self.assertIsNot(other, made)

    def test_a_trust_store(self) -> None:
        """Origins are judged by the named roots, else by the system's."""
        named = self.interception(f"CUSTOM, trusted_ca_url: '{certificates.inline(certificates.authority('lab').certificate)}'")
        self.assertEqual(named.origins.config.peer.ca, certificates.authority("lab").certificate)
        self.assertIsNone(self.interception("CUSTOM, volterra_trusted_ca: {}").origins.config.peer.ca)

    def test_nobody_to_sign(self) -> None:
        """The vendor's certificate is nobody else's."""
        error = self.assertRaises(ConfigErrors, built, self.text("enable_for_all_domains: {}, volterra_certificate: {}"))
        self.assertIn("has no CA to sign", error.problems[0].message)


class DynamicTests(SynchronousTestCase):
    HOST = """
- kind: virtual_network
  metadata: {name: lab, namespace: system}
  spec: {global_network: {}, voltgw: {netns: lab}}
- kind: virtual_host
  metadata: {name: any}
  spec: {domains: ["*.test"], advertise_policies: [here], dynamic_reverse_proxy: {resolve_endpoint_dynamically: true, MORE}}
- kind: advertise_policy
  metadata: {name: here}
  spec: {address: 127.0.0.1, port: 8080}
"""

    def egress(self, more: str = "", policies: tuple[str, ...] = ()) -> Any:
        return built(config(more=self.HOST.replace("MORE", more), policies=policies)).dynamic["default/any"]

    def test_settings(self) -> None:
        """Time, network, and its own ports, to which nothing leads back."""
        egress = self.egress("connection_timeout: 300")
        self.assertEqual((egress.connect_timeout_s, egress.network.netns), (0.3, ""))
        self.assertTrue(egress.guard.refusal("127.0.0.1", 8080))
        lab = self.egress("resolution_network_type: VIRTUAL_NETWORK_GLOBAL, resolution_network: [{name: lab, namespace: system}]")
        self.assertEqual(lab.network.netns, "lab")

    def test_policies_are_those_for_it(self) -> None:
        """Not those of connectors, unless they say so."""
        flow = Flow("10.0.0.1", b"a.test", 80, Speaks.HTTP, address="192.0.2.1", path=b"/")
        self.assertEqual(self.egress(policies=(_NONE,)).policies.judge(flow).action, ALLOW)
        self.assertEqual(self.egress(policies=(f"drp_http_connect: {{}}, {_NONE}",)).policies.judge(flow).action, DENY)

    def test_switched_off(self) -> None:
        """Without resolve_endpoint_dynamically it is a virtual host like any other."""
        text = config(more=self.HOST.replace("resolve_endpoint_dynamically: true, MORE", ""))
        self.assertEqual(built(text).dynamic, {})
